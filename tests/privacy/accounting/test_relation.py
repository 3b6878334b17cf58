"""Relations and the checks of δ and ε."""

import math

import pytest
from tacit.privacy.accounting.relation import (
    RELATIONS,
    AccountingError,
    checked_delta,
    checked_epsilon,
    checked_relation,
    norm_factor,
)


def test_only_replace_one_doubles() -> None:
    assert {relation: norm_factor(relation) for relation in RELATIONS} == {
        "add-remove": 1,
        "zero-out": 1,
        "replace-one": 2,
    }


def test_known_relations_pass_and_others_name_them() -> None:
    for relation in RELATIONS:
        assert checked_relation(relation) == relation
    with pytest.raises(AccountingError, match="zero-out"):
        checked_relation("substitute")


@pytest.mark.parametrize("bad", [0, 1, -0.1, math.nan, math.inf, False, None, "0.1"])
def test_bad_deltas(bad: float) -> None:
    with pytest.raises(AccountingError, match=r"N\^-1\.1"):
        checked_delta(bad)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf, True, None])
def test_bad_epsilons(bad: float) -> None:
    with pytest.raises(AccountingError, match="finite"):
        checked_epsilon(bad)
    assert checked_epsilon(0) == 0.0
