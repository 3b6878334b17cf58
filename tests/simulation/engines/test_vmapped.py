"""Vmapped: which models it refuses and why, by which way it runs the others, and that each owner's work is its own."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tacit.client.refusal import RefusedError
from tacit.client.worker import Plan, agreed
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.local import LocalError
from tacit.simulation.engines.engine import TOLERANCE
from tacit.simulation.engines.fitness import Fit, fit_of
from tacit.simulation.engines.functional import Functional
from tacit.simulation.engines.layered import Layered
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.engines.vmapped import Vmapped
from tacit.simulation.population import Population
from tacit.strategies.learner import Learner, Loss
from tacit.strategies.local import streams_of
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
from tacit.tasks.examples import Examples
from tacit.tasks.language import Lstm, Transformer
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn

ENTROPY = SeededEntropy(4)
SIZES = [5, 0, 9, 2, 7]
SGD = {"use": "sgd", "lr": 0.2, "batch": 3, "epochs": 2, "momentum": 0.5}
CLIPPED = {"use": "clipped-gradient", "norm": 0.7, "denominator": 5.0}
NOISED = {"use": "dp-sgd", "norm": 0.7, "noise_multiplier": 0.5, "rate": 0.5, "denominator": 4.0, "steps": 3, "lr": 0.3}


class Net(nn.Module):
    """Six numbers to four classes, by `hidden` in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, values: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.hidden(self.first(values)))
        return outputs

    def hidden(self, values: Tensor) -> Tensor:
        return torch.tanh(values)


class Branching(Net):
    def hidden(self, values: Tensor) -> Tensor:
        return values if values.sum() > 0 else -values


class Reading(Net):
    def hidden(self, values: Tensor) -> Tensor:
        return values * float(values.max())


class Centred(Net):
    def hidden(self, values: Tensor) -> Tensor:
        return values - values.mean(dim=0)


class Drawing(Net):
    def hidden(self, values: Tensor) -> Tensor:
        return values + torch.randn_like(values)


class Overwriting(Net):
    def forward(self, values: Tensor) -> Tensor:
        outputs: Tensor = super().forward(values.mul_(0.5))
        return outputs


class Counting(Net):
    calls = 0

    def hidden(self, values: Tensor) -> Tensor:
        self.calls += 1
        return values / self.calls


class Detached(Net):
    """Its gradient is not that of what it computes, in a way that depends on the batch."""

    def hidden(self, values: Tensor) -> Tensor:
        return values + (values - values.detach()) * values.detach().mean(dim=0)


class Scaled(Net):
    """Holds a parameter outside all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 5))

    def hidden(self, values: Tensor) -> Tensor:
        return torch.tanh(values * self.scale)


class Bare(Net):
    """Takes its layer's weight without calling the layer."""

    def hidden(self, values: Tensor) -> Tensor:
        return torch.tanh(values @ self.first.weight @ self.first.weight.t())


class Turned(Net):
    """Puts the batch second on its way through a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Linear(5, 5)

    def hidden(self, values: Tensor) -> Tensor:
        return self.middle(torch.stack([values, -values])).tanh().sum(dim=0)  # type: ignore[no-any-return]  # a Module's


class Shifted(Net):
    """Holds a buffer that nothing changes, as causal masks are held."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.linspace(-1, 1, 5))

    def hidden(self, values: Tensor) -> Tensor:
        return torch.tanh(values + self.get_buffer("shift"))


class Recording(Shifted):
    def hidden(self, values: Tensor) -> Tensor:
        self.get_buffer("shift").add_(1e-3)
        return values


class Twice(Net):
    """Calls one layer twice, with inputs of different shapes, and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.idle = nn.Linear(5, 5), nn.Linear(3, 3)
        self.norm = nn.LayerNorm(5)

    def hidden(self, values: Tensor) -> Tensor:
        once = torch.tanh(self.middle(values))
        both = self.middle(torch.stack([once, once.square()], dim=1)).sum(dim=1)
        outputs: Tensor = self.norm(both)
        return outputs


class Tied(nn.Module):
    """One table for the symbols that come and those that go (Press and Wolf 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.output = nn.Embedding(4, 6), nn.Linear(6, 6), nn.Linear(6, 4, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, symbols: Tensor) -> Tensor:
        outputs: Tensor = self.output(torch.tanh(self.mix(self.embed(symbols))))
        return outputs


class Padded(nn.Module):
    """A symbol that has no gradient, and a loss of several positions."""

    def __init__(self, *norm: int, bias: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 6, padding_idx=0)
        self.norm, self.output = nn.LayerNorm(norm, bias=bias), nn.Linear(6, 4)

    def forward(self, symbols: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.norm(self.embed(symbols)))
        return outputs


class Recurrent(nn.Module):
    """A recurrent layer of torch between embedding and logits; `scale` is a parameter outside all layers."""

    def __init__(self, make: Any, outputs: int, batch_first: bool = True, scaled: bool = False) -> None:
        super().__init__()
        self.embed, self.batch_first = nn.Embedding(4, 6), batch_first
        self.cell, self.output = make(6, 5, batch_first=batch_first), nn.Linear(outputs, 4)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6)) if scaled else None

    def forward(self, symbols: Tensor) -> Tensor:
        values = self.embed(symbols) if self.scale is None else self.embed(symbols) * self.scale
        states, last = self.cell(values if self.batch_first else values.transpose(0, 1))
        states, _ = self.cell(values if self.batch_first else values.transpose(0, 1), last)  # on from where it ended
        outputs: Tensor = self.output(states if self.batch_first else states.transpose(0, 1))
        return outputs


class Bag(nn.Module):
    """The next symbol from those before it, whatever their order."""

    def __init__(self, mode: str = "mean", **given: Any) -> None:
        super().__init__()
        self.bag, self.output = nn.EmbeddingBag(4, 6, mode=mode, **given), nn.Linear(6, 4)

    def forward(self, symbols: Tensor) -> Tensor:
        outputs: Tensor = self.output(self.bag(symbols))
        return outputs


def hooked() -> nn.Module:
    module = Net()
    module.first.register_forward_hook(lambda layer, inputs, outputs: outputs * 2)
    return module


def mixing(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets) / outputs.detach().square().mean()


def learner(module: nn.Module, loss: Loss = cross_entropy, patterns: tuple[str, ...] | None = None) -> Learner:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape))
    return Learner(module, loss, Trainable(module, patterns))


def numbers(count: int = 60) -> Examples:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(count, 6, generator=generator)
    return Examples(inputs, torch.randint(0, 4, (count,), generator=generator))


def symbols(count: int = 60) -> Examples:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(0, 4, (count, 4), generator=generator)
    return Examples(drawn[:, :3].clone(), drawn[:, 1:].clone())


def next_ones(count: int = 60) -> Examples:
    """Three symbols, and the one after them."""
    windows = symbols(count)
    return Examples(windows.inputs, windows.targets[:, -1].clone())


def dealt(training: Examples, sizes: list[int] = SIZES) -> Population:
    order = np.random.default_rng(5).permutation(len(training))
    return Population(training, np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1]))


def asked(model: Learner, solver: dict[str, Any], owners: int) -> tuple[Plan, list[Request]]:
    terms = Terms({"use": "own"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, owners, 5)
    recipe = Recipe(solver, {"use": "fedavg"}, (), 1, owners, terms)
    start = model.weights() + 0.05 * torch.randn(model.dim, generator=torch.Generator().manual_seed(9))
    requests = [Request("run", 1, 0, owner, recipe, start) for owner in range(owners)]
    return agreed(requests[0], model), requests


def reason(model: Learner, training: Examples, solver: dict[str, Any] = SGD) -> str | None:
    return Vmapped().accepts(asked(model, solver, 2)[0], model, dealt(training))


def assert_equal_to_the_plain_loop(model: Learner, training: Examples, solver: dict[str, Any]) -> None:
    population, engine = dealt(training), Vmapped()
    plan, requests = asked(model, solver, len(population))
    assert engine.accepts(plan, model, population) is None
    expected = PlainLoop().train(plan, model, requests, population, ENTROPY, {}).dense()
    found = engine.train(plan, model, requests, population, ENTROPY, {}).dense()
    lengths = expected.norm(dim=1)
    assert bool((lengths > 0).any())
    assert bool(((found - expected).norm(dim=1) <= TOLERANCE * lengths).all())


REFUSED: dict[str, tuple[Any, Loss, str]] = {
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.1)), cross_entropy, r"1 \(Dropout\) draws random"),
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4)), cross_entropy, r"0 \(BatchNorm1d\) mixes"),
    "batch norm without memory": (
        lambda: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 4)), cross_entropy,
        r"0 \(BatchNorm1d\) mixes the examples of a batch",
    ),
    "a hook": (hooked, cross_entropy, r"first \(Linear\) has hooks"),
    "a branch on the data": (Branching, cross_entropy, "cannot be mapped over examples|mixes the examples"),
    "a number taken out": (Reading, cross_entropy, "cannot be mapped over examples|mixes the examples"),
    "mixed examples": (Centred, cross_entropy, "it mixes the examples of a batch"),
    "mixed in the gradient alone": (Detached, cross_entropy, "other gradients"),
    "noise": (Drawing, cross_entropy, "it draws random numbers"),
    "an input overwritten": (Overwriting, cross_entropy, "it overwrites its input"),
    "a memory": (Counting, cross_entropy, "it remembers what it has seen"),
    "a buffer that changes": (Recording, cross_entropy, "remembers what it has seen, in shift"),
    "a loss that mixes": (Net, mixing, "it mixes the examples of a batch"),
    "a mean for a loss": (Net, lambda z, y: cross_entropy(z, y).mean(), r"it could not be tried \(the task's loss has shape"),
    "double precision in a frozen layer": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4).to(torch.float64).requires_grad_(False)), cross_entropy,
        r"1 \(Linear\) is torch.float64",
    ),
    "no batch of sequences": (lambda: nn.LSTM(6, 4), cross_entropy, "could not be tried"),
    "projected states": (lambda: nn.LSTM(6, 4, proj_size=2), cross_entropy, r"\(LSTM\) projects its states"),
    "dropout between layers": (lambda: nn.GRU(6, 4, 2, dropout=0.1), cross_entropy, r"\(GRU\) draws random numbers"),
    "a padded bag": (lambda: Bag(padding_idx=0), cross_entropy, r"\(EmbeddingBag\) has mode = max or padding_idx set"),
    "weights scaled as they are read": (lambda: Bag(max_norm=1.0), cross_entropy, r"\(EmbeddingBag\) has max_norm"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_side_by_side_is_refused_with_a_reason_in_a_line(name: str) -> None:
    make, loss, why = REFUSED[name]
    model = learner(make(), loss)
    before, state = model.weights(), torch.get_rng_state()
    found = reason(model, numbers())
    assert found is not None
    assert re.search(why, found), found
    assert "\n" not in found
    assert len(found) < 250
    assert torch.equal(model.trainable.flatten(model.module), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_branch_that_no_made_up_example_takes_is_found_all_the_same() -> None:
    """Where the numbers decide is seen by who asks, not by trying: both ways of `Branching` here are the same function."""

    class Asking(Net):
        def hidden(self, values: Tensor) -> Tensor:
            return values.tanh() if values.abs().sum() > 1e9 else torch.tanh(values)

    found = reason(learner(Asking()), numbers())
    assert found is not None
    assert "data-dependent control flow" in found


def test_what_owners_do_beyond_training_is_refused() -> None:
    model = learner(Net())
    plan, _ = asked(model, SGD, 2)
    from dataclasses import replace

    from tacit.strategies.scaffold import Scaffold

    plan = replace(plan, algorithm=Scaffold(fraction=0.5))
    assert Vmapped().accepts(plan, model, dealt(numbers())) == "Scaffold has owners do more than train"


ROUTES: dict[str, tuple[Any, Any, type]] = {
    "layers": (Net, numbers, Layered),
    "a layer called twice": (Twice, numbers, Layered),
    "tied weights": (Tied, symbols, Layered),
    "padding": (lambda: Padded(6), symbols, Layered),
    "a norm over two dimensions": (lambda: Padded(3, 6), symbols, Layered),
    "a norm without a bias": (lambda: Padded(6, bias=False), symbols, Layered),
    "lstm": (lambda: Lstm(4, 5), symbols, Layered),
    "transformer": (lambda: Transformer(4, 3, 8, 2, 1), symbols, Layered),
    "lstm of torch": (lambda: Recurrent(nn.LSTM, 5), symbols, Layered),
    "gru of torch, both ways": (lambda: Recurrent(partial(nn.GRU, num_layers=2, bidirectional=True), 10), symbols, Layered),
    "rnn of torch, steps first": (
        lambda: Recurrent(partial(nn.RNN, nonlinearity="relu", bias=False), 5, batch_first=False), symbols, Layered,
    ),
    "lstm of torch and a parameter": (
        lambda: Recurrent(partial(nn.LSTM, num_layers=2, bidirectional=True), 10, scaled=True), symbols, Functional,
    ),
    "bag": (Bag, next_ones, Layered),
    "bag, added up": (lambda: nn.Sequential(Bag("sum"), nn.LayerNorm(4)), next_ones, Layered),
    "in place": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ELU(inplace=True), nn.Linear(5, 4)), numbers, Functional),
    "a buffer that stays": (Shifted, numbers, Layered),
    "a parameter of its own": (Scaled, numbers, Functional),
    "a weight without its layer": (Bare, numbers, Functional),
    "the batch second": (Turned, numbers, Functional),
    "convolutions with group norm": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(8, 4)
        ),
        numbers, Functional,
    ),
    "attention of torch": (
        lambda: nn.Sequential(nn.Embedding(4, 6), nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True)),
        symbols, Functional,
    ),
}  # fmt: skip
NOT_CLIPPED = {  # for what Opacus makes of them
    "padding": "the gradient of one example",
    "a norm over two dimensions": "the gradient of one example",
    "a norm without a bias": "the model gives no per-example gradients",
    "bag": "the model gives no per-example gradients",
    "bag, added up": "the model gives no per-example gradients",
    "in place": "the model gives no per-example gradients",
    "a weight without its layer": "the gradient of one example",
    "the batch second": "the gradient of one example",
}


# Adam divides a gradient by its own size. One that is zero but for rounding, as that of a key's bias, which softmax does not
# see, leads it by a whole step either way, unless `epsilon` is above the rounding.
ADAM = {"use": "adam", "lr": 0.01, "batch": 4, "epochs": 2, "epsilon": 1e-5}


@pytest.mark.parametrize("solver", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("name", ROUTES)
def test_every_way_gives_what_the_plain_loop_gives(name: str, solver: dict[str, Any]) -> None:
    make, data, way = ROUTES[name]
    model = learner(make())
    fit = fit_of(model, data())
    assert isinstance(fit, Fit)
    assert type(fit.route) is way
    assert fit.kept > 0
    assert_equal_to_the_plain_loop(model, data(), solver)


def test_adam_with_a_small_epsilon_parts_engines_where_a_gradient_is_rounding_and_nowhere_else() -> None:
    make, data, _ = ROUTES["transformer"]
    model, population = learner(make()), dealt(data())
    plan, requests = asked(model, {**ADAM, "epsilon": 1e-8}, len(population))
    expected, found = (
        engine.train(plan, model, requests, population, ENTROPY, {}).dense() for engine in (PlainLoop(), Vmapped())
    )
    apart, lengths = (found - expected).abs(), expected.norm(dim=1)
    blind = torch.zeros(model.dim, dtype=torch.bool)
    for slot in model.trainable.layout:
        blind[slot.start : slot.stop] = slot.name.endswith("key.bias")
    assert bool(((apart * ~blind).norm(dim=1) <= TOLERANCE * lengths).all())
    assert bool((apart * blind <= 2 * 6 * ADAM["lr"]).all())  # at most six steps, apart by two at most
    assert bool((apart * blind > 0.1 * ADAM["lr"]).any())  # so the exception is one
    with torch.no_grad(), model.turn(streams_of(ENTROPY, 1, 0)):
        losses = [model.losses(requests[0].weights + updates[0], data()) for updates in (expected, found)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)  # which of them it is says nothing about the model


@pytest.mark.parametrize("solver", [CLIPPED, NOISED], ids=["clipped-gradient", "dp-sgd"])
@pytest.mark.parametrize("name", ROUTES)
def test_example_level_takes_what_an_owner_alone_would(name: str, solver: dict[str, Any]) -> None:
    make, data, _ = ROUTES[name]
    model, population = learner(make()), dealt(data())
    if "of torch" in name:  # refused before anybody asks an engine
        with pytest.raises(RefusedError, match=r"its (gates|projections) are fused"):
            asked(model, solver, 2)
    elif name in NOT_CLIPPED:
        found = reason(model, data(), solver)
        assert found is not None
        assert re.match(NOT_CLIPPED[name], found), found
        plan, requests = asked(model, solver, len(population))
        with pytest.raises(LocalError):
            PlainLoop().train(plan, model, requests, population, ENTROPY, {})
    else:
        assert_equal_to_the_plain_loop(model, data(), solver)


@pytest.mark.parametrize("patterns", [("embed.*",), ("*.bias",), ("output.*", "input.weight"), ("state.weight",)])
@pytest.mark.parametrize("solver", [SGD, CLIPPED], ids=["sgd", "clipped-gradient"])
def test_what_does_not_train_stays(patterns: tuple[str, ...], solver: dict[str, Any]) -> None:
    model = learner(Lstm(4, 5), patterns=patterns)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    assert_equal_to_the_plain_loop(model, symbols(), solver)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert not any("forward" in vars(layer) for layer in model.module.modules())


@pytest.mark.parametrize("solver", [SGD, CLIPPED, NOISED], ids=["sgd", "clipped-gradient", "dp-sgd"])
@pytest.mark.parametrize("passing", [1 << 23, 1])
def test_an_owner_is_trained_alone_as_among_others_and_again_to_the_bit(solver: dict[str, Any], passing: int) -> None:
    model, population, engine = learner(Lstm(4, 5)), dealt(symbols()), Vmapped(passing=passing)
    plan, requests = asked(model, solver, len(population))
    together = engine.train(plan, model, requests, population, ENTROPY, {}).dense()
    assert torch.equal(engine.train(plan, model, requests, population, ENTROPY, {}).dense(), together)
    for place, request in enumerate(requests):
        alone = engine.train(plan, model, [request], population, ENTROPY, {}).dense()[0]
        assert float((alone - together[place]).norm()) <= TOLERANCE * float(alone.norm())
    assert torch.equal(together[1], torch.zeros(model.dim)) == (solver is not NOISED)


def test_owners_without_any_example_train_to_nothing() -> None:
    model, population = learner(Lstm(4, 5)), dealt(symbols(), [0, 0])
    for solver in (SGD, CLIPPED):
        plan, requests = asked(model, solver, 2)
        assert not Vmapped().train(plan, model, requests, population, ENTROPY, {}).dense().any()


def test_the_verdict_depends_on_shapes_and_not_on_data() -> None:
    model = learner(Lstm(4, 5))
    fit = fit_of(model, symbols())
    assert fit_of(model, Examples(torch.full((7, 3), 10**6), torch.full((7, 3), -1))) is fit  # no symbols of this model
    other = fit_of(model, Examples(torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64)))
    assert isinstance(other, Fit)
    assert isinstance(fit, Fit)
    assert other.kept > fit.kept


def test_long_steps_and_large_models_are_left_to_the_plain_loop() -> None:
    model, population = learner(Lstm(4, 5)), dealt(symbols())
    full, _ = asked(model, {"use": "sgd", "lr": 0.1}, 2)
    fit = fit_of(model, population.training)
    assert isinstance(fit, Fit)
    nine = 9 * fit.kept  # of the largest owner's step
    assert Vmapped(passing=6 * nine).pays(full, model, population) is None
    slow = Vmapped(passing=6 * nine - 1).pays(full, model, population)
    assert slow == f"9 examples leave {nine} numbers in a step, too many to have those of 6 owners in the cache"
    assert Vmapped(passing=1).pays(asked(model, CLIPPED, 2)[0], model, population) is None  # Opacus is slower still
    mapped, few = learner(Scaled()), Vmapped(passing=1)
    assert few.pays(asked(mapped, CLIPPED, 2)[0], mapped, dealt(numbers())) is not None
    two, _ = asked(model, {"use": "sgd", "lr": 0.1, "batch": 2}, 2)
    assert Vmapped(passing=6 * nine - 1).pays(two, model, population) is None
    assert Vmapped(numbers=2 * model.dim).pays(full, model, population) is None
    large = Vmapped(numbers=2 * model.dim - 1).pays(full, model, population)
    assert large is not None
    assert large.startswith(f"{model.dim} weights are too many")


def test_an_accelerator_takes_larger_groups() -> None:
    assert Vmapped().on("cpu") == Vmapped()
    assert Vmapped().on("cuda").group > Vmapped().group
    assert Vmapped().on("cuda").passing > Vmapped().passing


def test_nothing_slow_is_loaded_for_it() -> None:
    import subprocess
    import sys

    code = (
        "import sys, torch; from tacit.simulation.engines.fitness import fit_of; "
        "from tacit.strategies.federation import learner_for; from tacit.tasks.catalogue import lookup; "
        "[fit_of(learner_for(task, 1), task.training()) for task in (lookup('topics', None, context=4), "
        "lookup('digits', None, model='cnn'))]; "
        "print([name for name in ('torch._dynamo', 'sympy', 'opacus') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"
