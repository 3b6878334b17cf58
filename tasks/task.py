"""Task: what is learned. Its public half is a model, a loss and measures; `load` reads an owner's private half.

A task is a value. The bundled ones are in `catalogue`; one's own is a `Task`, a factory that returns one, or a small class
with the same attributes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ..privacy.entropy import SeededEntropy
from .examples import DataError, Examples, validated
from .metrics import Classification, Metrics
from .partition import IID, Keys, Partition, PartitionError, Shares, partition_name
from .source import File, parse_source
from .tables import Reader, readers
from .trainable import Trainable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Given: TypeAlias = Examples | tuple[ArrayLike | Tensor, ArrayLike | Tensor]
    Data: TypeAlias = Given | Callable[[], Given]

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class TaskError(ValueError):
    """A task that cannot be trained, or a name that leads to none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Task:
    """What is learned, from what, and how its success is measured.

    `model()` makes a fresh module; its random draws come from torch's generator, which `initial` seeds.
    `loss(outputs, targets)` gives one number per example, `[B]`: `tacit.tasks.losses` has the usual ones.
    `train` and `test` are examples, a pair (inputs, targets), or a function of no arguments that returns one of these and
    is called once, on first use. `train` is what simulated owners share out by `partition`; `test` is public. A task that
    only reads owners' files needs no `train`.
    `readers` read those files, by the scheme before the colon of a source. `trained` names the parameters that train and
    travel, as patterns; None is all of them.
    """

    model: Callable[[], nn.Module]
    loss: Loss
    train: Data | None = None
    test: Data | None = None
    partition: Partition = field(default_factory=IID)
    name: str = "task"
    metrics: Metrics = field(default_factory=Classification)
    readers: Mapping[str, Reader] = field(default_factory=readers)
    trained: tuple[str, ...] | None = None
    _training: Callable[[], Examples] = field(init=False)
    _testing: Callable[[], Examples] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_training", _once(self.train, self.name, "train"))
        object.__setattr__(self, "_testing", _once(self.test, self.name, "test"))

    def __repr__(self) -> str:
        return f"Task(name={self.name!r})"

    @property
    def unit_count(self) -> int:
        """Number of training examples that the task itself brings."""
        return len(self.training())

    def training(self) -> Examples:
        """The task's own training examples, which simulated owners share; `TaskError` where it brings none."""
        return self._training()

    def testing(self) -> Examples:
        """The public test examples; `TaskError` where there are none."""
        return self._testing()

    def trainable(self, module: nn.Module) -> Trainable:
        """The layout of the parameters that train and travel."""
        return Trainable(module, self.trained)

    def shares(self, owners: int, seed: int, partition: Partition | None = None) -> Shares:
        """Indices into `training()` for each of `owners` simulated owners: the same for everybody who gives this seed."""
        chosen = self.partition if partition is None else partition
        rng = SeededEntropy(seed).stream("partition").generator()
        return chosen.split(_keys(self, chosen), owners, rng)

    def load(self, source: str) -> Examples:
        """The examples that `source` names (see `source`), validated; raises `DataError` for what cannot be learned from."""
        place = parse_source(source)
        if not isinstance(place, File):
            shares = self.shares(place.owners, place.seed, place.partition)
            return self.training().subset(shares[place.owner])
        reader = self.readers.get(place.scheme)
        if reader is None:
            raise DataError(
                f"source {source!r}: task {self.name} reads {', '.join(self.readers)} and population, not {place.scheme}"
            )
        return checked(self, reader(place.path), str(place.path))


def initial(task: Task, seed: int, device: torch.device | str = "cpu") -> nn.Module:
    """A fresh model whose weights depend on `seed` and the task alone, on `device`.

    Made on the CPU, so that the bits do not depend on the device; torch's own generator is left as it was. Not for use
    from several threads at once: modules draw from that one generator.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed every accelerator too and leave it so.
        torch.default_generator.manual_seed(
            int.from_bytes(SeededEntropy(seed).stream("initial weights").bytes(8), "little") >> 1
        )
        return task.model().to(device)


def checked(task: Task, examples: Examples, where: str) -> Examples:
    """`examples`, if they are finite and the task's model and loss take them; else `DataError` or `TaskError`.

    The initial model is run on the first two examples: the loss must be one finite number each, and targets must be
    classes that the model knows.
    """
    validated(examples, where)
    probe = examples.subset(range(min(2, len(examples))))
    module = initial(task, 0).eval()
    try:
        with torch.no_grad():
            outputs = module(probe.inputs)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: the model of task {task.name} does not take {probe.inputs.dtype} inputs of shape "
            f"{list(probe.inputs.shape[1:])} ({str(error).splitlines()[0]}); give the inputs that it was made for"
        ) from error
    _check_classes(task, outputs, examples, where)
    try:
        with torch.no_grad():
            losses = task.loss(outputs, probe.targets)
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        raise TaskError(
            f"task {task.name}: its loss fails on outputs {list(outputs.shape)} and targets "
            f"{list(probe.targets.shape)} ({str(error).splitlines()[0]}); make model, loss and targets fit"
        ) from error
    if losses.shape != (len(probe),):
        raise TaskError(
            f"task {task.name}: the loss of {len(probe)} examples has shape {list(losses.shape)}; "
            f'give one number per example, [{len(probe)}], for instance with reduction="none"'
        )
    return examples


def _check_classes(task: Task, outputs: Tensor, examples: Examples, where: str) -> None:
    classes = task.metrics.classes(outputs)
    if classes is None:
        return
    if examples.targets.dtype != torch.int64:
        raise TaskError(
            f"task {task.name}: its targets are real numbers, its metrics {type(task.metrics).__name__} need classes; "
            "give int64 targets, or metrics=LossOnly()"
        )
    wrong = torch.nonzero((examples.targets < 0) | (examples.targets >= classes))
    if len(wrong):
        raise DataError(
            f"{where}: the target of example {int(wrong[0][0])} (counted from 0) is no class of 0..{classes - 1}; "
            "mend the row, or make the model for more classes"
        )


def _once(given: Data | None, name: str, half: str) -> Callable[[], Examples]:
    """A function that makes validated examples of `given` when first called, and the same ones ever after."""

    @functools.cache
    def loaded() -> Examples:
        if given is None:
            raise TaskError(
                f"task {name} has no {half} examples of its own; give it {half}=(inputs, targets)"
                + (", or load an owner's file" if half == "train" else "")
            )
        data = given() if callable(given) else given
        examples = data if isinstance(data, Examples) else Examples.of(*data)
        return validated(examples, f"task {name}, {half}")

    if given is not None and not callable(given):
        loaded()  # a mistake in data that is there already is reported where it was given
    return loaded


def _keys(task: Task, partition: Partition) -> Keys:
    """What `partition` looks at: each example's class or, failing that, its group."""
    examples = task.training()
    if partition.key == "count":
        return np.zeros(len(examples), dtype=np.int64)
    labelled = partition.key == "label" and examples.targets.dim() == 1 and examples.targets.dtype == torch.int64
    keys = examples.targets if labelled else examples.groups
    if keys is None:
        need = "groups" if partition.key == "group" else "one class per example"
        raise PartitionError(
            f"{partition_name(partition)}: needs {need}, which the data of task {task.name} does not have; "
            "give Examples(inputs, targets, groups), or take iid or quantity-skew"
        )
    numbers: Keys = keys.cpu().numpy()
    return numbers
