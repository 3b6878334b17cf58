"""Refusal: typed, and bounded whatever a server made it quote."""

from __future__ import annotations

from tacit.client.refusal import Refusal, RefusedError, refused


def test_a_refusal_is_its_reason_and_remedy() -> None:
    error = refused(Refusal("cohort", "too small", "wait for more"))
    assert str(error) == "too small; wait for more"
    assert error.refusal.to_json() == {"code": "cohort", "reason": "too small", "remedy": "wait for more"}
    assert str(Refusal("hours", "it is night")) == "it is night"


def test_a_reason_stays_within_what_a_log_can_bear() -> None:
    assert len(str(RefusedError("x" * 10**6, "recipe", "shorter"))) < 1100
