"""`tacit plan`: what a schedule costs in privacy, or the noise that a target ε needs, before any data is touched."""

NAME = "plan"


def command() -> None:
    """Say what it costs."""
