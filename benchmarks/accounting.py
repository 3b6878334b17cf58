"""How long accounting takes. Prints a table in Markdown: `python benchmarks/accounting.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from tacit.privacy.accounting.accountant import account, epsilon
from tacit.privacy.accounting.calibrate import noise_multiplier
from tacit.privacy.accounting.plan import plan
from tacit.privacy.accounting.spend import Filter, Quota, Spend
from tacit.privacy.event import Event, FixedCohort, Gaussian, Poisson, Repeated

ROUND: Event = Poisson(0.01, Gaussian(1.1))
LIMIT = 2e-3  # seconds for one more round after 1,000


def timed(task: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def one_more_round(charge: Callable[[Event], None], affords: Callable[[Event], bool]) -> float:
    """Median seconds of check and charge, over 100 rounds after the first 1,000."""
    for _ in range(1000):
        charge(ROUND)

    def step() -> None:
        affords(ROUND)
        charge(ROUND)

    return statistics.median(timed(step) for _ in range(100))


def varied(count: int) -> list[Event]:
    """Rounds that all differ, as when the rate follows who is online."""
    return [Poisson(0.01 + 1e-6 * index, Gaussian(1.1)) for index in range(count)]


def main() -> None:
    guard, quota, spend = (
        Filter("add-remove", 1e-5, 4.0, ROUND),
        Quota(ROUND, "add-remove", 1e-5, 4.0),
        Spend("add-remove", 1e-5),
    )
    rows: list[tuple[str, float]] = [
        ("one more round after 1,000: adaptive filter", one_more_round(guard.charge, guard.affords)),
        ("one more round after 1,000: fixed quota", one_more_round(quota.charge, quota.affords)),
        ("one more round after 1,000: reported spend within a budget",
         one_more_round(spend.charge, lambda event: spend.affords(event, 4.0))),
    ]  # fmt: skip
    fresh = Filter("add-remove", 1e-5, 4.0, ROUND)
    unseen = statistics.median(timed(lambda event=event: fresh.affords(event)) for event in varied(100))
    rows.append(("one more round of a kind not seen before: adaptive filter", unseen))
    for _, seconds in rows[:3]:
        if seconds > LIMIT:
            sys.exit(f"one more round took {seconds * 1e3:.2f} ms; at most {LIMIT * 1e3:g} are allowed")
    schedule = Repeated(Poisson(0.011, Gaussian(1.1)), 1000)
    cohort = Repeated(FixedCohort(11, 1000, Gaussian(1.0)), 100)
    rows += [
        ("ε of 1,000 Poisson rounds", timed(lambda: epsilon(schedule, "add-remove", 1e-5))),
        ("ε of the same under replace-one", timed(lambda: epsilon(schedule, "replace-one", 1e-5))),
        ("both ends of 1,000 Poisson rounds", timed(lambda: account(schedule, "add-remove", 1.1e-5))),
        ("both ends of 100 fixed cohorts", timed(lambda: account(cohort, "replace-one", 1e-5))),
        ("calibrate the noise of 1,000 Poisson rounds", timed(lambda: noise_multiplier(
            lambda noise: Repeated(Poisson(0.01, Gaussian(noise)), 1000), "add-remove", 1e-5, 2.0))),
        ("forecast of 1,000 Poisson rounds (curve, risk, both ends)", timed(
            lambda: plan(noise_multiplier=1.2, sampling="poisson", rate=0.01, rounds=1000, delta=1e-5))),
        ("import of the accountant, in a fresh interpreter", timed(
            lambda: subprocess.run([sys.executable, "-c", "import tacit.privacy.accounting.spend"], check=True))),
    ]  # fmt: skip
    print("| what | ms |\n|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds * 1e3:.3g} |")


if __name__ == "__main__":
    main()
