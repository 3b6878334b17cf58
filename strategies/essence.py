"""Essence: what a run asks of its owners, without what changes from round to round; those who agreed on it have one digest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .messages import Recipe


def asked(recipe: Recipe) -> dict[str, Any]:
    """The recipe, without the one number that changes from round to round: the norm of an adaptive clip."""
    row = recipe.to_json()
    row["pipeline"] = [
        {key: value for key, value in stage.items() if (stage.get("stage"), key) != ("adaptive-clip", "norm")}
        for stage in row["pipeline"]
    ]
    return row


def essence(recipe: Recipe) -> str:
    """SHA-256 of `asked` as canonical JSON, hexadecimal; `Recipe.digest` where nothing changes."""
    text = json.dumps(asked(recipe), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
