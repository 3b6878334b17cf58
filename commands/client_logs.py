"""`tacit client logs`: what the owner's agent said last."""

from __future__ import annotations

from .flags import CLIENT_FOLDER, ClientFolder, Json
from .logs import Follow, Lines, show_logs


def command(
    folder: ClientFolder = CLIENT_FOLDER, lines: Lines = 20, follow: Follow = False, as_json: Json = False
) -> None:
    """Print the last lines of an agent that was started with --detach: what it answered and what it refused.

    Example: `tacit client logs --follow --dir agent`
    """
    show_logs(folder, None, lines, follow, as_json)
