"""Order: each demand names what stands wrong and what to do."""

import pytest
from tacit.privacy.pipeline import PipelineError
from tacit.privacy.signal import Masks, Signal
from tacit.privacy.stages import order

REAL = Signal(2, "owner", bound=1.0)
LATTICE = Signal(2, "owner", bound=1.0, scale=0.1)
RING = Signal(2, "owner", bound=1.0, scale=0.1, ring=20)
MASKED = Signal(2, "owner", bound=1.0, scale=0.1, ring=20, masked=Masks("malicious", 0))


@pytest.mark.parametrize(
    ("demand", "accepted"),
    [
        (order.unmasked, {"real", "lattice", "ring"}),
        (order.real, {"real"}),
        (order.in_ring, {"ring"}),
        (order.bounded, {"real", "lattice", "ring", "masked"}),
    ],
)
def test_demands(demand, accepted: set[str]) -> None:
    for name, signal in {"real": REAL, "lattice": LATTICE, "ring": RING, "masked": MASKED}.items():
        if name in accepted:
            demand("x", signal)
        else:
            with pytest.raises(PipelineError, match=r"^x: .*(put|must)"):
                demand("x", signal)


def test_an_unbounded_signal_needs_a_clip() -> None:
    with pytest.raises(PipelineError, match="put a clip before"):
        order.bounded("x", Signal(2, "owner"))
