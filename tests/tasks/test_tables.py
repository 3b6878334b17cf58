"""Tables: what is written is what is read; a bad cell is named by file, row and column and its value is not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.examples import DataError, Examples
from tacit.tasks.tables import read_csv, read_npz, readers

ROWS = st.lists(
    st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(-(2**40), 2**40)),
    min_size=1,
    max_size=8,
)


def written(folder: Path, text: str) -> Path:
    path = folder / "ward.csv"
    path.write_text(text, encoding="utf-8")
    return path


@given(rows=ROWS)
def test_a_table_is_read_as_written(rows: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tables")
    inputs, targets = np.array([[x, 1.0] for x, _ in rows], dtype=np.float32), np.array([y for _, y in rows])
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "target", "b"], *([repr(float(x)), y, 1] for x, y in rows)])
    np.savez(folder / "t.npz", inputs=inputs, targets=targets)
    for examples in (read_csv(folder / "t.csv"), read_npz(folder / "t.npz")):
        assert np.array_equal(examples.inputs.numpy(), inputs)
        assert np.array_equal(examples.targets.numpy(), targets)
        assert examples.targets.dtype == torch.int64


def test_columns_are_found_by_name_in_any_order_among_others(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffb, note, target, a\n2,9,1,1\n\n4,9,0,3\n")
    examples = read_csv(path, columns=["a", "b"])
    assert examples.inputs.tolist() == [[1, 2], [3, 4]]
    assert examples.targets.tolist() == [1, 0]


def test_the_last_column_is_the_target_where_none_is_called_so(tmp_path: Path) -> None:
    examples = read_csv(written(tmp_path, "a,b\n1.5,2\n"))
    assert (examples.inputs.tolist(), examples.targets.tolist()) == ([[1.5]], [2])


def test_a_regression_target_is_a_real_number(tmp_path: Path) -> None:
    path = written(tmp_path, "a,target\n1,2\n1,2.5\n")
    examples = read_csv(path, targets=torch.float32)
    assert examples.targets.dtype == torch.float32
    assert examples.targets.tolist() == [2.0, 2.5]
    with pytest.raises(DataError, match=r"example 1 .* not a class number.*float32"):
        read_csv(path)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [("", "empty"), ("  ", "empty"), ("nan", "not finite"), ("-inf", "not finite"), ("4711x", "not a number")],
)
def test_a_bad_cell_is_named_and_not_shown(tmp_path: Path, cell: str, kind: str) -> None:
    path = written(tmp_path, f"age,target\n1,0\n{cell},1\n")
    with pytest.raises(DataError) as refusal:
        read_csv(path)
    message = str(refusal.value)
    assert f"{path}: row 3, column 'age' is {kind}" in message
    assert "remove the row" in message
    assert "4711" not in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "0 columns"),
        ("a\n1\n", "1 columns"),
        ("a,target\n", "no rows below the header"),
        ("1,2\n3,4\n", "the first row holds numbers"),
        ("a,a,target\n1,2,3\n", "'a' appear twice"),
        ("a,target\n1\n", "row 2 has 1 cells, the header 2"),
        ("a,target\n1,2,3\n", "row 2 has 3 cells"),
        ("a,target\n1_0,2\n", "row 2, column 'a' is not a number"),
        ("a,target\n1e39,2\n", "column 'a' is beyond float32"),
        ("a,target\n1,0.5\n", "not a class number"),
        ("a,target\n1,1e30\n", "not a class number"),
        ('a,target\n"1,2\n', "cannot be read (Error)"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataError) as refusal:
        read_csv(written(tmp_path, text))
    assert complaint in str(refusal.value)
    assert "ward.csv" in str(refusal.value)


def test_missing_columns_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'c', 'd', 'e' and 1 more; this task needs 6 columns"):
        read_csv(written(tmp_path, "a,b,target\n1,2,0\n"), columns=list("abcdef"))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for read in (read_csv, read_npz):
        with pytest.raises(DataError, match="No such file"):
            read(tmp_path / "absent")
        with pytest.raises(DataError, match="Is a directory"):
            read(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"\xe9,target\n1,2\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(tmp_path / "latin.csv")


def test_an_archive_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", inputs=np.array([print], dtype=object), targets=np.array([0]), allow_pickle=True)
    with pytest.raises(DataError, match="not pickled objects"):
        read_npz(tmp_path / "o.npz")
    np.save(tmp_path / "single.npy", np.ones(3))
    with pytest.raises(DataError, match="not a NumPy archive"):
        read_npz(tmp_path / "single.npy")


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.ones(2)}, "no array inputs or targets, found x"),
        ({"inputs": np.ones(2)}, "no array targets"),
        ({"inputs": np.array(["a"]), "targets": np.ones(1)}, "give numbers"),
        ({"inputs": np.ones((0, 3)), "targets": np.ones(0)}, "at least one"),
        ({"inputs": np.array(1.0), "targets": np.ones(1)}, "one row per example"),
        ({"inputs": np.ones((2, 1)), "targets": np.ones(3)}, "2 inputs but 3 targets"),
        ({"inputs": np.array([[1.0], [np.nan]]), "targets": np.ones(2)}, "inputs, example 1, column [0]"),
        ({"inputs": np.array([[1.0], [1e39]]), "targets": np.ones(2)}, "inputs, example 1, column [0]"),
        ({"inputs": np.ones((2, 1)), "targets": np.array([0, np.nan])}, "example 1 (counted from 0) is not a class"),
    ],
)
def test_a_bad_archive_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], complaint: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError) as refusal:
        read_npz(path)
    assert complaint in str(refusal.value)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    np.savez(path, inputs=np.random.default_rng(0).random((50, 4)), targets=np.zeros(50))
    whole = bytearray(path.read_bytes())
    whole[200:260] = bytes(60)
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"cut\.npz: cannot be read"):
        read_npz(path)


def test_readers_prepare_and_check_what_they_read(tmp_path: Path) -> None:
    table = readers(["b", "a"], prepare=lambda raw: Examples(raw.inputs.log(), raw.targets))
    path = written(tmp_path, "a,b,target\n1,1,0\n")
    assert table["csv"](path).inputs.tolist() == [[0.0, 0.0]]
    with pytest.raises(DataError, match=r"ward\.csv: inputs, example 0, column \[1\]"):
        table["csv"](written(tmp_path, "a,b,target\n0,1,0\n"))
