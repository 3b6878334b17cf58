"""Metrics: sums of parts add to the sums of the whole, and the numbers are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from tacit.tasks.metrics import Classification, LossOnly, Metrics, NextSymbol, Sums, add, worst_decile
from torch import Tensor


def draw(seed: int, batch: int, classes: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, generator=generator)
    return logits, torch.randint(max(classes, 2), (batch,), generator=generator)


def same(first: Sums, second: Sums) -> bool:
    return first.keys() == second.keys() and all(np.allclose(first[name], second[name], rtol=1e-6) for name in first)


@given(seed=st.integers(0, 99), batch=st.integers(0, 40), cut=st.integers(0, 40), classes=st.integers(1, 5))
def test_sums_of_parts_add_to_the_sums_of_the_whole(seed: int, batch: int, cut: int, classes: int) -> None:
    logits, targets = draw(seed, batch, classes)
    symbols = logits[:, None, :].expand(-1, 3, -1), targets.clamp(max=classes - 1)[:, None].expand(-1, 3)
    kinds: list[tuple[Metrics, Tensor, Tensor]] = [(Classification(), logits, targets), (NextSymbol(), *symbols)]
    for metrics, outputs, truth in kinds:
        parts = metrics.sums(outputs[:cut], truth[:cut]), metrics.sums(outputs[cut:], truth[cut:])
        assert same(add(*parts), metrics.sums(outputs, truth))
        assert same(add(*parts), add(*reversed(parts)))


def test_no_sums_are_neutral_and_sums_of_another_task_are_refused() -> None:
    some = {"count": np.array(3.0)}
    assert add({}, some) == add(some, {}) == some
    with pytest.raises(ValueError, match="same task only"):
        add(some, {"positions": np.array(3.0)})


@given(seed=st.integers(0, 999), batch=st.integers(1, 60), classes=st.integers(2, 6))
def test_classification_is_that_of_scikit_learn(seed: int, batch: int, classes: int) -> None:
    logits, targets = draw(seed, batch, classes)
    truth, predicted = targets.numpy(), logits.argmax(dim=1).numpy()
    found = Classification().finish(Classification().sums(logits, targets))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    for name, score in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        assert found[name] == pytest.approx(score(truth, predicted, average="macro", zero_division=0)), name


@given(seed=st.integers(0, 999), batch=st.integers(12, 80), classes=st.integers(2, 5), scale=st.floats(0.001, 20))
def test_roc_auc_is_that_of_scikit_learn_to_its_stated_resolution(
    seed: int, batch: int, classes: int, scale: float
) -> None:
    logits, targets = draw(seed, batch, classes, scale)
    targets[:classes] = torch.arange(classes)
    scores = torch.softmax(logits.double(), dim=1).numpy()
    if classes == 2:  # by the log-odds themselves: a probability rounds neighbours together
        wanted = reference.roc_auc_score(targets.numpy(), (logits[:, 1] - logits[:, 0]).numpy())
    else:
        wanted = reference.roc_auc_score(targets.numpy(), scores, multi_class="ovr", average="macro")
    sums = Classification().sums(logits, targets)
    resolution = Classification().resolution(sums)
    assert abs(Classification().finish(sums)["roc_auc"] - wanted) <= resolution + 1e-9


def test_the_resolution_of_roc_auc_is_fine_for_ordinary_scores() -> None:
    for classes in (2, 10):
        logits, targets = draw(3, 5000, classes)
        assert 0 < Classification().resolution(Classification().sums(logits, targets)) < 0.003


def test_roc_auc_is_exact_where_no_two_scores_share_a_bin() -> None:
    scores = torch.linspace(-8, 8, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    targets = torch.arange(60) % 2
    sums = Classification().sums(scores, targets)
    assert Classification().resolution(sums) == 0
    assert Classification().finish(sums)["roc_auc"] == pytest.approx(
        reference.roc_auc_score(targets.numpy(), scores.numpy()), abs=1e-12
    )


def test_roc_auc_is_left_out_where_a_class_is_missing() -> None:
    found = Classification().finish(Classification().sums(torch.randn(5, 3), torch.tensor([0, 1, 1, 0, 0])))
    assert "roc_auc" not in found


def test_a_lone_logit_is_class_one_against_class_zero() -> None:
    logits, targets = torch.tensor([-1.0, 0.5, 2.0, -3.0]), torch.tensor([0, 1, 0, 0])
    column = Classification().sums(logits[:, None], targets)
    both = Classification().sums(torch.stack([torch.zeros(4), logits], dim=1), targets)
    assert same(Classification().sums(logits, targets), column)
    assert same(column, both)
    assert Classification().classes(logits) == 2
    assert Classification().correct(logits, targets).tolist() == [1, 1, 0, 1]


def test_a_diverged_model_is_counted_and_breaks_nothing() -> None:
    found = Classification().finish(Classification().sums(torch.full((4, 3), torch.nan), torch.tensor([0, 1, 2, 0])))
    assert 0 <= found["accuracy"] <= 1
    infinite = NextSymbol().sums(torch.tensor([[[1e6, 0.0]]]), torch.tensor([[1]]))
    assert NextSymbol().finish(infinite)["perplexity"] == float("inf")


def test_perplexity_of_a_uniform_model_is_the_number_of_symbols() -> None:
    targets = torch.arange(10).reshape(2, 5)
    found = NextSymbol().finish(NextSymbol().sums(torch.zeros(2, 5, 97), targets))
    assert found["perplexity"] == pytest.approx(97, rel=1e-6)
    assert found["accuracy"] == 0.1


def test_perplexity_is_the_exponential_of_the_mean_log_loss() -> None:
    logits, targets = draw(5, 30, 7)
    found = NextSymbol().finish(NextSymbol().sums(logits[:, None], targets[:, None]))
    probability = torch.softmax(logits.double(), dim=1).numpy()
    wanted = np.exp(reference.log_loss(targets.numpy(), probability, labels=range(7)))
    assert found["perplexity"] == pytest.approx(wanted, rel=1e-5)


def test_outputs_of_a_sequence_are_refused_as_classes() -> None:
    with pytest.raises(ValueError, match="NextSymbol"):
        Classification().sums(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))


def test_loss_only_measures_nothing_else() -> None:
    outputs = torch.zeros(3)
    assert LossOnly().sums(outputs, outputs) == {}
    assert LossOnly().finish({}) == {}
    assert LossOnly().classes(outputs) is None
    assert LossOnly().correct(outputs, outputs) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=45))
def test_the_worst_decile_is_between_the_minimum_and_the_mean(values: list[float]) -> None:
    array = np.array(values)
    found = worst_decile(array)
    assert array.min() - 1e-12 <= found <= array.mean() + 1e-12
    assert found == worst_decile(array[::-1])


def test_the_worst_decile_of_25_owners_is_the_mean_of_three() -> None:
    assert worst_decile(np.arange(25.0)) == 1.0
    with pytest.raises(ValueError, match="at least one"):
        worst_decile(np.array([]))
