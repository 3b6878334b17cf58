"""Events: laws of the schema, then what it refuses."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.event import (
    NAMES,
    BandedMatrix,
    BufferedLinearToeplitz,
    Composed,
    DiscreteGaussian,
    Event,
    EventError,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    RandomizedResponse,
    Repeated,
    Skellam,
    Tree,
    TruncatedPoisson,
    Tuned,
    from_json,
    to_json,
)

_noise = st.floats(0, 1e6)
_small = st.integers(1, 1000)
_leaves: st.SearchStrategy[Event] = st.one_of(
    st.just(Nothing()),
    st.builds(NonPrivate, st.text(max_size=20)),
    st.builds(Gaussian, _noise),
    st.builds(Laplace, _noise),
    st.builds(RandomizedResponse, st.floats(0, 1), _small),
    st.builds(DiscreteGaussian, _noise, _noise, _noise, _small, _small),
    st.builds(Skellam, _noise, _noise, _noise),
    st.builds(TruncatedPoisson, st.floats(0, 1), _small, st.just(1000), st.builds(Gaussian, _noise)),
    st.builds(Tree, _noise, _small),
    st.builds(BandedMatrix, _noise, st.tuples(st.floats(0.1, 1), st.floats(-1, 1)), _small, _small, _small),
    st.builds(
        BufferedLinearToeplitz, _noise, st.tuples(st.floats(0, 1)), st.tuples(st.floats(-1, 1)), _small, _small, _small
    ),
)
EVENTS: st.SearchStrategy[Event] = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Poisson, st.floats(0, 1), inner),
        st.builds(FixedCohort, _small, st.just(1000), inner),
        st.builds(Repeated, inner, st.integers(0, 1000)),
        st.builds(Composed, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Tuned, inner, st.floats(1, 100), st.sampled_from([-0.5, 0.0, 1.0, math.inf])),
    ),
    max_leaves=6,
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(list(NAMES))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["event", "of", "rate", "parts", "count"]), inner)
    ),
    max_leaves=12,
)


@given(EVENTS)
def test_what_is_written_is_read_back_through_strict_json(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event), allow_nan=False))) == event


@given(st.sampled_from(list(NAMES)), st.dictionaries(st.text(max_size=8), _json, max_size=4), _json)
@settings(max_examples=300)
def test_hostile_json_gives_event_errors_only(name: str, fields: dict[str, object], anything: object) -> None:
    field_names = list(NAMES[name].__dataclass_fields__)
    filled = {field: fields.get(field, anything) for field in field_names}
    for row in (anything, {"event": name, **fields}, {"event": name, **filled}):
        try:
            event = from_json(row)
        except EventError:
            continue
        assert from_json(to_json(event)) == event


def test_deep_nesting_is_refused() -> None:
    row: object = {"event": "nothing"}
    for _ in range(2000):
        row = {"event": "repeated", "of": row, "count": 1}
    with pytest.raises(EventError, match="nested deeper"):
        from_json(row)
    parts: object = [{"event": "nothing"}]
    for _ in range(2000):
        parts = [parts]
    with pytest.raises(EventError):
        from_json({"event": "composed", "parts": parts})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gaussian(-1.0), "noise_multiplier = -1.0"),
        (lambda: Gaussian(math.nan), "noise_multiplier = nan"),
        (lambda: Gaussian(math.inf), "noise_multiplier = inf"),
        (lambda: Gaussian(True), "noise_multiplier = True"),
        (lambda: Gaussian(10**5000), "integer of"),
        (lambda: Poisson(1.5, Gaussian(1.0)), "rate = 1.5"),
        (lambda: Poisson(math.nan, Gaussian(1.0)), "rate = nan"),
        (lambda: Poisson(0.5, "gaussian"), "of = 'gaussian'"),  # type: ignore[arg-type]  # that it is wrong is the point
        (lambda: FixedCohort(11, 10, Gaussian(1.0)), "cohort = 11"),
        (lambda: FixedCohort(0, 10, Gaussian(1.0)), "cohort = 0"),
        (lambda: TruncatedPoisson(0.1, 5, 10, Laplace(1.0)), "of"),  # type: ignore[arg-type]  # as above
        (lambda: Repeated(Gaussian(1.0), -1), "count = -1"),
        (lambda: Repeated(Gaussian(1.0), 2.0), "count = 2.0"),  # type: ignore[arg-type]  # as above
        (lambda: Tuned(Gaussian(1.0), 0.5, 1.0), "mean = 0.5"),
        (lambda: Tuned(Gaussian(1.0), 2.0, -1.0), "shape = -1.0"),
        (lambda: BandedMatrix(1.0, (), 5, 1, 1), "coefficients"),
        (lambda: BandedMatrix(1.0, (0.0, 1.0), 5, 1, 1), "first of them positive"),
        (lambda: BufferedLinearToeplitz(1.0, (0.5,), (), 5, 1, 1), "as many numbers"),
        (lambda: Tree(1.0, 0), "steps = 0"),
    ],
)
def test_impossible_parameters_name_the_field_and_the_value(make: object, said: str) -> None:
    with pytest.raises(EventError) as caught:
        make()  # type: ignore[operator]  # a lambda of the table above
    assert said in str(caught.value)


def test_an_unknown_event_is_never_looked_up() -> None:
    with pytest.raises(EventError, match=r"unknown event 'os\.system'"):
        from_json({"event": "os.system", "of": "true"})
    with pytest.raises(EventError, match=r"unknown fields \[.*extra.*\]"):
        from_json({"event": "gaussian", "noise_multiplier": 1.0, "extra": 1})
