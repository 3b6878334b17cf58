"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# Before anything loads torch: two test workers with two threads each take many times as long as with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test is timed: a busy machine would fail it. Examples are the same in every run, so that main passes or fails for
# everybody alike; `HYPOTHESIS_PROFILE=explore` looks for new ones.
settings.register_profile("tacit", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tacit"))
