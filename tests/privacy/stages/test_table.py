"""The table of stages: plain data in and out, closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.pipeline import PipelineError, Stage
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.table import STAGES, from_row, stage_name, to_row

ROWS = [
    {"stage": "clip", "norm": 0.3},
    {"stage": "adaptive-clip", "norm": 0.3, "quantile": 0.4, "learning_rate": 0.1, "bit_weight": 0.5},
    {"stage": "measure", "weight": 0.5, "largest_loss": 3.0, "of": ("loss",)},
    {"stage": "rotate", "seed": 9},
    {"stage": "central-gaussian", "noise_multiplier": 3.74},
    {"stage": "central-gaussian", "noise_multiplier": "calibrate"},
    {"stage": "correlated-gaussian", "noise_multiplier": 1.0, "bands": 8},
    {"stage": "own-gaussian", "noise_multiplier": 1.0},
    {"stage": "encode", "bits": 24, "step": 0.5, "max_noise_multiplier": 3.0},
    {"stage": "discrete-gaussian", "noise_multiplier": 1.0},
    {"stage": "skellam", "noise_multiplier": 1.0},
    {"stage": "mask", "adversary": "malicious", "colluders": 2},
]


@pytest.mark.parametrize("row", ROWS, ids=[row["stage"] for row in ROWS])
def test_a_row_is_a_stage_is_a_row(row: dict[str, object]) -> None:
    stage = from_row(row)
    assert type(stage) is STAGES[row["stage"]]
    assert stage_name(stage) == row["stage"]
    assert to_row(stage) == row
    assert from_row(to_row(stage)) == stage


def test_every_stage_has_a_row_here() -> None:
    assert {row["stage"] for row in ROWS} == set(STAGES)


def test_what_is_none_is_left_out() -> None:
    assert to_row(Encode()) == {"stage": "encode", "bits": 20, "max_noise_multiplier": 8.0}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"stage": "clop", "norm": 1.0}, "stage = 'clop': unknown; did you mean 'clip'?"),
        ({"norm": 1.0}, "stage = None: unknown; known: clip, "),
        ({"stage": ["clip"]}, "stage = ['clip']: unknown"),
        ({"stage": "clip", "norm": 1.0, "nrom": 2}, "nrom = 2: unknown key; did you mean 'norm'?"),
        ({"stage": "mask", "bits": 2}, "bits = 2: unknown key; mask takes adversary, colluders"),
        ({"stage": "clip"}, "norm: missing; give it a value"),
        ({"stage": "clip", "norm": "0.3"}, "norm = '0.3': input should be a valid number"),
        ({"stage": "clip", "norm": True}, "norm = True"),
        ({"stage": "clip", "norm": -2.0}, "clip: norm = -2.0; give a number"),
        ({"stage": "encode", "bits": 20.5}, "bits = 20.5: input should be a valid integer"),
        ({"stage": "skellam", "noise_multiplier": "guess"}, "'guess': input should be 'calibrate'"),
    ],
)
def test_a_wrong_row_says_key_value_and_remedy(row: dict[str, object], says: str) -> None:
    with pytest.raises(PipelineError) as refusal:
        from_row(row)
    assert says in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from(sorted(STAGES)),
    st.dictionaries(st.sampled_from(["norm", "bits", "step", "seed", "noise_multiplier", "x"]), JSON),
)
def test_hostile_rows_give_pipeline_errors_only(name: str, fields: dict[str, object]) -> None:
    try:
        stage = from_row({"stage": name, **fields})
    except PipelineError:
        return
    assert stage_name(stage) == name


def test_a_stage_of_ones_own_is_not_in_the_table() -> None:
    class Mine(Stage):
        pass

    with pytest.raises(PipelineError, match="Mine is not in the table"):
        stage_name(Mine())
