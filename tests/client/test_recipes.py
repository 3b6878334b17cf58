"""Recipes: what was agreed to in a run is known after a restart; too much of it, or a damaged note, gives no statement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tacit.client.recipes import MOST, Recipes
from tacit.client.refusal import RefusedError
from tacit.strategies.essence import essence
from tacit.strategies.messages import Recipe
from tacit.strategies.terms import Terms

TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 10, 20)
RECIPE = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, ({"stage": "clip", "norm": 0.5},), 5, 10, TERMS)


def test_it_is_known_after_a_restart_and_noted_once(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path / "r")
    for _ in range(2):
        recipes.note("run", RECIPE)
    assert Recipes(tmp_path / "r").of("run") == ((essence(RECIPE),), ("tacit 0.1.0",))
    again = Recipes(tmp_path / "r")
    again.note("run", replace(RECIPE, least=4))
    assert again.of("run")[0] == tuple(sorted([essence(RECIPE), essence(replace(RECIPE, least=4))]))


def test_of_another_run_nothing_is_known(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path / "r")
    recipes.note("../../run", RECIPE)
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "r"]
    with pytest.raises(RefusedError, match="not kept"):
        recipes.of("run")


def test_an_adaptive_clip_is_one_recipe_whatever_its_norm_is() -> None:
    first, later = (
        replace(RECIPE, pipeline=({"stage": "adaptive-clip", "norm": norm, "rate": 1.0},)) for norm in (1, 2)
    )
    assert essence(first) == essence(later)
    assert essence(first) != essence(replace(RECIPE, pipeline=({"stage": "adaptive-clip", "norm": 1, "rate": 2.0},)))
    assert essence(RECIPE) == RECIPE.digest()


def test_a_run_that_asks_for_ever_new_things_gets_no_statement(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path / "r")
    for most in range(10, MOST + 13):
        recipes.note("run", replace(RECIPE, most=most))
    with pytest.raises(RefusedError, match="more than 100"):
        recipes.of("run")


def test_a_damaged_note_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    recipes = Recipes(tmp_path / "r")
    recipes.note("run", RECIPE)
    next((tmp_path / "r").glob("*.json")).write_text("{")
    with pytest.raises(OSError, match="damaged"):
        Recipes(tmp_path / "r").of("run")
