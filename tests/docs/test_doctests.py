"""Examples in docstrings, of every module of the package."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import tacit

STARTS_THE_PROGRAM = "tacit.__main__"
MODULES = [name for _, name, _ in pkgutil.walk_packages(tacit.__path__, "tacit.") if name != STARTS_THE_PROGRAM]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    told: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for each in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(each, out=told.append)
    assert runner.failures == 0, "".join(told)


def test_the_walk_reaches_every_room_and_finds_examples() -> None:
    rooms = {name.split(".")[1] for name in MODULES}
    assert rooms == {"commands", "config", "privacy", "tasks", "strategies", "server", "client", "simulation"}
    finder = doctest.DocTestFinder()
    found = [
        example
        for name in MODULES
        for each in finder.find(importlib.import_module(name), name)
        for example in each.examples
    ]
    assert len(found) >= 10
