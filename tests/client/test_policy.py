"""Policy: whatever decides privacy is said, and nothing else can be said."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from tacit.client.policy import PolicyFrame, StageName
from tacit.config import ConfigError, framed
from tacit.privacy.stages.table import STAGES

ROW: dict[str, Any] = {
    "tasks": [{"use": "digits"}], "unit": "owner", "relation": "zero-out", "colluders": 0, "smallest_cohort": 5,
    "epsilon": 4.0, "delta": 1e-5,
}  # fmt: skip


def policy(**changes: Any) -> PolicyFrame:
    return framed(PolicyFrame, {**ROW, **changes})


def test_a_policy_of_the_least_that_must_be_said_budgets_for_the_server() -> None:
    found = policy()
    assert (found.observer, found.run_limit, found.approve_first, found.concurrency) == ("server", 4.0, False, None)
    assert str(found.currency.observer) == "server"
    assert policy(epsilon_run=1.0).run_limit == 1.0


@pytest.mark.parametrize("key", ROW)
def test_nothing_that_decides_privacy_has_a_default(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: missing; give it a value"):
        framed(PolicyFrame, {name: value for name, value in ROW.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilom": 4.0}, "epsilom = 4.0: unknown key; did you mean 'epsilon'"),
        ({"work": {"epoch": 3}}, "work.epoch = 3: unknown key; did you mean 'epochs'"),
        ({"tasks": [{"use": "digits", "option": {}}]}, "tasks.0.option = {}: unknown key; did you mean 'options'"),
        ({"tasks": []}, "tasks = []"),
        ({"tasks": [{"use": "digits"}, {"use": "digits"}]}, "lists 'digits' twice"),
        ({"tasks": [{"use": "my.module:Task"}]}, "needs sha256"),
        ({"tasks": [{"use": "my.module:Task", "sha256": "abc"}]}, "sha256 = 'abc'"),
        ({"tasks": [{"use": "digits", "sha256": "0" * 64}]}, "leave sha256 out"),
        ({"tasks": [{"use": "digits", "options": {"x": {1, 2}}}]}, "options are texts"),
        ({"tasks": [{"use": "digits", "options": {"use": "topics"}}]}, "called `use`"),
        ({"unit": "patient"}, "unit = 'patient'"),
        ({"relation": "add"}, "relation = 'add'"),
        ({"observer": "nobody"}, "observer = 'nobody'"),
        ({"epsilon": 0.0}, "epsilon = 0.0"),
        ({"epsilon": "4"}, "epsilon = '4': give a number"),
        ({"epsilon": True}, "give a number"),
        ({"epsilon": float("nan")}, "give a number"),
        ({"epsilon_run": 5.0}, "epsilon_run = 5 is above epsilon = 4"),
        ({"delta": 1.0}, "delta = 1.0"),
        ({"delta": 0.0}, "delta = 0.0"),
        ({"smallest_cohort": 3, "colluders": 3}, "leaves nobody honest"),
        ({"colluders": -1}, "colluders = -1"),
        ({"stages": ["clop"]}, "stages.0 = 'clop'"),
        ({"hours": ["at night"]}, "names no hours"),
        ({"concurrency": 0}, "concurrency = 0"),
        ({"work": {"attempts": 0}}, "work.attempts = 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_key_and_value(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(**changes)
    assert words in str(caught.value)


def test_a_policy_without_privacy_is_said_in_so_many_words() -> None:
    assert policy(epsilon=float("inf")).run_limit == float("inf")


def test_stages_are_called_as_in_the_table() -> None:
    assert set(get_args(StageName)) == set(STAGES)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        policy().epsilon = 9.0  # type: ignore[misc]  # the point
