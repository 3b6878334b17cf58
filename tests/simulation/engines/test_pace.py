"""Pace: the sum over all steps is what taking the steps gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tacit.simulation.engines.pace import Pace, adam_pace, pace_of
from tacit.strategies.gradients import ClippedGradient
from tacit.strategies.solvers import Adam, Prox, Sgd

SMALL = st.sampled_from([0.0, 0.1, 0.9])


@given(st.integers(0, 6), SMALL, SMALL, SMALL, st.integers(0, 99))
def test_coefficients_are_those_of_the_steps(steps: int, momentum: float, decay: float, mu: float, seed: int) -> None:
    pace = Pace(0.3, 1, None, steps, momentum, decay, mu)
    random = np.random.default_rng(seed)
    gradients, start = random.normal(size=steps), random.normal()
    along, parts = pace.coefficients(steps)
    update = velocity = 0.0
    for t in range(steps + 1):
        np.testing.assert_allclose(along[t] * start + parts[t] @ gradients, update, atol=1e-12)
        if t < steps:
            direction = gradients[t] + decay * (start + update) + mu * update
            velocity = momentum * velocity + direction
            update -= 0.3 * velocity


def test_a_pace_is_that_of_its_solver() -> None:
    assert pace_of(Sgd(lr=0.2, epochs=3, batch=4, momentum=0.5, weight_decay=0.1)) == Pace(0.2, 3, 4, None, 0.5, 0.1)
    assert pace_of(Prox(lr=0.2, mu=0.7, steps=4)) == Pace(0.2, 1, None, 4, mu=0.7)
    assert pace_of(Adam()) is None
    assert pace_of(ClippedGradient(1.0, 2.0)) is None
    assert adam_pace(Adam(lr=0.1, epochs=2, batch=3)).counts(np.array([0, 1, 3, 4])).tolist() == [0, 2, 2, 4]
