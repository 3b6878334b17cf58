"""Task: a value of one's own data, deterministic shares and weights, mistakes reported where they are made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.catalogue import lookup
from tacit.tasks.examples import DataError, Examples
from tacit.tasks.losses import cross_entropy, squared_error
from tacit.tasks.metrics import LossOnly, NextSymbol
from tacit.tasks.partition import IID, Bootstrap, Dirichlet, Natural, PartitionError, Shards
from tacit.tasks.source import Population
from tacit.tasks.task import Task, TaskError, checked, initial
from torch import Tensor, nn

X = np.random.default_rng(0).normal(size=(60, 20))
Y = np.arange(60) % 2


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


def own(**fields: object) -> Task:
    return Task(**{"model": lambda: nn.Linear(20, 2), "loss": cross_entropy, "train": (X, Y), **fields})


def test_a_task_of_ones_own_in_a_notebook() -> None:
    task = own(test=Examples.of(X[:9], Y[:9]), partition=Dirichlet(0.3))
    assert task.unit_count == 60
    assert len(task.testing()) == 9
    assert [len(share) for share in task.shares(6, seed=1)] == [10] * 6
    assert task.trainable(task.model()).dim == 42
    assert checked(task, task.training(), "here") is task.training()
    assert repr(task) == "Task(name='task')"


def test_data_given_as_a_function_are_made_once_and_only_when_needed() -> None:
    calls: list[int] = []

    def data() -> tuple[np.ndarray, np.ndarray]:
        calls.append(1)
        return X, Y

    task = own(train=data)
    assert not calls
    assert task.training() is task.training()
    assert len(calls) == 1


@given(
    owners=st.integers(1, 60),
    seed=st.integers(0, 2**40),
    partition=st.sampled_from([None, IID(), Dirichlet(0.3), Shards(1), Bootstrap(5)]),
)
def test_share_k_of_a_source_is_share_k_of_the_simulator(owners: int, seed: int, partition: object) -> None:
    task = own(partition=Dirichlet(0.7))
    shares = task.shares(owners, seed, partition)
    owner = seed % owners
    loaded = task.load(str(Population(owner, owners, seed, partition)))
    wanted = task.training().subset(shares[owner])
    assert torch.equal(loaded.inputs, wanted.inputs)
    assert torch.equal(loaded.targets, wanted.targets)


def test_ten_thousand_owners_of_a_small_task() -> None:
    shares = lookup("digits").shares(10_000, seed=1, partition=Bootstrap(per_owner=20))
    assert len(shares) == 10_000
    assert sum(share.nbytes for share in shares) < 2_000_000


def test_initial_weights_depend_on_the_seed_alone() -> None:
    task = lookup("digits", model="cnn")
    torch.manual_seed(1)
    first = task.trainable(initial(task, 5)).flatten(initial(task, 5))
    torch.manual_seed(2)
    second = initial(task, 5)
    assert torch.equal(first, task.trainable(second).flatten(second))
    other = initial(task, 6)
    assert not torch.equal(first, task.trainable(other).flatten(other))


def test_initial_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    initial(lookup("digits", model="mlp"), 5)
    assert torch.equal(torch.rand(4), wanted)


def test_a_half_that_is_missing_is_named() -> None:
    task = own(train=None, name="ward")
    with pytest.raises(TaskError, match=r"ward has no train examples.*load an owner's file"):
        task.training()
    with pytest.raises(TaskError, match=r"ward has no test examples.*test=\(inputs, targets\)"):
        task.testing()


def test_bad_data_are_refused_where_they_are_given() -> None:
    bad = X.copy()
    bad[3, 7] = np.nan
    with pytest.raises(DataError, match=r"task task, train: inputs, example 3, column \[7\]"):
        own(train=(bad, Y))
    with pytest.raises(DataError, match="task task, test: no examples"):
        own(test=(X[:0], Y[:0]))


def test_a_loss_that_is_a_mean_is_refused() -> None:
    task = own(loss=mean_loss)
    with pytest.raises(TaskError, match=r'loss of 2 examples has shape \[\].*reduction="none"'):
        checked(task, task.training(), "here")


def test_a_loss_that_does_not_fit_is_refused() -> None:
    task = own(loss=squared_error, metrics=LossOnly())
    with pytest.raises(TaskError, match=r"its loss fails on outputs \[2, 2\] and targets \[2\]"):
        checked(task, task.training(), "here")


def test_inputs_that_do_not_fit_the_model_are_refused() -> None:
    task = own()
    with pytest.raises(DataError, match=r"ward7: the model of task task does not take torch.float32 inputs.*\[3\]"):
        checked(task, Examples.of(np.ones((4, 3)), np.zeros(4, dtype=int)), "ward7")


@pytest.mark.parametrize("target", [-1, 2, 99, -100])
def test_a_target_that_is_no_class_is_refused(target: int) -> None:
    targets = Y.copy()
    targets[4] = target
    with pytest.raises(DataError, match=r"ward7: the target of example 4 .* no class of 0\.\.1"):
        checked(own(), Examples.of(X, targets), "ward7")


def test_classes_and_real_numbers_are_not_mixed() -> None:
    with pytest.raises(TaskError, match=r"Classification need classes.*LossOnly"):
        checked(own(), Examples.of(X, X[:, 0]), "here")
    regression = own(model=lambda: nn.Linear(20, 1), loss=squared_error, train=(X, X[:, 0]), metrics=LossOnly())
    checked(regression, regression.training(), "here")


def test_partitions_that_need_what_the_data_lack_are_refused() -> None:
    with pytest.raises(PartitionError, match="natural: needs groups"):
        own(partition=Natural()).shares(2, 0)
    sequences = own(train=(X, np.zeros((60, 4), dtype=int)), metrics=NextSymbol())
    with pytest.raises(PartitionError, match="dirichlet: needs one class per example"):
        sequences.shares(2, 0, Dirichlet(1.0))
    assert len(sequences.shares(2, 0, IID())) == 2
    # Without one class per example its group stands in: owners are then skewed by topic.
    assert len(lookup("topics").shares(20, 0, Dirichlet(0.3))) == 20


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="reads csv, npz and population, not parquet"):
        own().load("parquet:x")


def test_only_named_parameters_train() -> None:
    task = own(model=lambda: nn.Sequential(nn.Linear(20, 4), nn.Linear(4, 2)), trained=("1.*",))
    assert task.trainable(task.model()).dim == 10
