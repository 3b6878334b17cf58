"""Draws docs/picture.svg: the digits half of `tacit demo`, run again from its own configuration and seed.

python docs/picture.py            (or `make docs`)
"""

from __future__ import annotations

from pathlib import Path

from tacit.commands.starters import STARTERS
from tacit.config import parse
from tacit.simulation.plots import headline_plot
from tacit.simulation.run import simulate

PICTURE = Path(__file__).with_name("picture.svg")
SEED = 0


def picture() -> bytes:
    """The SVG file."""
    return headline_plot(simulate(parse(STARTERS["digits"], name="digits"), seed=SEED).to_json())


if __name__ == "__main__":
    PICTURE.write_bytes(picture())
