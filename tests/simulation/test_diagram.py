"""Diagram: every stage in its place, every Signal in real units."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tacit.privacy.stages.table import STAGES
from tacit.simulation import diagram as module
from tacit.simulation.diagram import diagram


def test_every_stage_of_the_table_is_described() -> None:
    assert set(STAGES) <= set(module._DEEDS)


def test_owner_half_then_sum_then_server_half(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    text = diagram(result)
    assert re.findall(r'class="(box|signal|sum)', text) == ["box", "signal", "box"] * 3 + ["sum"]
    titles = re.findall(r"<strong>([^<]*)</strong>", text)
    assert titles == ["train", "new model", "clip", "central-gaussian", "central-gaussian", "sum over the cohort"]
    page = read(text)
    for part in ("sgd", "lr = 1", "norm = 0.3", "fedavg", "server_lr = 26.7", "poisson, rate = 0.5", "1,290"):
        assert part in page.text


def test_the_signal_is_in_real_units(result: dict[str, Any], read: Callable[[str], Any]) -> None:
    shown = read(diagram(result)).text
    assert shown.count("≤ 0.3") == 4  # sensitivity and bound, after clip and on the lattice
    assert "unlimited" in shown
    assert "1.12 = 3.74 × sensitivity on the sum, Gaussian" in shown


def test_what_a_stage_changed_stands_out(result: dict[str, Any]) -> None:
    assert len(re.findall('class="changed"', diagram(result))) == 4  # clip: two; central-gaussian: grid and noise


def test_calibrated_noise_shows_what_it_was_solved_to(changed: Callable[..., dict[str, Any]]) -> None:
    made = changed(**{"config.privacy.pipeline.1.noise_multiplier": "calibrate"})
    assert "calibrate" in diagram(made)
    made["pipeline"][2]["parameters"] = {"noise_multiplier": 3.7421}
    assert "calibrate" not in diagram(made)
    assert "multiplier = 3.74" in diagram(made).replace("<wbr>", "")


def test_noise_of_the_solver_and_masks(changed: Callable[..., dict[str, Any]], read: Callable[[str], Any]) -> None:
    prior = {"event": "repeated", "count": 3, "of": {"event": "gaussian", "noise_multiplier": 1.5}}
    shown = read(diagram(changed(**{"pipeline.0.prior": prior, "pipeline.2.masked": True, "pipeline.2.ring": 20}))).text
    for part in ("3 × Gaussian 1.5", "only the sum", "mod 2^20"):
        assert part in shown


def test_a_share_of_noise_is_not_passed_off_as_the_whole(changed: Callable[..., dict[str, Any]]) -> None:
    noise = [{"law": "skellam", "place": "shared", "std": 0.05}]
    shown = diagram(changed(**{"pipeline.2.stage": "skellam", "pipeline.2.noise": noise}))
    assert "0.05 in each share, Skellam" in shown
    assert "× sensitivity" not in shown


def test_long_pipelines_run_downwards(result: dict[str, Any], changed: Callable[..., dict[str, Any]]) -> None:
    assert 'class="pipeline"' in diagram(result)
    assert 'class="pipeline tall"' in diagram(changed(pipeline=[result["pipeline"][1]] * 8))


def test_a_result_without_a_pipeline() -> None:
    assert "does not say" in diagram({})
