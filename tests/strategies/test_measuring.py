"""Measuring at one owner: bounded numbers, nothing left behind, and one example moves a message by what is declared."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, Pipeline, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.measure import Measure
from tacit.privacy.stages.own import OwnGaussian
from tacit.privacy.updates import Dense
from tacit.strategies.gradients import ClippedGradient
from tacit.strategies.learner import Correct, Learner
from tacit.strategies.local import SolverError, local_update, streams_of
from tacit.strategies.measuring import measured, measured_together
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.metrics import Classification, LossOnly
from tacit.tasks.trainable import Trainable
from torch import nn

CORRECT = Classification().correct
STREAMS = streams_of(SeededEntropy(3), 1, 0)
SOLVER = ClippedGradient(norm=1.0, denominator=4.0)
OWNER = pipeline(Signal(15, "owner"), [Clip(0.3), Measure(largest_loss=8.0)])
EXAMPLE = pipeline(SOLVER.declare(15, 1, 1), [Measure(2.0, 8.0), OwnGaussian(0.0)])


def learner(module: nn.Module | None = None, correct: Correct | None = CORRECT) -> Learner:
    torch.manual_seed(0)
    made = module or nn.Linear(4, 3)
    return Learner(made, cross_entropy, Trainable(made), correct=correct)


LEARNER = learner()
WEIGHTS = torch.linspace(-1, 1, 15)


def data(rows: int = 7, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(rows, 4, generator=generator), torch.arange(rows) % 3)


def judged(examples: Examples) -> tuple[list[float], list[float]]:
    """Accuracy and cut loss of every example, by hand."""
    weight, bias = WEIGHTS[:12].reshape(3, 4), WEIGHTS[12:]
    logits = examples.inputs @ weight.T + bias
    losses = nn.functional.cross_entropy(logits, examples.targets, reduction="none") / 8.0
    return (logits.argmax(1) == examples.targets).double().tolist(), losses.clamp(0, 1).double().tolist()


def test_an_owner_says_its_means_less_a_half() -> None:
    rights, losses = judged(data())
    found = measured(OWNER, LEARNER, WEIGHTS, data(), STREAMS)
    assert found.row.tolist() == pytest.approx([sum(rights) / 7 - 0.5, sum(losses) / 7 - 0.5], rel=1e-6)
    assert found.readable


def test_examples_are_summed_and_never_counted() -> None:
    rights, losses = judged(data())
    found = measured(EXAMPLE, LEARNER, WEIGHTS, data(), STREAMS)
    assert found.row.tolist() == pytest.approx([sum(rights) - 3.5, sum(losses) - 3.5], rel=1e-6)


@pytest.mark.parametrize("line", [OWNER, EXAMPLE])
def test_nothing_to_measure_says_nothing(line: Pipeline) -> None:
    found = measured(line, LEARNER, WEIGHTS, data(0), STREAMS)
    assert (found.row.tolist(), found.readable) == ([0.0, 0.0], True)
    bare = pipeline(Signal(15, "owner"), [Clip(0.3)])
    assert measured(bare, LEARNER, WEIGHTS, data(), STREAMS).row.shape == (0,)


WILD = st.one_of(
    st.sampled_from([0.0, math.nan, math.inf, -math.inf, 3e38, -3e38, 1e19]), st.floats(-100, 100, width=32)
)
ROWS = st.lists(st.lists(WILD, min_size=4, max_size=4), min_size=1, max_size=30)


@given(rows=ROWS)
def test_whatever_the_data_an_owner_stays_within_a_half(rows: list[list[float]]) -> None:
    examples = Examples(torch.tensor(rows), torch.zeros(len(rows), dtype=torch.int64))
    found = measured(OWNER, LEARNER, WEIGHTS, examples, STREAMS)
    assert bool((found.row.abs() <= 0.5).all())
    assert found.readable or not bool(found.row.any())


@settings(max_examples=60)
@given(rows=ROWS, one=st.lists(WILD, min_size=4, max_size=4), target=st.integers(0, 2))
def test_one_example_moves_a_whole_message_by_at_most_the_declared_sensitivity(
    rows: list[list[float]], one: list[float], target: int
) -> None:
    """Gradient, measures, cuts, float32 and lattice together; a broken example is one example, not the whole owner."""
    messages = []
    for given_rows, targets in ((rows, [0] * len(rows)), ([*rows, one], [0] * len(rows) + [target])):
        examples = Examples(torch.tensor(given_rows), torch.tensor(targets))
        update = local_update(LEARNER, SOLVER, WEIGHTS, examples, STREAMS)
        row = measured(EXAMPLE, LEARNER, WEIGHTS, examples, STREAMS).row
        env = Env(SeededEntropy(1), 1, owner_ids=(0,), measures=row[None])
        messages.append(EXAMPLE.send(Dense(update[None]), env).dense()[0])
    moved = math.sqrt(sum(int(value) ** 2 for value in (messages[1] - messages[0]).tolist()))
    assert moved <= EXAMPLE.final.sensitivity


def test_a_loss_that_is_not_finite_counts_as_a_half_and_is_reported() -> None:
    broken = data()
    broken.inputs[2, 1] = math.nan
    whole = measured(OWNER, LEARNER, WEIGHTS, broken, STREAMS)
    assert not whole.readable
    assert whole.row.tolist() == [0.0, 0.0]
    kept = [0, 1, 3, 4, 5, 6]
    rest = measured(EXAMPLE, LEARNER, WEIGHTS, data().subset(kept), STREAMS).row
    found = measured(EXAMPLE, LEARNER, WEIGHTS, broken, STREAMS)
    assert not found.readable
    assert found.row.tolist() == pytest.approx(rest.tolist(), rel=1e-6)


@pytest.mark.parametrize("per", [1, 3, 7, 100])
@pytest.mark.parametrize("line", [OWNER, EXAMPLE])
def test_the_size_of_a_batch_does_not_matter(line: Pipeline, per: int) -> None:
    whole = measured(line, LEARNER, WEIGHTS, data(), STREAMS)
    assert measured(line, LEARNER, WEIGHTS, data(), STREAMS, per).row.tolist() == pytest.approx(
        whole.row.tolist(), abs=1e-6
    )


@pytest.mark.parametrize("line", [OWNER, EXAMPLE])
def test_owners_together_are_owners_one_by_one(line: Pipeline) -> None:
    held = [data(rows, seed) for seed, rows in enumerate((3, 0, 7, 1))]
    held[2].inputs[4, 1] = math.inf
    together = measured_together(line, LEARNER, WEIGHTS, held, STREAMS, per=5)
    for mine, examples in zip(together, held, strict=True):
        alone = measured(line, LEARNER, WEIGHTS, examples, STREAMS)
        assert mine.row.tolist() == pytest.approx(alone.row.tolist(), abs=1e-6)
        assert mine.readable == alone.readable
    assert [each.readable for each in together] == [True, True, False, True]


def test_models_are_measured_as_they_are_used_and_nothing_is_left_behind() -> None:
    """Evaluation mode: no dropout, the statistics of batch normalisation as they are, and afterwards all as before."""
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model = learner(module)
    line = pipeline(Signal(model.dim, "owner"), [Clip(0.3), Measure()])
    module[2].eval()  # one that somebody froze
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    first = measured(line, model, torch.ones(model.dim), data(), STREAMS)
    again = measured(line, model, torch.ones(model.dim), data(), streams_of(SeededEntropy(4), 9, 5))
    assert torch.equal(first.row, again.row)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [layer.training for layer in module] == [True, True, False]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("correct", [None, LossOnly().correct], ids=["unknown", "loss only"])
def test_without_a_right_and_a_wrong_only_the_loss_is_measured(correct: Correct | None) -> None:
    model = learner(correct=correct)
    line = pipeline(Signal(15, "owner"), [Clip(0.3), Measure(largest_loss=8.0, of=("loss",))])
    row = measured(line, model, WEIGHTS, data(), STREAMS).row
    assert row.tolist() == measured(OWNER, LEARNER, WEIGHTS, data(), STREAMS).row[1:].tolist()
    with pytest.raises(SolverError, match="no right from wrong; give of"):
        measured(OWNER, model, WEIGHTS, data(), STREAMS)
