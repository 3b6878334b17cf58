"""Approvals: durable, bound to what was shown, and never more of them than a disk can bear."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tacit.client.approvals import Approvals, DecisionError
from tacit.client.offer import Offer
from tacit.client.refusal import RefusedError
from tacit.privacy.claim import Observer
from tacit.privacy.event import Gaussian, NonPrivate
from tacit.privacy.ledger.entry import Currency, Price
from tacit.strategies.messages import Recipe
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd"}, {"use": "fedavg"}, ({"stage": "adaptive-clip", "norm": 0.5},), 8, 10, TERMS)
PRICE = Price(Currency("owner", "zero-out", Observer("server", 1)), Gaussian(8.0))
OFFER = Offer("spring/../run", "ward3", RECIPE, PRICE, 20, 0, 1e-5, 3.0, True, 6.0, True, 0.0, 0.4)


def codes(approvals: Approvals, offer: Offer = OFFER) -> str:
    try:
        approvals.require(offer)
    except RefusedError as error:
        return error.refusal.code
    return "passed"


def test_a_run_waits_until_a_person_decides_and_the_decision_survives_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "pending"
    assert codes(Approvals(folder)) == "approval"
    (pending,) = Approvals(folder).all()
    assert (pending.run, pending.verdict, pending.digest) == (OFFER.run, "pending", OFFER.digest())
    assert pending.offer["life"] == {"used": 0.0, "after": 0.4, "limit": 6.0}
    Approvals(folder).approve(OFFER.run, pending.digest)
    assert codes(Approvals(folder)) == "passed"
    Approvals(folder).deny(OFFER.run, pending.digest)
    assert codes(Approvals(folder)) == "denied"
    Approvals(folder).forget(OFFER.run)
    assert codes(Approvals(folder)) == "approval"


def test_files_are_the_owners_alone_and_lie_in_its_folder_whatever_a_run_is_called(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    for name in ("../../outside", "/etc/passwd", "\0", "x" * 1000, ".json"):
        assert codes(approvals, replace(OFFER, run=name)) == "approval"
    assert [path.name for path in tmp_path.iterdir()] == ["pending"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "pending").iterdir()} == {0o600}
    assert {pending.run for pending in approvals.all()} == {"../../outside", "/etc/passwd", "\0", "x" * 1000, ".json"}


CHANGES: dict[str, Any] = {
    "asset": replace(OFFER, asset="ward4"),
    "noise": replace(OFFER, price=replace(PRICE, event=Gaussian(7.9))),
    "rounds": replace(OFFER, recipe=replace(RECIPE, terms=replace(TERMS, rounds=21))),
    "task": replace(OFFER, recipe=replace(RECIPE, terms=replace(TERMS, task={"use": "topics"}))),
    "pipeline": replace(OFFER, recipe=replace(RECIPE, pipeline=())),
    "cohort": replace(OFFER, recipe=replace(RECIPE, least=7)),
    "solver": replace(OFFER, recipe=replace(RECIPE, solver={"use": "sgd", "lr": 9.0})),
}


@pytest.mark.parametrize("what", CHANGES)
def test_an_approval_is_of_what_was_shown_and_of_nothing_else(tmp_path: Path, what: str) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals)
    approvals.approve(OFFER.run, OFFER.digest())
    assert codes(approvals, CHANGES[what]) == "approval"
    assert codes(approvals) == "passed"  # what was noted first stands
    with pytest.raises(DecisionError, match="look at it again"):
        approvals.approve(OFFER.run, CHANGES[what].digest())


def test_what_changes_from_round_to_round_needs_no_new_approval(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals)
    approvals.approve(OFFER.run, OFFER.digest())
    grown = replace(RECIPE, pipeline=({"stage": "adaptive-clip", "norm": 0.7},))
    assert codes(approvals, replace(OFFER, recipe=grown, charged=3, used=0.1)) == "passed"


def test_nobody_decides_about_a_run_that_never_asked(tmp_path: Path) -> None:
    with pytest.raises(DecisionError, match="has not asked"):
        Approvals(tmp_path / "pending").approve("nowhere", "0")


def test_a_server_that_invents_runs_fills_no_disk(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    for number in range(100):
        codes(approvals, replace(OFFER, run=f"run {number}"))
    with pytest.raises(RefusedError, match="100 runs wait already"):
        approvals.require(OFFER)
    assert len(approvals.all()) == 100
    approvals.deny("run 7", OFFER.digest())
    assert codes(approvals) == "approval"
    assert len(approvals.all()) == 101


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"not json", b"[]", b"\xff", b'{"format": 1, "run": "r", "digest": "d", "verdict": "yes", "offer": {}}',
     b'{"format": 2, "run": "r", "digest": "d", "verdict": "approved", "offer": {}}'],
)  # fmt: skip
def test_a_file_that_was_not_written_here_approves_nothing(tmp_path: Path, content: bytes) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals)
    (path,) = (tmp_path / "pending").iterdir()
    path.write_bytes(content)
    with pytest.raises(RefusedError, match="cannot be read"):
        approvals.require(OFFER)
    with pytest.raises(DecisionError, match="not what was written here"):
        approvals.find(OFFER.run)


def test_an_approval_that_others_may_have_written_approves_nothing(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals)
    approvals.approve(OFFER.run, OFFER.digest())
    (path,) = (tmp_path / "pending").iterdir()
    path.chmod(0o666)
    with pytest.raises(RefusedError, match="cannot be read"):
        approvals.require(OFFER)


def test_an_approval_under_the_file_name_of_another_run_approves_nothing(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals)
    approvals.approve(OFFER.run, OFFER.digest())
    (path,) = (tmp_path / "pending").iterdir()
    other = replace(OFFER, run="other")
    codes(approvals, other)
    (beside,) = set((tmp_path / "pending").iterdir()) - {path}
    beside.write_bytes(path.read_bytes())
    with pytest.raises(RefusedError, match="cannot be read"):
        approvals.require(other)


def test_infinity_is_written_as_text(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path / "pending")
    codes(approvals, replace(OFFER, price=replace(PRICE, event=NonPrivate("a baseline"))))
    (path,) = (tmp_path / "pending").iterdir()
    assert json.loads(path.read_text())["offer"]["claim"]["epsilon"] == "inf"
