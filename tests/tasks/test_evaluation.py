"""Evaluation: the whole is its parts, batches do not show, and the model is left as it was."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.tasks import evaluation
from tacit.tasks.catalogue import lookup
from tacit.tasks.evaluation import evaluate, finish, owner_means, per_example, sums
from tacit.tasks.examples import Examples
from tacit.tasks.losses import squared_error
from tacit.tasks.metrics import LossOnly, add
from tacit.tasks.task import Task, initial
from torch import nn

NAMES = ["digits", "breast-cancer", "topics"]
MODELS = {"digits": "mlp", "breast-cancer": "mlp", "topics": "lstm"}


@settings(max_examples=20)
@given(name=st.sampled_from(NAMES), cuts=st.lists(st.integers(0, 60), min_size=1, max_size=4))
def test_sums_over_owners_are_the_sums_over_everybody(name: str, cuts: list[int]) -> None:
    task = lookup(name, model=MODELS[name])
    module = initial(task, 1)
    examples = task.testing().subset(range(60))
    edges = [0, *sorted(cuts), 60]
    total: evaluation.Sums = {}
    for start, stop in pairwise(edges):
        total = add(total, sums(task, module, examples.subset(range(start, stop))))
    whole = sums(task, module, examples)
    assert total.keys() == whole.keys()
    assert all(np.allclose(total[key], whole[key], rtol=1e-6) for key in whole)
    assert finish(task, total) == pytest.approx(evaluate(task, module, examples), rel=1e-6)


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    task = lookup("digits", model="cnn")
    module = initial(task, 1)
    whole = evaluate(task, module, task.testing())
    monkeypatch.setattr(evaluation, "_BATCH", 7)
    assert evaluate(task, module, task.testing()) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_per_example_values_average_to_the_whole(name: str) -> None:
    task = lookup(name, model=MODELS[name])
    module = initial(task, 2)
    each, whole = per_example(task, module, task.testing()), evaluate(task, module, task.testing())
    assert each.correct is not None
    assert len(each.loss) == len(each.correct) == len(task.testing())
    assert each.loss.mean() == pytest.approx(whole["loss"], rel=1e-6)
    assert each.correct.mean() == pytest.approx(whole["accuracy"], rel=1e-6)


def test_owner_means_are_means_over_each_share() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    shares = [np.array([0, 3]), np.array([1]), np.array([], dtype=np.int64)]
    assert np.array_equal(owner_means(values, shares), [2.5, 2.0, np.nan], equal_nan=True)


def test_modes_and_gradients_are_left_as_they_were() -> None:
    task = lookup("digits", model="mlp")
    module = initial(task, 0).train()
    module[0].eval()
    evaluate(task, module, task.testing())
    assert [layer.training for layer in module.modules()] == [True, False, True, True]
    assert all(parameter.grad is None for parameter in module.parameters())


def test_dropout_is_off_while_evaluating() -> None:
    inputs, targets = torch.ones(50, 4), torch.ones(50)
    task = Task(
        model=lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)),
        loss=squared_error,
        test=(inputs, targets),
        metrics=LossOnly(),
    )
    module = initial(task, 0)
    found = per_example(task, module, task.testing())
    assert found.loss.std() < 1e-7
    assert found.correct is None
    assert evaluate(task, module, task.testing()) == {"loss": pytest.approx(found.loss.mean())}


def test_nothing_to_evaluate_is_no_number() -> None:
    task = lookup("digits")
    nothing: Examples = task.testing().subset([])
    assert sums(task, initial(task, 0), nothing) == {}
    assert len(per_example(task, initial(task, 0), nothing).loss) == 0
    with pytest.raises(ValueError, match="at least one"):
        evaluate(task, initial(task, 0), nothing)
