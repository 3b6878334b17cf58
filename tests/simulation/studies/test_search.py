"""Search: a pure function of what is known; the adaptive one finds a better frontier than a random one at equal cost."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from tacit.simulation.studies.frontier import frontier_of
from tacit.simulation.studies.search import Known, Plan, SearchName, next_trials
from tacit.simulation.studies.space import Space, Values, name_of, space_of

SEEDS = (0, 1, 2)
VARY = {
    "noise": {"from": 0.3, "to": 12.0, "scale": "log"},
    "rounds": {"from": 5, "to": 200, "scale": "log"},
    "norm": {"from": 0.01, "to": 10.0, "scale": "log"},
    "lr": {"from": 0.01, "to": 10.0, "scale": "log"},
}


def epsilon(values: Values) -> float:
    """As of Gaussians: √rounds over noise."""
    found = dict(values)
    return math.sqrt(found["rounds"]) / found["noise"]


def quality(values: Values) -> float:
    """A true accuracy: more rounds and less noise help, norm and rate have an optimum that moves with the noise."""
    found = dict(values)
    trained = 1 - math.exp(-found["rounds"] / 25)
    drowned = 1 / (1 + 0.15 * found["noise"] ** 2 / found["rounds"] * 10)
    norm = math.exp(-((math.log10(found["norm"]) + 0.5) ** 2))
    rate = math.exp(-((math.log10(found["lr"] * found["norm"]) + 0.3 + 0.3 * math.log10(found["noise"])) ** 2))
    return 0.1 + 0.88 * trained * drowned * norm * rate


def searched(search: SearchName, seed: int, points: int = 40) -> list[Known]:
    """A whole search over the made-up federation; scores scatter by 0.02 from seed to seed."""
    space, known = space_of(VARY), dict[str, Known]()
    plan = Plan(search, points, SEEDS, seed)
    while trials := next_trials(plan, space, list(known.values())):
        for values, trial in trials:
            old = known.get(name_of(values)) or Known(values, epsilon(values))
            rng = np.random.default_rng([trial, zlib.crc32(name_of(values).encode()), seed])
            scores = {**old.scores, trial: quality(values) + 0.02 * float(rng.normal())}
            known[name_of(values)] = Known(values, old.epsilon, scores)
    return list(known.values())


def area(found: list[Known]) -> float:
    """What the frontier that a study would report is truly worth: its area over log ε from 0.5 to 20."""
    whole = [each for each in found if len(each.scores) == len(SEEDS)]
    on = [whole[index] for index in frontier_of([(each.epsilon, each.mean) for each in whole])]
    total, grid = 0.0, np.exp(np.linspace(math.log(0.5), math.log(20), 60))
    for most in grid:
        fitting = [each for each in on if each.epsilon <= most]
        total += quality(fitting[-1].values) if fitting else 0.0
    return total / len(grid)


def test_the_adaptive_search_beats_a_random_one_with_as_many_trials() -> None:
    """Over 12 searches of 120 trials each: better on average by a clear margin, and nearly always."""
    adaptive = [area(searched("adaptive", seed)) for seed in range(12)]
    chance = [area(searched("random", seed)) for seed in range(12)]
    gains = [a - b for a, b in zip(adaptive, chance, strict=True)]
    assert np.mean(gains) > 0.05
    assert sum(gain > 0 for gain in gains) >= 11


def trials_of(found: list[Known]) -> int:
    return sum(len(each.scores) for each in found)


@pytest.mark.parametrize("seed", range(3))
def test_the_adaptive_search_spends_its_trials_and_confirms_the_frontier(seed: int) -> None:
    """All seeds for what is on it, but for the one setting that the last trial may have uncovered."""
    found = searched("adaptive", seed)
    assert trials_of(found) == 120
    on = frontier_of([(each.epsilon, each.mean) for each in found])
    assert sum(len(found[index].scores) < len(SEEDS) for index in on) <= 1
    assert len(on) >= 8


def test_more_trials_go_to_the_frontier_than_elsewhere() -> None:
    found = searched("adaptive", 0)
    assert sum(len(each.scores) == 1 for each in found) > 1
    whole = [each for each in found if len(each.scores) == len(SEEDS)]
    others = [each for each in found if len(each.scores) == 1]
    assert np.mean([quality(each.values) for each in whole]) > np.mean([quality(each.values) for each in others])


@pytest.mark.parametrize("search", ["grid", "random", "adaptive"])
def test_the_same_knowledge_asks_for_the_same_trials(search: SearchName) -> None:
    """That is what makes a study resume."""
    space = space_of({"a": [1, 2, 3], "b": {"from": 0.1, "to": 1.0}})
    plan = Plan(search, 9, SEEDS)
    known: list[Known] = []
    for _ in range(4):
        trials = next_trials(plan, space, known)
        assert trials == next_trials(plan, space, known)
        done = {name_of(each.values): each for each in known}
        for values, seed in trials:
            old = done.get(name_of(values), Known(values, 1.0 + values[0][1]))
            done[name_of(values)] = Known(values, old.epsilon, {**old.scores, seed: float(values[1][1])})
        known = list(done.values())


def test_a_grid_tries_everything_under_every_seed_the_first_seed_first() -> None:
    space = space_of({"a": [3, 1], "b": ["x", "y"]})
    trials = next_trials(Plan("grid", 1, SEEDS), space, [])
    assert len(trials) == 12
    assert [seed for _, seed in trials] == [0] * 4 + [1] * 4 + [2] * 4
    assert {values for values, _ in trials} == {(("a", a), ("b", b)) for a in (1, 3) for b in ("x", "y")}


def test_what_is_known_or_refused_is_not_asked_for_again() -> None:
    space = space_of({"a": [1, 2]})
    known = [Known((("a", 1),), 1.0, {0: 0.5}), Known((("a", 2),), math.nan)]
    assert next_trials(Plan("grid", 1, (0, 1)), space, known) == [((("a", 1),), 1)]


@pytest.mark.parametrize("search", ["random", "adaptive"])
def test_a_space_smaller_than_the_search_is_used_up_and_the_search_ends(search: SearchName) -> None:
    space, known = space_of({"a": [1, 2, 3]}), dict[str, Known]()
    for _ in range(50):
        trials = next_trials(Plan(search, 20, SEEDS), space, list(known.values()))
        if not trials:
            break
        for values, seed in trials:
            old = known.get(name_of(values), Known(values, float(values[0][1])))
            assert seed not in old.scores
            known[name_of(values)] = Known(values, old.epsilon, {**old.scores, seed: float(values[0][1])})
    else:
        raise AssertionError("the search does not end")
    assert len(known) == 3


def test_an_adaptive_search_of_refused_settings_ends() -> None:
    space, known = space_of(VARY), list[Known]()
    for _ in range(100):
        trials = next_trials(Plan("adaptive", 4, SEEDS), space, known)
        if not trials:
            return
        known += [Known(values, math.nan) for values, _ in trials]
    raise AssertionError("the search does not end")


def drawn(space: Space) -> Iterator[Values]:
    rng = np.random.default_rng(0)
    while True:
        yield space.drawn(rng)


def test_fresh_settings_are_new_each() -> None:
    space = space_of({"a": [1, 2], "b": [1, 2]})
    found = space.fresh(drawn(space), {name_of((("a", 1), ("b", 1)))}, 10)
    assert len(found) == len(set(found)) == 3
