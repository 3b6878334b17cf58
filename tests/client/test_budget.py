"""Budget: what the file permits counts as far as the ledger agrees; nobody raises it by editing the file."""

from __future__ import annotations

import contextlib
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.client.budget import FILE, allow, more_than_allowed, settle
from tacit.client.life import Life
from tacit.client.policy import PolicyFrame
from tacit.config import ConfigError, framed
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.account import Account
from tacit.privacy.ledger.allowance import Limit
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Price, Reserved
from tacit.privacy.ledger.errors import AllowanceError
from tacit.privacy.ledger.store import Store

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def policy(**changes: Any) -> PolicyFrame:
    row = {"tasks": [{"use": "digits"}], "unit": "owner", "relation": "zero-out", "colluders": 0, "smallest_cohort": 1,
           "epsilon": 4.0, "delta": 1e-5}  # fmt: skip
    return framed(PolicyFrame, {**row, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create(tmp_path / "ward3.sqlite", "ward3", key=KEY, anchor=tmp_path / "a")
    return tmp_path / "ward3.sqlite"


def opened(path: Path) -> Store:
    return Store(path, "ward3", key=KEY, anchor=path.parent / "a")


def standing(store: Store) -> float:
    found = store.spent().standing()
    assert found is not None
    limit = found.allowed.limit("asset")
    assert limit is not None
    return limit.epsilon


def test_the_first_start_notes_the_file_and_the_next_one_nothing(path: Path) -> None:
    for _ in range(2):
        with opened(path) as store:
            settle(store, policy(epsilon_run=2.0, epsilon_server=3.0), lambda: 5.0)
            assert store.head[0] == 1
    with opened(path) as store:
        found = store.spent().standing()
        assert found is not None
        assert found.allowed.limits == (
            Limit("asset", 4.0, "filter"),
            Limit("run", 2.0, "quota"),
            Limit("server", 3.0, "filter"),
        )
        assert (found.allowed.by, found.allowed.delta, found.allowed.time) == (FILE, 1e-5, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": 8.0}, "ε of the asset's life 4 → 8"),
        ({"epsilon": math.inf}, "4 → inf"),
        ({"epsilon_run": 3.0}, "ε of one run 2 → 3"),
        ({"epsilon_server": 4.0}, "ε of one server 3 → 4"),
        ({"epsilon_server": None}, "ε of one server 3 → inf"),
        ({"delta": 1e-4}, "δ"),
        ({"unit": "example", "relation": "add-remove"}, "become ones for example"),
        ({"colluders": 1, "smallest_cohort": 2}, "colluding"),
    ],
)
def test_a_file_that_permits_more_is_refused_and_the_command_is_named(
    path: Path, changes: dict[str, Any], words: str
) -> None:
    before = {"epsilon_run": 2.0, "epsilon_server": 3.0}
    with opened(path) as store:
        settle(store, policy(**before), lambda: 0.0)
        head = store.head
        with pytest.raises(AllowanceError, match="tacit ledger allow ward3") as caught:
            settle(store, policy(**{**before, **changes}), lambda: 0.0)
        assert words in str(caught.value)
        assert store.head == head


def test_a_lower_limit_is_noted_and_the_way_back_up_needs_somebody(path: Path) -> None:
    with opened(path) as store:
        settle(store, policy(), lambda: 0.0)
        settle(store, policy(epsilon=1.0), lambda: 1.0)
        assert standing(store) == 1.0
        with pytest.raises(AllowanceError, match="1 → 4"):
            settle(store, policy(), lambda: 2.0)
        assert more_than_allowed(store, policy()) == ("ε of the asset's life 1 → 4", "ε of one run 1 → 4")
        allow(store, policy(), "ada", lambda: 3.0)
        settle(store, policy(), lambda: 4.0)
        history = store.spent().history()
        assert [(each.allowed.by, each.allowed.replaces) for each in history] == [(FILE, None), (FILE, 1), ("ada", 2)]
        assert store.head[0] == 3
        assert more_than_allowed(store, policy()) == ()
        allow(store, policy(), "ada", lambda: 5.0)
        assert store.head[0] == 3


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0, math.inf]), min_size=1, max_size=6))
def test_without_somebody_s_word_the_least_of_all_files_stands(files: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "x"
        create(place, "ward3")
        with Store(place, "ward3") as store:
            for epsilon in files:
                with contextlib.suppress(AllowanceError):
                    settle(store, policy(epsilon=epsilon), lambda: 0.0)
            assert standing(store) == min(files)


def test_a_server_s_share_cannot_be_more_than_the_whole() -> None:
    with pytest.raises(ConfigError, match="epsilon_server = 5"):
        policy(epsilon_server=5.0)


def test_each_server_has_its_own_budget_beside_that_of_the_life() -> None:
    """What one server was charged leaves another one's budget alone, and both count for the life."""
    frame, event, account = policy(epsilon=3.3, epsilon_server=2.0), Gaussian(6.0), Account()
    counts = {"a": 0, "b": 0, "c": 0}
    number = 0
    for server in counts:
        while Life(frame, account, event).affords(event, 1, 0.0) and Life(frame, account, event, server).affords(
            event, 1, 0.0
        ):
            number += 1
            price = Price(frame.currency, event)
            account.take(number, Reserved(Address(server, number, 0), "0" * 64, price, 0, server))
            counts[server] += 1
    alone = counts["a"]
    assert alone > 0
    assert counts["b"] == alone
    assert counts["c"] < alone  # the life is used up first
    assert not Life(frame, account, event).affords(event, 1, 0.0)
    assert account.servers == ("a", "b", "c")
    assert sum(account.events(frame.currency).values()) == sum(counts.values())
    assert sum(account.events(frame.currency, server="b").values()) == alone
