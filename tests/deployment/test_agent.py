"""The agent at its desk, without a network: a real folder, real identity, real ledger; what arrives and what goes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tacit.client.agent import Agent, AgentError
from tacit.client.approvals import Approvals
from tacit.client.enrolment import accept
from tacit.client.home import ClientHome
from tacit.client.identity import make_keys, recorded
from tacit.client.node import ClosedError
from tacit.commands.main import execute
from tacit.config import parse
from tacit.privacy.ledger.errors import AllowanceError, LedgerError, RollbackError
from tacit.privacy.ledger.store import Store
from tacit.server.enrolment import office
from tacit.server.founding import found
from tacit.server.registry import Registry
from tacit.server.runs import Runs, RunsError
from tacit.simulation.permission import asset_text, policy_text
from tacit.strategies import admission
from tacit.strategies.codec import CodecError
from tacit.strategies.federation import build, learner_for
from tacit.strategies.messages import Reply, Request, reply_from

TEXT = """
task = { use = "digits", model = "softmax" }
population = { owners = 3 }
rounds = { total = 3, participation = { use = "everyone" }, quorum = 1.0 }
local = { use = "sgd", lr = 1.0 }
budget = { observer = "analyst", epsilon = 50.0 }

[privacy]
delta = 0.01
pipeline = [{ stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }]
"""
FEDERATION = build(parse(TEXT))
WEIGHTS = learner_for(FEDERATION.task, 0).weights()


def enrolled(root: Path, host: str, settings: str) -> ClientHome:
    """The folder of an owner of a coordinator at `host`."""
    server, home = found(root / "server", host, f"{host}:1", f"{host}:2", 1.0).home, ClientHome(root / "agent")
    keys = make_keys(home)
    with Registry(server.registry) as registry:
        desk = office(server, registry)
        token = desk.invite("ward-3", 60.0)
        admitted = desk.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())
        accept(admitted, desk.authority.pem().decode(), token, home, desk.clock())
    home.settings_file.write_text(settings)
    return home


def settings(*further: str) -> str:
    policy, tasks = policy_text(FEDERATION, seeded=False).split("\n\n", 1)
    return "\n".join([policy, *further, "", tasks, asset_text(FEDERATION.config, "population:0/3")])


def request(round: int = 1, attempt: int = 0) -> Request:
    return Request("first", round, attempt, 0, FEDERATION.recipe(FEDERATION.pipeline), WEIGHTS)


def asked(agent: Agent, of: Request) -> Reply:
    return reply_from(agent.handle(of.to_bytes()))


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    return enrolled(tmp_path, "fl.example.org", settings())


@pytest.fixture
def agent(home: ClientHome) -> Iterator[Agent]:
    with closing(Agent(home)) as made:
        yield made


def charges(home: ClientHome) -> int:
    with Store(home.ledgers / "share.sqlite", "share") as ledger:
        return len(ledger.spent().records())


def test_the_same_request_has_the_same_reply_for_one_charge(agent: Agent, home: ClientHome) -> None:
    first, again = agent.handle(request().to_bytes()), agent.handle(request().to_bytes())
    assert first == again
    assert reply_from(first).status == "ok"
    assert charges(home) == 1


def test_a_restarted_agent_sends_what_it_had_made(agent: Agent, home: ClientHome) -> None:
    first = agent.handle(request().to_bytes())
    agent.close()
    with closing(Agent(home)) as restarted:
        assert restarted.handle(request().to_bytes()) == first
    assert charges(home) == 1


def test_another_attempt_is_charged_again(agent: Agent, home: ClientHome) -> None:
    assert asked(agent, request()).status == asked(agent, request(attempt=1)).status == "ok"
    assert charges(home) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda recipe: replace(recipe, pipeline=recipe.pipeline[:1]), "stages"),
        (lambda recipe: replace(recipe, pipeline=()), "stages"),
        (lambda recipe: replace(recipe, least=1), "cohort"),
        (lambda recipe: replace(recipe, terms=replace(recipe.terms, task={"use": "topics"})), "task"),
        (lambda recipe: replace(recipe, terms=replace(recipe.terms, task={"use": "os:system"})), "task"),
        (lambda recipe: replace(recipe, terms=replace(recipe.terms, code="tacit 0")), "code"),
    ],
)
def test_a_malicious_coordinator_gets_a_typed_refusal(
    agent: Agent, home: ClientHome, change: Callable[..., object], code: str
) -> None:
    asking = request()
    reply = asked(agent, replace(asking, recipe=change(asking.recipe)))  # type: ignore[arg-type]  # as the table has it
    assert (reply.status, reply.code, reply.total) == ("refused", code, None)
    assert charges(home) == 0


def test_another_owners_request_and_another_model_are_refused(agent: Agent, home: ClientHome) -> None:
    assert asked(agent, replace(request(), owner=1)).code == "address"
    assert asked(agent, replace(request(), weights=torch.zeros(7))).code == "model"
    assert charges(home) == 0


TWO = """
[policy]
unit = "owner"
relation = "add-remove"
observer = "analyst"
colluders = 0
smallest_cohort = 3
epsilon = 20.0
delta = 0.01
concurrency = 1

[[policy.tasks]]
use = "digits"
options = { model = "softmax" }

[[policy.tasks]]
use = "digits"
options = { model = "mlp" }

[assets.share]
task = "digits"
source = "population:0/3"
"""


def test_two_option_rows_of_one_task_are_two_models_on_one_asset_and_one_ledger(tmp_path: Path) -> None:
    """Each request is worked with the model that it names, in one run too; the ledger adds them up."""
    home = enrolled(tmp_path, "fl.example.org", TWO)
    other = build(parse(TEXT.replace('model = "softmax"', 'model = "mlp"')))
    weights = learner_for(other.task, 0).weights()
    mlp = replace(request(round=2), recipe=other.recipe(other.pipeline), weights=weights)
    with closing(Agent(home)) as agent:
        lengths = []
        for each in (request(), mlp, replace(request(), round=3)):
            reply = asked(agent, each)
            assert reply.total is not None
            lengths.append(len(reply.total))
        assert lengths == [len(WEIGHTS), len(weights), len(WEIGHTS)]
        assert asked(agent, replace(mlp, run="x", weights=WEIGHTS)).code == "model"
    assert charges(home) == 3


def test_one_run_at_a_time_where_the_policy_says_so(tmp_path: Path) -> None:
    home = enrolled(tmp_path, "fl.example.org", TWO)
    with closing(Agent(home)) as agent:
        assert asked(agent, request()).status == "ok"
        second = replace(request(), run="second")
        assert asked(agent, second).code == "busy"
        assert asked(agent, request(round=2)).status == asked(agent, request(round=3)).status == "ok"
        assert asked(agent, second).status == "ok"  # the first one has had its last round
    assert charges(home) == 4


def test_its_owner_sees_what_each_asset_has_cost(agent: Agent) -> None:
    before = agent.status()["assets"]["share"]
    asked(agent, request())
    after = agent.status()["assets"]["share"]
    assert (before["charges"], before["epsilon"], before["used"]) == (0, 0.0, 0.0)
    assert (after["charges"], after["runs"]) == (1, 1)
    assert 0 < after["used"] < 1
    assert 0 < after["epsilon"] < after["limit"]


def test_what_is_no_request_is_dropped(agent: Agent) -> None:
    with pytest.raises(CodecError):
        agent.handle(b"PK\x03\x04 a bundle")


def test_pause_outlives_a_restart(agent: Agent, home: ClientHome) -> None:
    agent.pause()
    agent.close()
    with closing(Agent(home)) as restarted:
        assert restarted.paused
        restarted.resume()
        assert not restarted.paused


def test_a_lost_ledger_is_never_made_anew(agent: Agent, home: ClientHome) -> None:
    asked(agent, request())
    agent.close()
    for file in home.ledgers.iterdir():
        file.unlink()
    with pytest.raises(LedgerError, match="no ledger"):
        Agent(home)


def test_an_older_ledger_stops_the_agent_and_a_later_one_does_not(agent: Agent, home: ClientHome) -> None:
    asked(agent, request())
    agent.close()
    ledger = home.ledgers / "share.sqlite"
    older = ledger.read_bytes()
    with closing(Agent(home)) as again:
        asked(again, request(2))
    newer = ledger.read_bytes()
    ledger.write_bytes(older)
    with pytest.raises(RollbackError, match="its anchor held"):
        Agent(home)
    ledger.write_bytes(newer)
    with closing(Agent(home)) as again:
        assert asked(again, request(3)).status == "ok"


def test_a_policy_s_file_alone_raises_no_budget(agent: Agent, home: ClientHome) -> None:
    agent.close()
    text = home.settings_file.read_text()
    home.settings_file.write_text(re.sub("^epsilon = .*$", "epsilon = inf", text, flags=re.MULTILINE))
    with pytest.raises(AllowanceError, match=f"tacit ledger allow share --dir {re.escape(str(home.root))}$"):
        Agent(home)
    home.settings_file.write_text(text)
    with closing(Agent(home)) as again:
        assert asked(again, request()).status == "ok"


def test_every_charge_is_noted_for_the_coordinator_that_it_was_made_for(agent: Agent, home: ClientHome) -> None:
    asked(agent, request())
    (key,) = {each.reserved.server for desk in agent._desks.values() for each in desk.store.spent().records()}
    assert key == recorded(home).key


def test_an_agent_stops_while_its_coordinator_is_away(tmp_path: Path) -> None:
    """Nobody answers at the address; without a stop it would wait for ever."""
    home = enrolled(tmp_path, "127.0.0.1", settings())
    with closing(Agent(home)) as agent, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.node)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        agent.stop()
        with pytest.raises(ClosedError):
            waiting.result(10)


def test_a_seed_is_for_loopback_only(home: ClientHome) -> None:
    with pytest.raises(AgentError, match="loopback"):
        Agent(home, seed=1)


def test_a_person_approves_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was refused for want of an approval passes after it, under the same name, and nothing else does."""
    home = enrolled(tmp_path, "fl.example.org", settings("approve_first = true"))
    with closing(Agent(home)) as agent:
        assert asked(agent, request()).code == "approval"
        assert charges(home) == 0
        assert execute(["client", "approve", "--dir", str(home.root)]) == 0
        assert "pending" in capsys.readouterr().out
        assert execute(["client", "approve", "first", "--yes", "--dir", str(home.root)]) == 0
        assert "epsilon" in capsys.readouterr().out
        assert asked(agent, request()).status == "ok"
        assert execute(["client", "approve", "first", "--deny", "--yes", "--dir", str(home.root)]) == 0
        assert asked(agent, request(round=2)).code == "denied"
        assert Approvals(home.pending).all()[0].verdict == "denied"
    assert execute(["client", "approve", "other", "--yes", "--dir", str(home.root)]) == 2


def test_runs_are_worked_off_in_order_and_only_a_failed_one_again(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    first, second = (runs.add(FEDERATION.config, [3, 5], None, now) for now in (1.0, 2.0))
    assert runs.next() == first
    assert first.order().seats == (3, 5)
    assert first.config() == FEDERATION.config
    first.append({"round": 1})
    first.end("failed", "nobody came", 1)
    assert runs.next() == second
    first.again()
    assert runs.next() == first
    assert first.rows() == [{"round": 1}]
    first.end("done", "", 3)
    assert first.ended() == ("done", "", 3)
    with pytest.raises(RunsError, match="has not failed"):
        first.again()
    with pytest.raises(RunsError, match="no run is called"):
        runs.named("../first")
