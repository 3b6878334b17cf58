"""Alertness: who has something to say is heard, awake or woken; whoever hears nothing does not stay awake."""

from __future__ import annotations

import threading
import time
from multiprocessing import Pipe

import pytest
from tacit.simulation.alertness import Alertness


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_those_with_something_to_say_are_heard_awake_or_woken(seconds: float) -> None:
    (mine, theirs), (quiet, other) = Pipe(), Pipe()
    with mine, theirs, quiet, other:
        alertness = Alertness([mine, quiet], seconds)
        assert alertness.now() == []
        later = threading.Timer(0.05, theirs.send, ["a word"])
        later.start()
        assert alertness.next() == [mine]
        later.join()
        assert mine.recv() == "a word"
        assert alertness.now() == []


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_one_that_has_ended_is_heard_too(seconds: float) -> None:
    mine, theirs = Pipe()
    with mine:
        theirs.close()
        assert Alertness([mine], seconds).next() == [mine]


def test_whoever_hears_nothing_goes_to_sleep() -> None:
    mine, theirs = Pipe()
    with mine, theirs:
        later = threading.Timer(0.5, theirs.send, ["a word"])
        later.start()
        before = time.thread_time()
        assert Alertness([mine], 0.002).next() == [mine]
        assert time.thread_time() - before < 0.25
        later.join()
