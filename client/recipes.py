"""Recipes: what an owner agreed to do in each run, by digest, for the statement that it signs at the run's end.

A ledger says what was charged, not for what. A recipe is noted here before the charge, so whatever was charged is in; one whose
charge then came to nothing is listed too.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ..strategies import keyfile
from ..strategies.essence import essence
from ..strategies.messages import Recipe
from .refusal import RefusedError

MOST = 100  # of one run: a server that asks for more of them gets no statement


class Recipes:
    """The recipes of one asset, in `folder` (mode 0700), a file a run."""

    def __init__(self, folder: Path) -> None:
        keyfile.folder(folder)
        self._folder = folder
        self._known: tuple[str, frozenset[tuple[str, str]]] = ("", frozenset())

    def note(self, run: str, recipe: Recipe) -> None:
        """Note the recipe of a run; on the disk when this returns. Raises `OSError`."""
        pair = essence(recipe), recipe.terms.code
        if self._known[0] == run and pair in self._known[1]:
            return
        found = {*self._read(run), pair}
        if len(found) <= MOST + 1:
            rows = [list(each) for each in sorted(found)]
            keyfile.replace(self._path(run), json.dumps({"run": run, "recipes": rows}).encode())
        self._known = run, frozenset(found)

    def of(self, run: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Digests of the recipes of a run, and versions of their code; raises `RefusedError` where they are not known."""
        found = self._read(run)
        if not found:
            raise RefusedError(f"what was agreed to in run {run} was not kept here", "ledger")
        if len(found) > MOST:
            raise RefusedError(f"run {run} asked for more than {MOST} different things", "schedule")
        return tuple(sorted({digest for digest, _ in found})), tuple(sorted({code for _, code in found}))

    def _read(self, run: str) -> set[tuple[str, str]]:
        try:
            return {(str(digest), str(code)) for digest, code in json.loads(self._path(run).read_bytes())["recipes"]}
        except FileNotFoundError:
            return set()
        except (ValueError, LookupError, TypeError) as error:
            raise OSError(f"{self._path(run)}: damaged; remove it, and the run gets no statement") from error

    def _path(self, run: str) -> Path:
        return self._folder / f"{hashlib.sha256(run.encode()).hexdigest()[:32]}.json"
