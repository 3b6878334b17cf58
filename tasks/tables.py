"""Tables: an owner's CSV and NPZ files, read into examples or refused with the row and the column."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from .examples import DataError, Examples, validated

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reader: TypeAlias = Callable[[Path], Examples]

TARGET = "target"


def readers(
    columns: Sequence[str] | None = None,
    targets: torch.dtype = torch.int64,
    prepare: Callable[[Examples], Examples] | None = None,
) -> Mapping[str, Reader]:
    """The readers of a task on tables, by scheme: `csv` and `npz`, each followed by `prepare` (raw inputs to inputs).

    `columns` are the CSV columns in the order that the model expects; `targets` is int64 for classes, float32 for
    regression.
    """
    table: dict[str, Reader] = {
        "csv": partial(read_csv, columns=columns, targets=targets),
        "npz": partial(read_npz, targets=targets),
    }
    return table if prepare is None else {scheme: partial(_then, read, prepare) for scheme, read in table.items()}


def _then(read: Reader, prepare: Callable[[Examples], Examples], path: Path) -> Examples:
    return validated(prepare(read(path)), str(path))


def read_csv(path: Path, *, columns: Sequence[str] | None = None, targets: torch.dtype = torch.int64) -> Examples:
    """A comma-separated table with a header row: inputs float32 `[N, F]`, targets `[N]`.

    The target is the column `target`, or else the last. Inputs are the other columns, in the order of `columns` where
    that is given (the header may order them otherwise and hold more). Every cell is a finite number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(rows, [])]
            chosen, target = _columns(path, header, columns)
            values, labels = _cells(path, rows, header, chosen, target)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error, "a UTF-8 file of comma-separated numbers with a header row") from error
    if not values:
        raise DataError(f"{path}: no rows below the header; give at least one example")
    inputs = np.array(values, dtype=np.float64)
    return _examples(path, inputs, np.array(labels, dtype=np.float64), targets, [header[c] for c in chosen])


def read_npz(path: Path, *, targets: torch.dtype = torch.int64) -> Examples:
    """A NumPy archive with the arrays `inputs` `[N, …]` and `targets` `[N, …]`; pickled objects are refused."""
    try:
        # A file with any other beginning would be taken for a pickle and refused in those words.
        if not zipfile.is_zipfile(path):
            path.open("rb").close()
            raise DataError(f"{path}: not a NumPy archive; write it with numpy.savez(path, inputs=…, targets=…)")
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ("inputs", "targets") if name not in archive]
            if missing:
                raise DataError(
                    f"{path}: no array {' or '.join(missing)}, found {', '.join(archive) or 'none'}; "
                    "write numpy.savez(path, inputs=…, targets=…)"
                )
            inputs, labels = archive["inputs"], archive["targets"]
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error, "a NumPy archive written with numpy.savez") from error
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise _unreadable(path, error, "numeric arrays, not pickled objects") from error
    for name, array in (("inputs", inputs), ("targets", labels)):
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {name} hold {array.dtype}; give numbers (encode text and categories first)")
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"{path}: {name} have shape {array.shape}; give one row per example, at least one")
    return _examples(path, inputs, labels, targets, None)


def _columns(path: Path, header: list[str], wanted: Sequence[str] | None) -> tuple[list[int], int]:
    """Positions of the inputs and of the target in `header`."""
    if len(header) < 2:
        raise DataError(f"{path}: {len(header)} columns; give a header row with at least one input and a target")
    if all(_is_number(cell) for cell in header):
        raise DataError(f"{path}: the first row holds numbers; put the column names there")
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise DataError(f"{path}: the columns {', '.join(map(repr, twice))} appear twice; give each column once")
    target = header.index(TARGET) if TARGET in header else len(header) - 1
    if wanted is None:
        return [column for column in range(len(header)) if column != target], target
    missing = [name for name in wanted if name not in header]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise DataError(
            f"{path}: no column {shown}; this task needs {len(wanted)} columns, in any order, and `{TARGET}`"
        )
    return [header.index(name) for name in wanted], target


def _cells(
    path: Path, rows: Iterable[list[str]], header: list[str], chosen: list[int], target: int
) -> tuple[list[list[float]], list[float]]:
    values: list[list[float]] = []
    labels: list[float] = []
    for number, row in enumerate(rows, start=2):  # as an editor counts: the header is row 1
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} cells, the header {len(header)}; mend the row")
        values.append([_cell(path, row[column], number, header[column]) for column in chosen])
        labels.append(_cell(path, row[target], number, header[target]))
    return values, labels


def _cell(path: Path, text: str, row: int, column: str) -> float:
    if _is_number(text):
        value = float(text)
        if np.isfinite(value):
            return value
    # What stands there may be private; what kind of thing it is suffices to find it.
    found = "not finite" if _is_number(text) else "empty" if not text.strip() else "not a number"
    raise DataError(
        f"{path}: row {row}, column {column!r} is {found}; remove the row or fill it with a value fixed beforehand"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000 as a number; no other program does


def _examples(
    path: Path,
    inputs: NDArray[np.generic],
    labels: NDArray[np.generic],
    targets: torch.dtype,
    names: Sequence[str] | None,
) -> Examples:
    """Float32 inputs and targets of the wanted kind, all finite."""
    if targets == torch.int64:
        numbers = labels.astype(np.float64)
        whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
        if not whole.all():
            example = int(np.argwhere(~whole)[0][0])
            raise DataError(
                f"{path}: the target of example {example} (counted from 0) is not a class number; number the classes "
                "from 0, or declare a regression task with readers(targets=torch.float32)"
            )
        answer: NDArray[np.generic] = numbers.astype(np.int64)
    else:
        answer = labels
    # Beyond 3.4e38 a finite number becomes infinite in float32: `validated` refuses it, without NumPy's warning.
    with np.errstate(over="ignore"):
        narrow = inputs.astype(np.float32)
        bad = np.argwhere(~np.isfinite(narrow))
        if len(bad) and names is not None:
            raise DataError(
                f"{path}: example {bad[0][0]} (counted from 0), column {names[bad[0][1]]!r} is beyond float32; rescale it"
            )
        return validated(
            Examples.of(narrow, answer if targets == torch.int64 else answer.astype(np.float32)), str(path)
        )


def _unreadable(path: Path, error: Exception, want: str) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DataError(f"{path}: cannot be read ({reason}); give {want}")
