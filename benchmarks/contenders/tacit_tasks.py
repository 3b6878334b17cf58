"""The works as tasks of Tacit; a module of its own, so that further processes can have them."""

from __future__ import annotations

from tacit import Task
from tacit.tasks.losses import cross_entropy
from works import CLASSES, W1, W2, Work


def w1() -> Task:
    """W1."""
    return _task(W1)


def w2() -> Task:
    """W2."""
    return _task(W2)


def _task(work: Work) -> Task:
    inputs, targets = work.data()
    return Task(
        model=work.model, loss=cross_entropy, train=(inputs, targets), test=(inputs[:CLASSES], targets[:CLASSES]),
        name=work.name,
    )  # fmt: skip
