"""Faults: foreseen errors keep their words, unforeseen ones leave their traceback."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tacit.commands.ending import Ending
from tacit.commands.faults import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    USAGE,
    StoppedError,
    Traced,
    UnexpectedError,
    code_of,
    fault_of,
)
from tacit.config import ConfigError
from tacit.privacy.ledger.memory import BudgetError
from tacit.strategies.federation import OverBudgetError


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("x"), USAGE), (OverBudgetError("x"), REFUSED), (BudgetError("x"), REFUSED), (OSError("x"), FAILED),
     (FileNotFoundError("x"), FAILED), (MemoryError(), FAILED), (StoppedError("x"), INTERRUPTED), (KeyError("x"), None),
     (ValueError("x"), None)],
)  # fmt: skip
def test_codes_follow_the_class(error: Exception, code: int | None) -> None:
    assert code_of(error) == code


def test_a_full_disk_says_where_and_what_to_do() -> None:
    message = fault_of(OSError(errno.ENOSPC, "No space left on device", "/data/x")).message
    assert message == "/data/x: No space left on device; free some space or choose another place"


def test_an_unforeseen_error_leaves_its_traceback_where_it_was_told_to(tmp_path: Path) -> None:
    with pytest.raises(UnexpectedError) as caught, Traced(tmp_path):
        raise KeyError("the cause")
    assert "fault of Tacit" in str(caught.value)
    path = caught.value.path
    assert path is not None
    assert path.parent == tmp_path
    assert "KeyError: 'the cause'" in path.read_text()
    assert isinstance(caught.value.__cause__, KeyError)


def test_without_a_folder_the_traceback_goes_to_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(UnexpectedError) as caught, Traced(tmp_path / "never made"):
        raise ZeroDivisionError
    assert caught.value.path is not None
    assert caught.value.path.parent == tmp_path


@pytest.mark.parametrize("error", [ConfigError("known"), KeyboardInterrupt(), SystemExit(3)])
def test_foreseen_errors_and_interruptions_pass_untouched(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), Traced(tmp_path):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_fault_is_one_screen_however_much_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    ending = Ending(as_json=False)
    with ending:
        raise ConfigError("\n".join(f"key{number} = 0: wrong" for number in range(100)))
    shown = capsys.readouterr().err.splitlines()
    assert ending.code == USAGE
    assert len(shown) < 20
    assert "88 more" in shown[-1]


def test_text_of_errors_is_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with Ending(as_json=False):
        raise ConfigError("[task] is missing [/red]")
    assert "[task] is missing [/red]" in capsys.readouterr().err


def test_what_nobody_foresaw_goes_through_an_ending() -> None:
    with pytest.raises(KeyError), Ending(as_json=False):
        raise KeyError
