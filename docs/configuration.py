"""Writes docs/configuration.md from the schema: the frames of the file, and the tables that its rows choose from.

    python docs/configuration.py            (or `make docs`)

Everything on that page is read off the classes that a configuration is checked by, so it cannot disagree with them.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from tacit.commands.starters import STARTERS
from tacit.config import Config, Frame, Seconds, TaskFrame
from tacit.privacy.participation import PARTICIPATIONS
from tacit.privacy.stages.table import STAGES
from tacit.strategies.algorithms import ALGORITHMS
from tacit.strategies.solvers import SOLVERS
from tacit.tasks.catalogue import TASKS
from tacit.tasks.partition import PARTITIONS

PAGE = Path(__file__).with_name("configuration.md")

HEAD = """\
# The configuration file

<!-- Written by docs/configuration.py (`make docs`); a test compares this page with the schema. Do not edit by hand. -->

One TOML file describes a federation: what is learned, by whom, how often, and under which privacy. `tacit plan`,
`tacit simulate` and the Python functions read the same file. Unknown keys are refused everywhere, with the nearest known
one as a hint.

- `tacit init DIR` writes a commented file to start from; its text for digits stands [at the end](#a-whole-file).
- `--set rounds.total=80` on the command line, `set={"rounds.total": 80}` in Python, changes one key. A number in a key is an
  index into a list: `--set privacy.pipeline.0.norm=0.5`.
- A **row** is a table that names what it wants and gives its fields: `{ use = "dirichlet", alpha = 0.3 }`. Its names and
  fields are listed under [Rows](#rows).
- A duration is a number of seconds or a text such as `"60s"`, `"5m"`, `"2h"`, `"250ms"`.
- `privacy.delta` is a number or a power of the number of protected units, `"N^-1.1"`; δ ≥ 1/N is refused.
- `noise_multiplier = "calibrate"`, in one place, is solved: the least noise whose ε over all rounds stays within
  `budget.epsilon`. No ε of a mechanism is ever typed in; `budget.epsilon = inf` says in so many words that a run is not
  private.
"""

ROWS: tuple[tuple[str, str, str, str, Mapping[str, type[Any]]], ...] = (
    ("Stages", "privacy.pipeline", "stage", "What happens to an update on its way, in order.", STAGES),
    ("Solvers", "local", "use", "What an owner does with its data in a round.", SOLVERS),
    ("Algorithms", "strategy", "use", "What the server makes of the owners' mean update.", ALGORITHMS),
    ("Participations", "rounds.participation", "use", "Who takes part in a round.", PARTICIPATIONS),
    (
        "Partitions",
        "population.partition",
        "use",
        "How a task's training data is dealt to simulated owners.",
        PARTITIONS,
    ),
)


def page() -> str:
    """The whole of docs/configuration.md."""
    parts = [HEAD, "## Frames\n"]
    parts += [_section(name, field) for name, field in Config.model_fields.items() if _frame(field) is not None]
    parts.append(_top())
    parts.append("## Rows\n")
    parts += [_table(*row) for row in ROWS]
    parts.append(_tasks())
    parts.append(f"## A whole file\n\nAs `tacit init` writes it:\n\n```toml\n{STARTERS['digits'].strip()}\n```\n")
    return "\n".join(parts)


def _frame(field: FieldInfo) -> type[Frame] | None:
    kind = field.annotation
    return kind if inspect.isclass(kind) and issubclass(kind, Frame) else None


def _section(name: str, field: FieldInfo) -> str:
    frame = _frame(field)
    if frame is None:
        raise TypeError(f"{name} is no frame")
    rows = [
        (f"`{key}`", _kind(each.annotation, each) + _range(each), _default(each), each.description or "")
        for key, each in frame.model_fields.items()
    ]
    if frame is TaskFrame:
        rows.append(("others", "", "", "options of the task, see [Tasks](#tasks)"))
    needed = "" if not field.is_required() else " Required."
    return f"### `[{name}]`\n\n{_prose(frame)}{needed}\n\n{_grid(('key', 'type', 'default', 'meaning'), rows)}"


def _top() -> str:
    rows = [
        (f"`{key}`", _kind(field.annotation, field), _default(field), field.description or "")
        for key, field in Config.model_fields.items()
        if _frame(field) is None
    ]
    head = "### At the top of the file\n\n`local` and `strategy` are rows, usually written as `[local]` and `[strategy]`.\n\n"
    return head + _grid(("key", "type", "default", "meaning"), rows)


def _table(title: str, key: str, tag: str, what: str, table: Mapping[str, type[Any]]) -> str:
    parts = [f'### {title}\n\n`{key}`, chosen by `{tag} = "…"`. {what}\n']
    for name, kind in table.items():
        parts.append(f'#### `{tag} = "{name}"`\n\n{_prose(kind)}\n')
        hints = get_type_hints(kind, include_extras=True)
        fields = [each for each in dataclasses.fields(kind) if each.init]
        rows = [(f"`{each.name}`", _kind(hints[each.name]), _field_default(each)) for each in fields]
        parts.append(_grid(("key", "type", "default"), rows) if rows else "No keys.\n")
    return "\n".join(parts)


def _tasks() -> str:
    parts = [
        "### Tasks\n\n`task.use`; the other keys of `[task]` are its options. A task of your own is "
        '`"package.module:factory"`, looked up in the file\'s folder first: see '
        "[architecture.md](architecture.md#add-a-task).\n"
    ]
    for name, factory in TASKS.items():
        parts.append(f'#### `use = "{name}"`\n\n{_prose(factory)}\n')
        hints = get_type_hints(factory)
        rows = [
            (f"`{key}`", _kind(hints[key]), "required" if each.default is each.empty else f"`{_toml(each.default)}`")
            for key, each in inspect.signature(factory).parameters.items()
        ]
        parts.append(_grid(("key", "type", "default"), rows))
    return "\n".join(parts)


def _prose(of: type[Any] | Callable[..., Any]) -> str:
    return inspect.cleandoc(of.__doc__ or "").strip()


def _grid(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"{line}\n" for line in _lines(head, rows))


def _lines(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _kind(hint: Any, field: FieldInfo | None = None) -> str:
    """A type in words: what may stand to the right of the equals sign."""
    if hint is Seconds or (field is not None and field.annotation is float and _is_duration(field)):
        return "duration"
    if get_origin(hint) is Annotated:
        return _kind(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Literal:
        return " or ".join(f'`"{each}"`' for each in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_kind(get_args(hint)[0])}s"
    if get_origin(hint) is dict:
        return "row"
    return {float: "number", int: "whole number", str: "text", bool: "true or false"}[hint]


def _range(field: FieldInfo) -> str:
    """The bounds that the schema sets: `, above 0 and up to 1`."""
    words = {Gt: "above", Ge: "at least", Le: "up to", Lt: "below"}
    bounds = [
        f"{word} {getattr(each, kind.__name__.lower()):g}"
        for kind, word in words.items()
        for each in field.metadata
        if isinstance(each, kind)
    ]
    return f", {' and '.join(bounds)}" if bounds else ""


def _is_duration(field: FieldInfo) -> bool:
    return set(get_args(Seconds)[1:]) & set(field.metadata) != set()


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _shown(field.default)


def _field_default(field: dataclasses.Field[Any]) -> str:
    return "required" if field.default is dataclasses.MISSING else _shown(field.default)


def _shown(value: Any) -> str:
    return "–" if value is None or value == "" else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return f"{value:g}" if isinstance(value, float) else json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
