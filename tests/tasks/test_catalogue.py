"""Catalogue: names lead to tasks or to a refusal that helps; the bundled tasks are learnable without privacy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tacit.tasks.catalogue import TASKS, lookup
from tacit.tasks.evaluation import evaluate
from tacit.tasks.metrics import LossOnly
from tacit.tasks.partition import Dirichlet
from tacit.tasks.task import Task, TaskError, checked, initial

FACTORY = """
import torch
from torch import nn
import tacit.tasks.losses as losses
from tacit.tasks.task import Task

def factory(width: int = 2) -> Task:
    return Task(name="mine", model=lambda: nn.Linear(width, 2), loss=losses.cross_entropy)

ready = factory()
number = 3
keywords = lambda **anything: factory()

class Wards:
    # A task as a small class.
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
    def model(self) -> nn.Module:
        return nn.Linear(3, 1)
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self.scale * losses.squared_error(outputs, targets)
    def train(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(8, 3), torch.ones(8)
    from tacit.tasks.metrics import LossOnly
    metrics = LossOnly()
    from tacit.tasks.partition import Dirichlet
    partition = Dirichlet(0.5)

class Nothing:
    model = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a module of its own; what was imported from it is forgotten afterwards."""
    name = "own_task"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if module.startswith(name):
            del sys.modules[module]


def test_the_bundled_names_lead_to_tasks_of_that_name() -> None:
    assert list(TASKS) == ["digits", "breast-cancer", "topics"]
    for name in TASKS:
        task = lookup(name)
        assert task.name == name
        assert checked(task, task.testing(), name) is task.testing()


def fitted_accuracy(name: str, penalty: float, split: int) -> float:
    """Test accuracy of the convex model at its optimum, trained on all training data without privacy."""
    task = lookup(name, split=split)
    module, examples = initial(task, 0), task.training()
    parameters = list(module.parameters())
    optimizer = torch.optim.LBFGS(parameters, max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = task.loss(module(examples.inputs), examples.targets).mean()
        loss = loss + penalty * sum((p.square().sum() for p in parameters), start=torch.zeros(()))
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    return evaluate(task, module, task.testing())["accuracy"]


def test_digits_reach_99_percent_without_privacy() -> None:
    # 99.2 % as a mean over five splits; one of them is fitted here.
    assert fitted_accuracy("digits", 1e-5, split=0) >= 0.985


def test_breast_cancer_reaches_97_percent_without_privacy() -> None:
    # 97.9 % as a mean over five splits.
    assert np.mean([fitted_accuracy("breast-cancer", 1e-3, split=split) for split in range(5)]) >= 0.97


def test_a_factory_in_the_folder_gets_its_options(folder: Path) -> None:
    path = list(sys.path)
    task = lookup("own_task:factory", folder, width=5)
    assert task.name == "mine"
    assert task.model().in_features == 5
    assert sys.path == path
    assert isinstance(lookup("own_task:ready", folder), Task)
    assert lookup("own_task:keywords", folder, anything=3).name == "mine"


def test_a_small_class_is_a_task(folder: Path) -> None:
    task = lookup("own_task:Wards", folder, scale=2.0)
    assert task.name == "own_task:Wards"
    assert task.unit_count == 8
    assert task.metrics == LossOnly()
    assert task.partition == Dirichlet(0.5)
    assert task.loss(torch.zeros(4, 1), torch.ones(4)).tolist() == [2.0] * 4
    checked(task, task.training(), "here")


def test_installed_packages_need_no_folder() -> None:
    assert lookup("tacit.tasks.digits:digits", model="mlp").name == "digits"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("digit", "give one of digits, breast-cancer, topics, or package.module:factory"),
        ("own_task", "package.module:factory"),
        ("own task:factory", "package.module:factory"),
        ("own_task:", "package.module:factory"),
        ("../own_task:factory", "package.module:factory"),
        ("own_tasks:factory", "there is no module own_tasks in"),
        ("own_task.part:factory", "there is no module own_task.part in"),
        ("own_task:fabric", "own_task has no fabric"),
        ("own_task:number", "is int; give a Task"),
        ("own_task:Nothing", "gives Nothing without model() and loss()"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(folder: Path, name: str, complaint: str) -> None:
    with pytest.raises(TaskError) as refusal:
        lookup(name, folder)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize("name", ["own_task:factory", "digits"])
def test_an_unknown_option_is_refused_with_the_known_ones(folder: Path, name: str) -> None:
    with pytest.raises(TaskError, match=r"unexpected keyword argument 'colour'; its options are: (width|model, split)"):
        lookup(name, folder, colour="red")


def test_options_for_a_task_made_already_are_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match="takes no options"):
        lookup("own_task:ready", folder, width=2)


def test_a_folder_is_needed_to_find_what_lies_in_it(folder: Path) -> None:
    with pytest.raises(TaskError, match="no module own_task among installed packages"):
        lookup("own_task:factory")


def test_a_broken_module_is_reported_by_what_broke_it(folder: Path) -> None:
    (folder / "own_task_needs.py").write_text("import no_such_library")
    with pytest.raises(TaskError, match="needs 'no_such_library', which is not installed"):
        lookup("own_task_needs:factory", folder)
    (folder / "own_task_wrong.py").write_text("x = (\n")
    with pytest.raises(TaskError, match=r"own_task_wrong\.py, line 1"):
        lookup("own_task_wrong:factory", folder)


def test_a_module_never_stands_for_another_of_its_name(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    lookup("own_task:factory", folder)
    other = tmp_path_factory.mktemp("other")
    (other / "own_task.py").write_text(FACTORY)
    with pytest.raises(TaskError, match=r"already loaded under that name; rename"):
        lookup("own_task:factory", other)
    (folder / "json.py").write_text(FACTORY)
    with pytest.raises(TaskError, match="module json is"):
        lookup("json:factory", folder)
