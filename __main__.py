"""Starts the command line: `tacit …` or `python -m tacit …`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; leaves the process with the exit code of DESIGN's table."""
    from .commands.signals import install

    install()
    try:
        from .commands.main import run

        run()
    except KeyboardInterrupt:  # before the command line was read, or after its result was shown
        sys.stderr.write("tacit: stopped\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
