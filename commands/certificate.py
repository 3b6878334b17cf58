"""`tacit certificate`: what a run cost, as its owners signed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .certificate_verify import command as verify
from .group import group

VERBS: Mapping[str, Callable[..., None]] = {"verify": verify}

app = group("certificate", "What a run cost, as its owners signed it.")
for name, verb in VERBS.items():
    app.command(name)(verb)
