"""Catalogue: the tasks that Tacit brings, and the way from a name in a configuration to a task."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from .breast_cancer import breast_cancer
from .digits import digits
from .task import Task, TaskError
from .topics import topics

TASKS: Mapping[str, Callable[..., Task]] = {
    "digits": digits,
    "breast-cancer": breast_cancer,
    "topics": topics,
}

# What a task class of one's own may have besides `model` and `loss`; each means what the field of `Task` means.
_OPTIONAL = ("train", "test", "partition", "name", "metrics", "readers", "trained")


def lookup(name: str, folder: Path | None = None, **options: object) -> Task:
    """The task called `name`, made with `options`; raises `TaskError` where there is none.

    `name` is one of `TASKS` or `package.module:factory`. The factory is a function that returns a `Task`, a class with
    the attributes of one (`model()` and `loss()` at least), or a `Task` itself. It is looked up in `folder` first, then
    among installed packages; without a folder only among these. While the module is imported and the factory runs,
    `folder` stands first in `sys.path`; what a module imports later must be installed.
    """
    if name in TASKS:
        return _made(name, TASKS[name], options)
    module_name, colon, attribute = name.partition(":")
    parts = [*module_name.split("."), attribute]
    if not colon or not all(part.isidentifier() for part in parts):
        raise TaskError(f"task {name!r} is unknown; give one of {', '.join(TASKS)}, or package.module:factory")
    with _first_in_path(module_name, folder):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise TaskError(f"task {name!r}: its module needs {error.name!r}, which is not installed") from error
            where = "among installed packages" if folder is None else f"in {folder} or among installed packages"
            raise TaskError(f"task {name!r}: there is no module {module_name} {where}; mend the name") from error
        except SyntaxError as error:
            raise TaskError(f"task {name!r}: {error.filename}, line {error.lineno}: {error.msg}") from error
        factory = getattr(module, attribute, None)
        if factory is None:
            raise TaskError(f"task {name!r}: {module_name} has no {attribute}; mend the name")
        if isinstance(factory, Task) and not options:
            return factory
        if not callable(factory):
            raise TaskError(
                f"task {name!r} is {type(factory).__name__}; give a Task, a function that returns one, or a class "
                + ("" if not isinstance(factory, Task) else "(a Task made already takes no options)")
            )
        return _made(name, factory, options)


def _made(name: str, factory: Callable[..., Any], options: Mapping[str, object]) -> Task:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        takes = ", ".join(inspect.signature(factory).parameters) or "none"
        raise TaskError(f"task {name}: {error}; its options are: {takes}") from error
    made = factory(**options)
    return made if isinstance(made, Task) else _adapted(name, made)


def _adapted(name: str, made: object) -> Task:
    """A `Task` from an object with the same attributes."""
    missing = [attribute for attribute in ("model", "loss") if not callable(getattr(made, attribute, None))]
    if missing:
        raise TaskError(
            f"task {name} gives {type(made).__name__} without {' and '.join(f'{m}()' for m in missing)}; "
            "return a tacit.Task, or give the class model() and loss(outputs, targets)"
        )
    fields: dict[str, Any] = {"name": name} | {
        attribute: getattr(made, attribute) for attribute in ("model", "loss", *_OPTIONAL) if hasattr(made, attribute)
    }
    return Task(**fields)


@contextmanager
def _first_in_path(module_name: str, folder: Path | None) -> Iterator[None]:
    """`folder` first among the places of import; refuses a name that already means a module from elsewhere."""
    if folder is None:
        yield
        return
    place = str(folder.resolve())
    importlib.invalidate_caches()  # the file may be younger than the last look into the folder
    top = module_name.split(".")[0]
    spec = PathFinder.find_spec(top, [place])
    loaded = sys.modules.get(top)
    if spec is not None and spec.origin is not None and loaded is not None:
        origin = getattr(loaded, "__file__", None)
        if origin is None or Path(origin).resolve() != Path(spec.origin).resolve():
            raise TaskError(
                f"module {top} is {spec.origin}, but {origin or 'a built-in module'} is already loaded under that name; "
                "rename the file beside the configuration"
            )
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
