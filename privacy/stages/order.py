"""Order: what a stage may demand of the Signal that enters it; each demand names what stands wrong and what to do."""

from __future__ import annotations

import math

from ..pipeline import require
from ..signal import Signal


def unmasked(stage: str, signal: Signal) -> None:
    """Nothing may follow the masks."""
    require(not signal.masked, stage, "it stands after mask", "mask must be the last stage")


def real(stage: str, signal: Signal) -> None:
    """The vector is still real: neither on a lattice nor in a ring, nor noised."""
    unmasked(stage, signal)
    require(
        signal.scale is None,
        stage,
        "the vector is already integers" + (" in a ring" if signal.ring else ""),
        "put it before central-gaussian, own-gaussian and encode",
    )


def in_ring(stage: str, signal: Signal) -> None:
    """The vector is integers mod 2^b."""
    unmasked(stage, signal)
    require(signal.ring is not None and signal.scale is not None, stage, "it needs integers in a ring",
            "put encode before it")  # fmt: skip


def bounded(stage: str, signal: Signal) -> None:
    """A whole contribution is bounded."""
    require(math.isfinite(signal.bound), stage, "nothing bounds an owner's contribution", "put a clip before it")
