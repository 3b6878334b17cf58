"""Starts the command line: `tacit …` or `python -m tacit …`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; leaves the process with its exit code (0, 1, 2, 3 or 130)."""
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
