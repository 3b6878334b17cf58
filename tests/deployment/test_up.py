"""`tacit up`: a whole federation of real processes, with real enrolment and TLS, on loopback."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tacit
import torch
from tacit.commands.detach import verb
from tacit.commands.main import execute
from tacit.config import Config, ConfigError, parse
from tacit.privacy.event import Skellam
from tacit.privacy.ledger.reader import read
from tacit.privacy.ledger.store import Store
from tacit.server.home import ServerHome
from tacit.server.runs import Runs
from tacit.simulation.document import dumps
from tacit.simulation.permission import policy_text
from tacit.simulation.report import report
from tacit.simulation.run import prepare
from tacit.simulation.site import Site
from tacit.simulation.up import result, up
from tacit.strategies.certificate import check
from tacit.strategies.federation import build

TRIO = """
name = "trio"
task = { use = "digits", model = "softmax" }
population = { owners = 3, partition = { use = "dirichlet", alpha = 0.3 } }
rounds = { total = 3, participation = { use = "everyone" }, quorum = 1.0, deadline = "60s" }
local = { use = "sgd", lr = 1.0, batch = 20 }
strategy = { use = "fedavg" }
evaluation = { every = 1, on = ["public-test", "owners"] }
budget = { observer = "analyst", epsilon = 50.0 }

[privacy]
unit = "owner"
relation = "add-remove"
delta = 0.01
pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "measure" }, { stage = "central-gaussian", noise_multiplier = 3.0 }]
"""


def trio() -> Config:
    return parse(TRIO)


def processes(root: Path) -> list[str]:
    """The command lines of this machine's processes that name `root`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found += [line] if str(root) in line else []
    return found


def test_a_seeded_federation_is_the_simulated_one_to_the_bit(tmp_path: Path) -> None:
    """Law: the transport does not matter; and with a seed nothing is claimed, charged as private, or left running."""
    root, told = tmp_path / "federation", list[dict[str, Any]]()
    run = up(trio(), 3, root, seed=5, watch=lambda each: told.append(dict(each)))
    simulated = tacit.simulate(trio(), seed=5, engine="in-memory")
    assert torch.equal(run.weights, simulated.weights)
    assert [row.metrics for row in run.rounds] == [row.metrics for row in simulated.rounds]
    assert [row.measured for row in run.rounds] == [row.measured for row in simulated.rounds]
    assert run.rounds[0].measured["accuracy"]["error"] > 0
    assert all(math.isinf(figure.epsilon) for figure in run.claims)
    assert all(math.isinf(row.epsilon) for row in run.rounds)
    assert run.seed == 5
    sealed = check(run.certificate)
    assert (sealed.holds, sealed.binding.seeded, sealed.owners) == (True, True, ())
    assert [each.code for each in sealed.binding.missing] == ["claim"] * 3  # PRIVACY.md 10: none of them signs
    assert all(math.isinf(each.cost.epsilon) for each in sealed.claims)
    assert processes(root) == []
    shown = told[-1]["show"]
    assert (shown["state"], shown["round"], shown["row"]["survived"]) == ("done", 3, 3)
    assert len(told[-1]["agents"]) == 3
    for owner in range(3):
        with Store(Site(root).owner(owner).ledgers / "share.sqlite", "share") as ledger:
            charges = ledger.spent().records()
        assert [each.reserved.address.round for each in charges] == [1, 2, 3]
        assert all("seed" in str(each.reserved.price.event) for each in charges)
        assert all(each.reply is not None for each in charges)


SHARED = {
    "privacy.relation": "zero-out", "budget.observer": "server", "evaluation.on": ["public-test"],
    "rounds.total": 2,
    "privacy.pipeline": [
        {"stage": "clip", "norm": 0.3}, {"stage": "encode", "bits": 16}, {"stage": "skellam", "noise_multiplier": 3.0},
        {"stage": "mask"},
    ],
}  # fmt: skip


def test_who_survived_is_known_on_both_sides_and_said_beside_the_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PRIVACY.md 14, without a seed, by the real verb: four of four shared the noise, three were promised; the charge is that
    of three. What it names at the end proves it."""
    root, folder, file = tmp_path / "federation", tmp_path / "run", tmp_path / "trio.toml"
    file.write_text(parse(TRIO, {**SHARED, "rounds.quorum": 0.75}).to_toml())
    command = verb("up", str(file), "--owners", "4", "--dir", str(root), "--out", str(folder))
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (note,) = [line for line in ended.stdout.splitlines() if line.startswith("Note: Realised, no guarantee")]
    assert "2 of 2 releases" in note
    found = float(note.split("ε = ")[1].split()[0])
    assert found < json.loads((folder / "result.json").read_text())["privacy"][0]["epsilon"]
    named = [line.split("tacit ")[1] for line in ended.stdout.splitlines() if re.match("(Certificate|Ledgers): ", line)]
    assert [words.split()[:2] for words in named] == [["certificate", "verify"], ["ledger", "show"]]
    for words in named:
        assert execute(shlex.split(words)) == 0
    assert f"{found:.2f}" in capsys.readouterr().out  # what was realised, in the owner's own ledger too
    books = [read(ServerHome(root / "server").ledger), read(Site(root).owner(0).ledgers / "share.sqlite")]
    for book in books:
        records = book.account.records()
        assert [each.realised.survivors for each in records if each.realised] == [4, 4]
        for each in records:
            assert isinstance(each.reserved.price.event, Skellam)
            assert each.realised is not None
            assert isinstance(each.realised.event, Skellam)
            assert each.realised.event.variance == pytest.approx(each.reserved.price.event.variance * 4 / 3)
    sealed = check((folder / "certificate.json").read_bytes())
    assert sealed.holds
    assert all(each.cost.epsilon > found for each in (*sealed.claims, *sealed.owners))  # what was promised, and no less


def test_a_policy_permits_what_the_run_needs_and_no_more() -> None:
    federation = build(trio())
    text = policy_text(federation, seeded=False)
    line = next(line for line in text.splitlines() if line.startswith("epsilon = "))
    (claim,) = [claim for claim in federation.claims() if claim.observer == federation.observer]
    cost = tacit.privacy.accounting.figures.figures(claim, federation.delta).epsilon
    assert cost <= float(line.removeprefix("epsilon = ")) <= 8 * cost
    assert "epsilon = inf" in policy_text(federation, seeded=True)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(ConfigError, match="not empty"):
        up(trio(), 3, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("number", "phase"),
    [(signal.SIGINT, "owners answered"), (signal.SIGTERM, "starting the agents")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_every_process(tmp_path: Path, number: int, phase: str) -> None:
    """A real one, to the real verb: exit code 130, its words, and nothing left running."""
    file, root = tmp_path / "trio.toml", tmp_path / "federation"
    file.write_text(TRIO.replace("total = 3", "total = 100"))
    command = verb("up", str(file), "--owners", "2", "--insecure-seed", "5", "--dir", str(root))
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as program:
        assert program.stderr is not None
        said = ""
        for line in program.stderr:
            said += line
            if phase in line:
                break
        assert len(processes(root)) >= 3, said  # the server, and those of its children that name the folder
        program.send_signal(number)
        said += program.stderr.read()
    assert program.returncode == 130, said
    assert "stopped, and every process with it" in said
    assert processes(root) == []


def test_a_release_that_was_charged_and_lost_counts(tmp_path: Path) -> None:
    """Two rounds that three releases were charged for cost what three rounds cost: nobody knows who saw the third."""
    home = ServerHome(tmp_path)
    run = Runs(home.runs).add(trio(), [1, 2, 3], None, 1.0)
    simulation = prepare(trio(), checkpoint=run.checkpoint, engine="in-memory")
    with closing(simulation.rounds()) as rounds:
        rows = [next(rounds), next(rounds)]
    for row in rows:
        run.append({"round": row.number, "survived": 3, "seconds": 1.0, "metrics": dict(row.metrics)})
    run.end("stopped", "the budget", 3)
    found, whole = result(home, run.name), tacit.simulate(trio())
    assert found.rounds[-1].number == 2
    assert found.claims[0].epsilon == whole.claims[0].epsilon
    assert found.rounds[-1].epsilon == whole.rounds[-1].epsilon
    assert any("lost" in note for note in found.notes)


@pytest.mark.parametrize(
    ("participation", "told"), [({"use": "everyone"}, True), ({"use": "poisson", "rate": 0.9}, False)]
)
def test_times_and_counts_of_a_secret_draw_stay_with_the_operator(
    tmp_path: Path, participation: dict[str, object], told: bool
) -> None:
    """They tell how many owners were drawn, and amplification holds only where nothing published does (PRIVACY.md 1)."""
    config = parse(trio().to_toml(), {"rounds.participation": participation, "rounds.total": 1})
    home = ServerHome(tmp_path)
    run = Runs(home.runs).add(config, [1, 2, 3], None, 1.0)
    simulation = prepare(config, checkpoint=run.checkpoint, engine="in-memory")
    for row in simulation.rounds():
        run.append({"round": row.number, "survived": 2, "seconds": 4.5, "metrics": dict(row.metrics)})
    run.end("done", "", 1)
    found = result(home, run.name).to_json()
    assert (found["timing"]["seconds"] == found["rounds"][0]["seconds"] == 4.5) == told
    assert ("4.5" in dumps(found)) == told
    assert ("owners a second" in report(found, "again")) == told
    assert "survived" not in dumps(found)
