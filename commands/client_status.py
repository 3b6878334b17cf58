"""`tacit client status`: how the owner's agent is."""

from __future__ import annotations

from typing import Any

from .flags import CLIENT_FOLDER, ClientFolder, Json


def command(folder: ClientFolder = CLIENT_FOLDER, as_json: Json = False) -> None:
    """Ask the running agent how it is. Exit code 0 where it runs, paused or not, so this is a probe too.

    Example: `tacit client status --dir agent`
    """
    from ..client.control import ask
    from .screen import say, show_json

    status = ask(folder, "status")
    if as_json:
        show_json(status)
        return
    pid, version, paused = (status.pop(key) for key in ("pid", "version", "paused"))
    say(f"process {pid}, Tacit {version}: {'paused; `tacit client resume` goes on' if paused else 'at work'}")
    for key, value in status.items():
        say(f"  {key.replace('_', ' ')}: {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
