"""Starts the command line: `tacit …` or `python -m tacit …`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; leaves the process with the exit code of DESIGN's table."""
    from .commands.main import run

    run()


if __name__ == "__main__":
    main()
