"""Attest: the statement says what the ledger says, is asked for free, and a seeded owner gives none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.attest import Attest, no_statement
from tacit.client.recipes import Recipes
from tacit.client.refusal import RefusedError
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.certificate import Signed, Statement, hidden, statement_in
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.currency import Currency
from tacit.privacy.ledger.entry import Address, Price
from tacit.privacy.ledger.store import Store
from tacit.privacy.recomputation import recompute
from tacit.strategies.messages import Recipe
from tacit.strategies.terms import Terms

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, (), 5, 10, TERMS)


class Owner:
    """An owner with one asset, and what it was charged."""

    def __init__(self, folder: Path) -> None:
        create(folder / "ward.sqlite", "ward", lambda: 0, KEY)
        self.store = Store(folder / "ward.sqlite", "ward", lambda: 0, key=KEY)
        self.recipes = Recipes(folder / "recipes")

    def attest(self, seeded: bool = False, roster: Any = lambda: "e" * 64) -> Attest:
        return Attest(3, self.store, self.recipes, 1e-5, roster, lambda: 7.0, seeded, KEY)

    def charge(
        self, run: str, round: int, observer: str = "server", adversary: Any = "honest", noise: float = 9.0
    ) -> None:
        self.recipes.note(run, RECIPE)
        currency = Currency("owner", "zero-out", Observer(observer))  # type: ignore[arg-type]  # one of Who
        price = Price(currency, Gaussian(noise), 1e-15, adversary)
        self.store.reserve(Address(run, round, 0), "a" * 64, lambda _: price)


@pytest.fixture
def owner(tmp_path: Path) -> Any:
    made = Owner(tmp_path)
    yield made
    made.store.close()


def statement(text: bytes) -> Statement:
    return statement_in(Signed(**json.loads(text)), KEY.public_key().public_bytes_raw())


def test_it_says_what_the_ledger_says(owner: Any) -> None:
    for round, noise in ((1, 9.0), (2, 9.0), (3, 8.0)):
        owner.charge("run", round, noise=noise)
        owner.charge("other", round)
    found = statement(owner.attest()("run"))
    assert found.cost.events == ((Gaussian(8.0), 1), (Gaussian(9.0), 2))
    assert (found.run, found.number, found.lines, found.roster, found.time) == ("run", 3, (1, 5), "e" * 64, 7)
    assert (found.head.number, found.head.digest) == (6, owner.store.head[1].hex())
    assert found.asset == hidden("ward", owner.store.heading.identity)
    assert (found.recipes, found.codes) == ((RECIPE.digest(),), ("tacit 0.1.0",))
    assert recompute(found.cost).fault == ""


def test_asking_charges_nothing_and_says_the_same_until_the_ledger_goes_on(owner: Any) -> None:
    owner.charge("run", 1)
    attest, head = owner.attest(), owner.store.head
    assert attest("run") == attest("run")
    assert owner.store.head == head
    owner.charge("run", 2)
    assert statement(attest("run")).cost.charges == 2


def test_of_a_run_that_was_not_charged_nothing_is_said(owner: Any) -> None:
    owner.charge("run", 1)
    with pytest.raises(RefusedError, match="nothing was charged"):
        owner.attest()("another")


def test_a_seeded_owner_signs_nothing(owner: Any) -> None:
    owner.charge("run", 1)
    with pytest.raises(RefusedError, match="ε = ∞"):
        owner.attest(seeded=True)("run")
    with pytest.raises(RefusedError):
        no_statement("run")


def test_what_does_not_add_up_is_not_signed(owner: Any) -> None:
    owner.charge("one", 1)
    owner.charge("one", 2, observer="analyst")
    owner.charge("two", 1)
    owner.charge("two", 2, adversary="semi-honest")
    for run in ("one", "two"):
        with pytest.raises(RefusedError, match="do not add up"):
            owner.attest()(run)


def test_a_disk_that_fails_is_not_told_of(owner: Any, tmp_path: Path) -> None:
    owner.charge("run", 1)
    for path in (tmp_path / "recipes").glob("*.json"):
        path.write_text("{")
    with pytest.raises(RefusedError, match="cannot be read now") as caught:
        owner.attest()("run")
    assert str(tmp_path) not in str(caught.value)
