"""Budget: so many rounds of one event, and nothing else."""

from __future__ import annotations

import pytest
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.event import Gaussian, Nothing
from tacit.strategies.budget import RoundBudget, UpfrontBudget


def test_the_last_paid_round_is_the_last() -> None:
    budget = RoundBudget(Gaussian(1.0), 2)
    for _ in range(2):
        assert budget.affords(Gaussian(1.0))
        budget.charge(Gaussian(1.0))
    assert not budget.affords(Gaussian(1.0))


def test_another_event_is_never_affordable_nor_charged() -> None:
    budget = RoundBudget(Gaussian(1.0), 2)
    assert not budget.affords(Gaussian(2.0))  # more noise costs less, but it is not what was derived
    with pytest.raises(AccountingError, match="another run's ledger"):
        budget.charge(Gaussian(2.0))
    assert budget.charged == 0


def test_a_schedule_is_paid_whole_and_first() -> None:
    budget = UpfrontBudget(Gaussian(1.0), 3)
    assert not budget.affords(Nothing())
    with pytest.raises(AccountingError, match="another run's ledger"):
        budget.charge(Nothing())
    budget.charge(Gaussian(1.0))
    assert not budget.affords(Gaussian(1.0))
    for _ in range(2):
        assert budget.affords(Nothing())
        budget.charge(Nothing())
    assert not budget.affords(Nothing())
