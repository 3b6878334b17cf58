"""Topics: windows cover the text in order, the alphabet is fixed, topics are the natural owners."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.tasks.examples import DataError
from tacit.tasks.task import TaskError
from tacit.tasks.topics import ALPHABET, SYMBOLS, UNKNOWN, encoded, topics, windows


@given(st.text(max_size=60), st.integers(1, 9))
def test_windows_are_the_text_and_what_follows(text: str, context: int) -> None:
    before, after = windows(text, context)
    assert before.shape == after.shape == (max(len(text) - 1, 0) // context, context)
    symbols = encoded(text)
    assert torch.equal(before.flatten(), symbols[: before.numel()])
    assert torch.equal(after.flatten(), symbols[1 : after.numel() + 1])


def test_the_alphabet_is_96_symbols_and_one_for_all_others() -> None:
    assert len(set(ALPHABET)) == 96
    assert SYMBOLS == 97
    assert encoded("aé\n").tolist() == [ALPHABET.index("a"), UNKNOWN, ALPHABET.index("\n")]


def test_most_of_the_text_is_in_the_alphabet() -> None:
    assert (topics().training().inputs == UNKNOWN).float().mean() < 0.01


def test_topics_are_the_owners_and_none_is_on_both_sides() -> None:
    task = topics()
    groups = task.training().groups
    assert groups is not None
    count = len(groups.unique())
    assert count > 40
    shares = task.shares(count, seed=3)
    assert all(len(groups[torch.from_numpy(share)].unique()) == 1 for share in shares)
    train, test = (
        {tuple(row.tolist()) for row in half.inputs[:: 7 if half is task.training() else 1]}
        for half in (task.training(), task.testing())
    )
    assert len(train & test) < 0.02 * len(test)  # windows of dashes and spaces occur everywhere


def test_an_owners_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("Sehr geehrte Frau\n" * 5, encoding="utf-8")
    examples = topics(context=8).load(f"text:{tmp_path / 'letters.txt'}")
    assert tuple(examples.inputs.shape) == ((18 * 5 - 1) // 8, 8)


def test_bad_texts_and_options_are_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("x" * 32)
    with pytest.raises(DataError, match="fewer than 33 characters"):
        topics().load(f"text:{tmp_path / 'short.txt'}")
    (tmp_path / "latin.txt").write_bytes(b"\xe9" * 99)
    with pytest.raises(DataError, match="UTF-8"):
        topics().load(f"text:{tmp_path / 'latin.txt'}")
    with pytest.raises(DataError, match="UTF-8"):
        topics().load(f"text:{tmp_path / 'absent.txt'}")
    with pytest.raises(DataError, match="reads text and population, not csv"):
        topics().load("csv:x.csv")
    for context in (0, 2000, 1.5, True):
        with pytest.raises(TaskError, match="context"):
            topics(context=context)
    with pytest.raises(TaskError, match="lstm, transformer"):
        topics(model="gru")
