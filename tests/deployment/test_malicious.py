"""A coordinator that means ill, over the real wire: its own keys, its own SuperLink and gateway, an agent of somebody else.

What it sends is answered by a typed refusal or by nothing. Nothing that came is imported, unpickled or run, nothing is charged,
and the owner's log says what was tried. The agent is the real one, on its own folder, with its own node, in a thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pickle
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.proto import message_pb2, recorddict_pb2, runtime_pb2
from tacit.client.agent import Agent
from tacit.client.enrolment import accept
from tacit.client.home import ClientHome
from tacit.client.identity import load, make_keys
from tacit.client.roster import approve, current, take
from tacit.client.turn import Circle, Turn
from tacit.client.worker import agreed
from tacit.config import parse
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.ledger.store import Store
from tacit.privacy.secagg.messages import Survivors
from tacit.server import flower
from tacit.server.enrolment import office
from tacit.server.flower import Channel, Letter, new_id, open_channel
from tacit.server.founding import found
from tacit.server.mail import Bell
from tacit.server.masked import Directory, MaskedRounds
from tacit.server.registry import Registry
from tacit.strategies import admission
from tacit.strategies.codec import MAGIC, CodecError
from tacit.strategies.federation import build, learner_for
from tacit.strategies.messages import Reply, Request, reply_from
from tacit.strategies.parcel import Parcel, opened, wrap
from tacit.strategies.roster import Entry, Roster, sign
from tacit.strategies.steps import Asked, Step, number_of

if TYPE_CHECKING:
    from conftest import Site

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
SETTINGS = """
[policy]
unit = "owner"
relation = "add-remove"
observer = "analyst"
colluders = 0
smallest_cohort = 3
epsilon = 8.0
delta = 0.01
clip = 0.3
noise_multiplier = 3.0
mask = {mask}
work = {{ numbers = 10000, rounds = 20, epochs = 2 }}

[[policy.tasks]]
use = "digits"
options = {{ model = "softmax" }}

[assets.share]
task = "digits"
source = "population:0/3"
"""
MASKS = """
    { stage = "clip", norm = 0.3 }, { stage = "central-gaussian", noise_multiplier = 3.0 }, { stage = "encode", bits = 40 },
    { stage = "mask" },
"""
FEDERATION = build(parse(TEXT))
MASKED = build(
    parse(TEXT[: TEXT.index("pipeline")] + f"pipeline = [{MASKS}]", {"population.owners": 5, "rounds.quorum": 0.8})
)
HELPERS, STRANGERS = range(1, 5), range(5, 9)  # owners on the coordinator's side, and owners whom nobody approved
WEIGHTS = learner_for(FEDERATION.task, 0).weights()
CLIP, NOISE = FEDERATION.recipe(FEDERATION.pipeline).pipeline
HONEST = Request("honest", 1, 0, 0, FEDERATION.recipe(FEDERATION.pipeline), WEIGHTS)

# What no message may make the agent's process do, as Python's audit events name it.
RUNS = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
seen: list[str] = []
watching = threading.Event()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching.is_set() and (event in RUNS or (event == "import" and "canary" in str(arguments[0]))):
        seen.append(f"{event} {arguments!r}"[:200])


sys.addaudithook(_watch)


@dataclass
class Victim:
    """An agent at work, the node that it is, and the channel of the coordinator that asks it."""

    site: Site
    agent: Agent
    home: ClientHome
    owner: int
    channel: Channel
    probes: int = 0

    def charges(self) -> int:
        with Store(self.home.ledgers / "share.sqlite", "share") as ledger:
            return len(ledger.spent().records())

    def send(self, parcel: Parcel) -> str:
        """The id of a message that the SuperLink took for the agent."""
        self.site.pieces.publish({name.hex(): piece for name, piece in zip(parcel.names, parcel.pieces, strict=True)})
        letter = Letter(new_id(), self.site.nodes[self.owner], parcel.letter)
        assert self.channel.post([letter], 60.0, 20.0) == {letter.id}
        Bell(self.site.folder / "bell").ring([letter.node])
        return letter.id

    def send_raw(self, kind: str, content: recorddict_pb2.RecordDict) -> str:
        """As `send`, for a message that Tacit would never write."""
        node, id = self.site.nodes[self.owner], new_id()
        metadata = message_pb2.Metadata(
            run_id=self.channel._run, message_id=id, src_node_id=1, dst_node_id=node, ttl=60.0, message_type=kind,
            created_at=time.time(),
        )  # fmt: skip
        message = message_pb2.Message(metadata=metadata, content=content)
        trees = [message_pb2.ObjectTree(object_id=id)]
        asked = runtime_pb2.PushAppMessagesRequest(messages_list=[message], message_object_trees=trees)
        assert set(self.channel._client.PushMessages(asked).message_ids) == {id}
        Bell(self.site.folder / "bell").ring([node])
        return id

    def replies(self, *ids: str) -> list[Reply]:
        """All replies to the messages `ids`, once the last of them was answered; requests are answered in order."""
        found: dict[str, Reply] = {}
        until = time.monotonic() + 20
        while ids[-1] not in found:
            for arrival in self.channel.collect([id for id in ids if id not in found], 5.0):
                assert not arrival.error
                names, frame = opened(arrival.letter, 1 << 30)
                assert not names
                found[arrival.answers] = reply_from(frame)
            assert time.monotonic() < until
            time.sleep(0.01)
        return [found[id] for id in ids if id in found]

    def ask(self, request: Asked) -> Reply:
        return self.replies(self.send(wrap(request.to_bytes(), 1 << 16)))[0]

    def ignores(self, id: str) -> None:
        """The message `id` gets no answer, and the agent lives on: it answers what comes after it."""
        self.probes += 1
        probe = replace(HONEST, run=f"probe-{self.probes}", owner=1)
        (reply,) = self.replies(id, self.send(wrap(probe.to_bytes(), 1 << 16)))
        assert (reply.run, reply.code) == (probe.run, "address")


@contextlib.contextmanager
def victim(site: Site, folder: Path, owner: int, mask: bool) -> Iterator[Victim]:
    # A life of masked attempts, each of which is charged, takes more than the few requests of the other one.
    settings = SETTINGS.format(mask=str(mask).lower())
    home = enrolled(folder, settings.replace("epsilon = 8.0", "epsilon = inf") if mask else settings)
    channel, _ = open_channel(site.address, folder / "channel.json", 20.0)
    with closing(Agent(home)) as agent:
        node = site.node(owner, largest=8 * 10_000 + (2 << 20))  # as the agent's own would have it
        thread = threading.Thread(target=agent.work, args=(node,))
        thread.start()
        try:
            yield Victim(site, agent, home, owner, channel)
            assert thread.is_alive()
        finally:
            agent.stop()
            thread.join(20)
            node.close()
            channel.finish()


def signer(index: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([index]) * 32)


def public(index: int) -> bytes:
    return signer(index).public_key().public_bytes_raw()


def enrolled(root: Path, settings: str) -> ClientHome:
    server = found(root / "server", "fl.example.org", "fl.example.org:1", "fl.example.org:2", 1.0).home
    home = ClientHome(root / "agent")
    keys = make_keys(home)
    with Registry(server.registry) as registry:
        desk = office(server, registry)
        token = desk.invite("ward-3", 60.0)
        admitted = desk.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())
        identity = accept(admitted, desk.authority.pem().decode(), token, home, desk.clock())
        others = tuple(Entry(index + 1, f"owner-{index}", public(index)) for index in (*HELPERS, *STRANGERS))
        take(identity, sign(Roster(identity.pin, 99, (identity.entry, *others)), desk.signing_key))
        for index in HELPERS:  # its administrator took them for honest
            approve(identity, f"owner-{index}", others[index - 1].fingerprint)
    home.settings_file.write_text(settings)
    return home


@pytest.fixture(scope="module")
def strict(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """An agent that has answered one honest request, so that nothing it needs for one is imported later."""
    with victim(site, tmp_path_factory.mktemp("strict"), 0, mask=False) as made:
        assert made.ask(HONEST).status == "ok"
        yield made


@pytest.fixture(scope="module")
def masked(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with victim(site, tmp_path_factory.mktemp("masked"), 1, mask=True) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_runs() -> Iterator[None]:
    """Law of this file: whatever a test sends, no message makes the process load or start anything."""
    seen.clear()
    watching.set()
    yield
    watching.clear()
    assert seen == []


def pipeline(*rows: dict[str, Any]) -> Callable[[Request], Request]:
    return lambda honest: replace(honest, recipe=replace(honest.recipe, pipeline=rows))


def terms(**changes: Any) -> Callable[[Request], Request]:
    def changed(honest: Request) -> Request:
        return replace(honest, recipe=replace(honest.recipe, terms=replace(honest.recipe.terms, **changes)))

    return changed


def recipe(**changes: Any) -> Callable[[Request], Request]:
    return lambda honest: replace(honest, recipe=replace(honest.recipe, **changes))


def request(**changes: Any) -> Callable[[Request], Request]:
    return lambda honest: replace(honest, **changes)


ATTACKS: dict[str, tuple[Callable[[Request], Request], str]] = {
    "no clip": (pipeline(NOISE), "recipe"),
    "a larger norm": (pipeline({**CLIP, "norm": 3.0}, NOISE), "clip"),
    "no noise": (pipeline(CLIP), "noise"),
    "a tenth of the noise": (pipeline(CLIP, {**NOISE, "noise_multiplier": 0.3}), "noise"),
    "noise before the clip": (pipeline(NOISE, CLIP), "recipe"),
    "no pipeline": (pipeline(), "clip"),
    "an unknown stage": (pipeline(CLIP, NOISE, {"stage": "os:system", "command": "id"}), "recipe"),
    "a stage with another key": (pipeline({**CLIP, "__class__": "os.system"}, NOISE), "recipe"),
    "a norm as text": (pipeline({**CLIP, "norm": "__import__('canary')"}, NOISE), "recipe"),
    "another unit": (recipe(solver={"use": "clipped-gradient", "norm": 0.3, "denominator": 20}), "unit"),
    "another relation": (terms(relation="zero-out"), "relation"),
    "a smaller cohort": (recipe(least=1), "cohort"),
    "an impossible cohort": (recipe(least=5, most=4), "recipe"),
    "an enormous cohort": (recipe(most=1 << 61), "recipe"),
    "an unlisted task": (terms(task={"use": "topics"}), "task"),
    "a listed task with other options": (terms(task={"use": "digits", "model": "mlp"}), "task"),
    "a task to import": (terms(task={"use": "canary:task"}), "task"),
    "a task in a folder": (terms(task={"use": "../../canary:task"}), "task"),
    "another code version": (terms(code="tacit 0"), "code"),
    "more rounds than permitted": (terms(rounds=21), "rounds"),
    "an enormous number of rounds": (terms(rounds=(1 << 53) - 1), "rounds"),
    "a round after the last": (request(round=4), "address"),
    "round zero": (request(round=0), "address"),
    "more attempts than permitted": (request(attempt=3), "rounds"),
    "an enormous attempt": (request(attempt=(1 << 62) - 1), "rounds"),
    "an unknown participation": (terms(participation={"use": "canary:draw"}), "rounds"),
    "another owner's request": (request(owner=1), "address"),
    "a smaller model": (request(weights=torch.zeros(7)), "model"),
    "a larger model": (request(weights=torch.zeros(9999)), "model"),
    "a broadcast nobody asked for": (request(broadcast=torch.zeros(5)), "model"),
    "an unknown solver": (recipe(solver={"use": "canary:train"}), "recipe"),
    "an unknown algorithm": (recipe(algorithm={"use": "subprocess:run"}), "recipe"),
    "endless work": (recipe(solver={"use": "sgd", "lr": 1.0, "epochs": 10**9}), "work"),
    "a number beyond floats": (recipe(solver={"use": "sgd", "lr": 10**400}), "recipe"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_the_policy_forbids_is_refused_by_its_code(
    strict: Victim, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, code = ATTACKS[name]
    before = strict.charges()
    asked = change(replace(HONEST, run=f"attack: {name}"))
    reply = strict.ask(asked)
    assert (reply.status, reply.code, reply.total, reply.payload) == ("refused", code, None, None)
    assert reply.run == asked.run
    assert strict.charges() == before
    assert f"({code})" in caplog.text
    assert name in caplog.text


def test_a_runs_name_is_no_path(strict: Victim) -> None:
    outside = strict.home.root.parent / "canary"
    assert strict.ask(replace(HONEST, run=f"../../{outside.name}")).status == "ok"
    assert strict.ask(replace(HONEST, run=str(outside))).status == "ok"
    assert not list(strict.home.root.parent.rglob("*canary*"))


NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 62, 10**400, -0.0, 1e-320, 1e308, "", "canary:x", "NaN", "\n\x1b[2J", [], [[]], {}, {"use": "x"},
    {"stage": "canary"},
)  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of JSON."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from leaves(each, (*path, key))


def test_any_value_anywhere_in_a_request_is_refused_dropped_or_within_the_policy(strict: Victim) -> None:
    """Every place of a request's header with every value that breaks programs: one by one, the agent stays on its feet."""
    frame = HONEST.to_bytes()
    size = int.from_bytes(frame[8:12], "little")
    header = json.loads(frame[12 : 12 + size])
    tried = 0
    for path in leaves(header):
        for value in NASTY:
            changed = json.loads(json.dumps(header))
            changed["header"]["run"] = f"fuzz {tried}"
            place = changed
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            text = json.dumps(changed).encode()
            tried += 1
            with contextlib.suppress(CodecError):
                reply = reply_from(
                    strict.agent.handle(MAGIC + len(text).to_bytes(4, "little") + text + frame[12 + size :])
                )
                assert reply.status in ("ok", "refused")
                assert (reply.total is not None) == (reply.status == "ok")
    assert tried > 500


def test_without_masks_nothing_leaves_where_the_policy_demands_them(masked: Victim) -> None:
    before = masked.charges()
    reply = masked.ask(HONEST)
    assert (reply.status, reply.code, reply.total, reply.payload) == ("refused", "mask", None, None)
    assert masked.charges() == before


@dataclass
class Plot:
    """A masked attempt in which everybody but the agent (wire number 0) is on the coordinator's side."""

    victim: Victim
    run: str
    round: int = 1
    attempt: int = 0

    def __post_init__(self) -> None:
        identity = load(self.victim.home, time.time())
        keys = {0: identity.entry.key, **{index: public(index) for index in HELPERS}}
        blank = Request(self.run, self.round, self.attempt, 0, MASKED.recipe(MASKED.pipeline), WEIGHTS)
        directory = Directory(current(identity).digest().hex(), lambda owner: owner, keys.__getitem__)
        phases = MaskedRounds(lambda: directory)(tuple(replace(blank, owner=o) for o in keys), 1.0, MASKED.pipeline)
        self.phases, self.phase = phases, next(phases)
        plan = agreed(blank, learner_for(MASKED.task, 0))
        self.turns = {
            asked.owner: Turn(
                asked, plan, Circle(asked.owner, keys, frozenset(keys), signer(asked.owner)), SeededEntropy(1),
                lambda: torch.zeros(len(WEIGHTS), dtype=torch.int64),
            )
            for asked in self.phase.requests
            if isinstance(asked, Request) and asked.owner
        }  # fmt: skip

    @property
    def asked(self) -> Any:
        """What the agent is asked next."""
        return next(asked for asked in self.phase.requests if asked.owner == 0)

    def until(self, number: int) -> Plot:
        """Everybody does as is due, until step `number` is to be asked for."""
        while number_of(self.asked) != number:
            replies = [self.victim.ask(self.asked)]
            assert replies[0].status == "ok", replies
            for asked in self.phase.requests:
                if asked.owner:
                    turn = self.turns[asked.owner]
                    replies.append(turn.begin() if isinstance(asked, Request) else turn.take(asked))
            self.phase = self.phases.send(replies)
        return self

    def survivors(self, *members: int) -> Any:
        """Step 5 with other survivors."""
        return replace(self.asked, payload=Survivors(members).to_bytes(self.asked.payload[5:37]))


Asks: TypeAlias = Callable[[Plot], "list[Asked]"]


def elsewhere(**where: Any) -> Asks:
    """The same step of another attempt that the agent takes part in, in this one's name."""

    def asks(plot: Plot) -> list[Asked]:
        given = {"run": plot.run, "round": plot.round, "attempt": plot.attempt, **where}
        other = Plot(plot.victim, **given)
        if where.get("run"):
            other.until(number_of(plot.asked))
        else:  # a later attempt of the same run would end this one: it is made up among the others
            return [replace(plot.asked, payload=plot.asked.payload[:5] + bytes(32) + plot.asked.payload[37:])]
        return [replace(plot.asked, payload=other.asked.payload)]

    return asks


STEPS: dict[str, tuple[int, Asks]] = {
    "a directory of another run": (2, elsewhere(run="elsewhere 2")),
    "a directory of another attempt": (2, elsewhere(attempt=1)),
    "a changed directory": (2, lambda plot: [flipped(plot.asked, 60)]),
    "a directory that ends early": (2, lambda plot: [replace(plot.asked, payload=plot.asked.payload[:-1])]),
    "a directory with more behind it": (2, lambda plot: [replace(plot.asked, payload=plot.asked.payload + b"\0")]),
    "shares before keys": (2, lambda plot: [replace(plot.asked, number=3)]),
    "the vector before keys": (2, lambda plot: [replace(plot.asked, number=4)]),
    "the opening before keys": (2, lambda plot: [replace(plot.asked, number=6)]),
    "shares of another run": (3, elsewhere(run="elsewhere 3")),
    "a verdict of another run": (4, elsewhere(run="elsewhere 4")),
    "a changed verdict": (4, lambda plot: [flipped(plot.asked, -1)]),
    "the opening before the vector": (4, lambda plot: [replace(plot.asked, number=6)]),
    "survivors of another run": (5, elsewhere(run="elsewhere 5")),
    "too few survivors": (5, lambda plot: [plot.survivors(0, 1, 2)]),
    "survivors without it": (5, lambda plot: [plot.survivors(1, 2, 3, 4)]),
    "survivors from nowhere": (5, lambda plot: [plot.survivors(0, 1, 2, 3, 9)]),
    "the opening before survivors": (5, lambda plot: [replace(plot.asked, number=6)]),
    "agreements of another run": (6, elsewhere(run="elsewhere 6")),
    "a changed agreement": (6, lambda plot: [flipped(plot.asked, 119)]),  # the first that is not its own
    "agreements that end early": (6, lambda plot: [replace(plot.asked, payload=plot.asked.payload[:-68])]),
    "two megabytes of nothing": (2, lambda plot: [replace(plot.asked, payload=bytes(2 << 20))]),
}


def flipped(asked: Any, at: int) -> Any:
    changed = bytearray(asked.payload)
    changed[at] ^= 1
    return replace(asked, payload=bytes(changed))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_not_due_or_not_true_ends_the_attempt(
    masked: Victim, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, and the true step after it too: nothing more leaves under this attempt, and no share at all."""
    at, asks = STEPS[name]
    plot = Plot(masked, f"plot: {name}").until(at)
    for wrong in asks(plot):
        reply = masked.ask(wrong)
        assert (reply.status, reply.code, reply.total, reply.payload) == ("refused", "mask", None, None)
    true = masked.ask(plot.asked)
    assert (true.status, true.total, true.payload) == ("refused", None, None)
    assert name in caplog.text


def test_whoever_agrees_on_survivors_opens_for_no_others(masked: Victim) -> None:
    """Two sets of survivors, to the same owner, one after the other; and signatures on the second under the first."""
    plot = Plot(masked, "plot: two sets").until(5)
    assert masked.ask(plot.survivors(0, 1, 2, 3)).status == "ok"
    other = masked.ask(plot.survivors(0, 1, 2, 4))
    assert (other.status, other.payload) == ("refused", None)
    plot = Plot(masked, "plot: signatures").until(5)
    assert masked.ask(plot.survivors(0, 1, 2, 3)).status == "ok"
    signed = [masked_reply for asked in plot.phase.requests if asked.owner for masked_reply in [
        plot.turns[asked.owner].take(asked)]]  # fmt: skip
    opened = plot.phases.send(signed).requests
    last = replace(plot.asked, number=6, payload=next(asked.payload for asked in opened if isinstance(asked, Step)))
    reply = masked.ask(last)
    assert (reply.status, reply.code, reply.payload) == ("refused", "mask", None)


def test_shares_are_shown_for_one_set_of_survivors(masked: Victim) -> None:
    plot = Plot(masked, "plot: twice").until(6)
    first = masked.ask(plot.asked)
    assert first.status == "ok"
    assert masked.ask(plot.asked).payload == first.payload  # the same bytes, the same answer
    other = masked.ask(flipped(plot.asked, -1))
    assert (other.status, other.payload) == ("refused", None)
    assert masked.ask(plot.asked).payload is None


def weaker(**row: Any) -> Callable[[Request], Request]:
    rows = MASKED.recipe(MASKED.pipeline).pipeline
    return pipeline(*rows[:-1], {**rows[-1], **row})


COHORTS: dict[str, tuple[Callable[[Request], Request], str]] = {
    "masks against an honest server only": (weaker(adversary="semi-honest"), "mask"),
    "a lower floor": (recipe(least=2), "cohort"),
    "strangers around it": (lambda honest: among(honest, 0, 1, 5, 6, 7), "mask"),
    "strangers only": (lambda honest: among(honest, 0, 5, 6, 7, 8), "mask"),
    "two of five strangers": (lambda honest: among(honest, 0, 1, 2, 5, 6), "mask"),
    "owners of no roster": (lambda honest: among(honest, 0, 1, 2, 3, 99), "roster"),
    "a cohort without it": (lambda honest: among(honest, 1, 2, 3, 4, 5), "mask"),
    "it alone": (lambda honest: among(honest, 0), "mask"),
    "another roster": (lambda honest: replace(honest, cohort=replace(honest.cohort, roster="ab" * 32)), "roster"),
    "no cohort": (request(cohort=None), "mask"),
}  # fmt: skip


def among(honest: Any, *members: int) -> Request:
    return replace(honest, cohort=replace(honest.cohort, members=members))


@pytest.mark.parametrize("name", COHORTS)
def test_a_cohort_that_protects_less_is_refused_before_it_is_charged(masked: Victim, name: str) -> None:
    change, code = COHORTS[name]
    before = masked.charges()
    reply = masked.ask(change(Plot(masked, f"cohort: {name}").asked))
    assert (reply.status, reply.code, reply.total, reply.payload) == ("refused", code, None, None)
    assert masked.charges() == before


def test_a_step_larger_than_any_request_is_not_taken(masked: Victim) -> None:
    plot = Plot(masked, "plot: giant").until(2)
    giant = wrap(replace(plot.asked, payload=bytes(8 << 20)).to_bytes(), 1 << 16)
    before = masked.charges()
    masked.ignores(masked.send(giant))
    assert masked.charges() == before
    assert masked.ask(plot.asked).status == "ok"  # and ends nothing: it was never read


def test_an_adaptive_norm_grows_only_as_far_as_the_policy_lets_it(strict: Victim) -> None:
    row = {"stage": "adaptive-clip", "norm": 0.2, "quantile": 0.5}
    first = pipeline(row, {**NOISE, "noise_multiplier": 20.0})(replace(HONEST, run="adaptive"))
    assert strict.ask(first).status == "ok"
    before = strict.charges()
    grown = pipeline({**row, "norm": 0.31}, {**NOISE, "noise_multiplier": 20.0})(replace(first, round=2))
    assert strict.ask(grown).code == "clip"
    cheaper = pipeline(row, {**NOISE, "noise_multiplier": 10.0})(replace(first, round=2))
    assert strict.ask(cheaper).code == "schedule"
    assert strict.charges() == before


def test_an_attempt_is_one_request_whatever_else_is_asked_under_its_number(strict: Victim) -> None:
    before = strict.charges()
    other = strict.ask(replace(HONEST, weights=WEIGHTS + 1))
    assert (other.status, other.code, other.total) == ("refused", "session", None)
    first, again = strict.ask(HONEST), strict.ask(HONEST)
    assert first.total is not None
    assert again.total is not None
    assert torch.equal(first.total, again.total)
    assert strict.charges() == before


def test_no_more_is_charged_than_the_life_of_the_asset_may_cost(strict: Victim) -> None:
    """Run after run, each within the policy, until the budget is gone; then nothing, under whatever name."""
    codes = []
    for run in range(100):
        for round in (1, 2, 3):
            codes.append(strict.ask(replace(HONEST, run=f"run-{run}", round=round)).code)
        if codes[-1]:
            break
    assert set(codes) == {"", "budget-life"}
    before = strict.charges()
    assert strict.ask(replace(HONEST, run="the last")).code == "budget-life"
    assert strict.charges() == before


class _Canary:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return __import__, ("canary",)


def bundle() -> bytes:
    """An app bundle as Flower's own nodes run it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pyproject.toml", flower._PROJECT.replace("tacit:none", "canary:app"))
        archive.writestr("canary.py", "raise SystemExit('this ran')")
    return file.getvalue()


def framed(header: object, rows: object = ()) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps({"header": header, "arrays": rows}).encode()
    return MAGIC + len(text).to_bytes(4, "little") + text


DEEP = b'{"header":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b',"arrays":[]}'
FRAMES: dict[str, bytes] = {
    "nothing": b"",
    "a bundle": bundle(),
    "a pickle": pickle.dumps(_Canary()),
    "a saved model": b"PK\x03\x04archive/data.pkl" + pickle.dumps(_Canary()),
    "a frame of another version": b"TACIT9\0\0" + b"\0" * 100,
    "a header of four gigabytes": MAGIC + b"\xff\xff\xff\xff{}",
    "a header that is cut": HONEST.to_bytes()[:200],
    "weights that are cut": HONEST.to_bytes()[:-4],
    "a byte too many": HONEST.to_bytes() + b"\0",
    "a header a hundred thousand deep": framed(DEEP),
    "an array of 2^62 numbers": framed({}, [["weights", "f4", 1 << 62]]),
    "an array of objects": framed({}, [["weights", "O", 1]]),
    "a hundred thousand arrays": framed({}, [[f"{n}", "f4", 0] for n in range(50_000)]),
    "a header that is a list": framed([]),
    "no JSON": framed(b"__import__('canary')"),
    "a norm that is no number": HONEST.to_bytes().replace(b'"norm":0.3', b'"norm":NaN'),
    "an infinite norm": HONEST.to_bytes().replace(b'"norm":0.3', b'"norm":1e999'),
    "a forged line in the log": HONEST.to_bytes().replace(b'"run":"honest"', b'"run":"a\\nb\\u2"'),
    "a reply": Reply("honest", 1, 0, (0,), "ok", torch.zeros(3)).to_bytes(),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_no_request_gets_no_answer(strict: Victim, name: str, caplog: pytest.LogCaptureFixture) -> None:
    before = strict.charges()
    strict.ignores(strict.send(wrap(FRAMES[name], 1 << 30)))
    assert strict.charges() == before
    assert "dropped" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


def config_record(**items: str | bytes) -> recorddict_pb2.RecordDict:
    pairs = [
        recorddict_pb2.ConfigRecord.Item(
            key=key,
            value=recorddict_pb2.ConfigRecordValue(bytes=value)
            if isinstance(value, bytes)
            else recorddict_pb2.ConfigRecordValue(string=value),
        )
        for key, value in items.items()
    ]
    record = recorddict_pb2.ConfigRecord(items=pairs)
    return recorddict_pb2.RecordDict(items=[recorddict_pb2.RecordDict.Item(key="tacit", config_record=record)])


RAW: dict[str, tuple[str, recorddict_pb2.RecordDict]] = {
    "a query": ("query", config_record(letter=wrap(HONEST.to_bytes(), 1 << 30).letter)),
    "an evaluation": ("evaluate", config_record(letter=wrap(HONEST.to_bytes(), 1 << 30).letter)),
    "a type that names code": ("train.canary", config_record(letter=wrap(HONEST.to_bytes(), 1 << 30).letter)),
    "code": ("train", config_record(code="import canary", clientapp="canary:app")),
    "a letter that is text": ("train", config_record(letter="import canary")),
    "an empty message": ("train", recorddict_pb2.RecordDict()),
    "a letter that is none": ("train", config_record(letter=b"\0" * 100)),
    "a letter that names 2^32 - 1 pieces": ("train", config_record(letter=b"TACITPL2\xff\xff\xff\xff")),
    "a letter with more pieces than permitted": (
        "train", config_record(letter=b"TACITPL2" + (3).to_bytes(4, "little") + b"\0" * 96),
    ),
    "a letter whose piece nobody has": (
        "train", config_record(letter=b"TACITPL2" + (1).to_bytes(4, "little") + b"\0" * 32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_a_message_of_flowers_own_is_dropped(strict: Victim, name: str, caplog: pytest.LogCaptureFixture) -> None:
    kind, content = RAW[name]
    before = strict.charges()
    strict.ignores(strict.send_raw(kind, content))
    assert strict.charges() == before
    assert "dropped" in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_the_bundle_of_a_run_is_never_asked_for(
    strict: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose bundle would run on any stock node: the agent answers its messages without a look at it."""
    monkeypatch.setattr(flower, "_bundle", bundle)
    channel, new = open_channel(strict.site.address, tmp_path / "channel.json", 20.0)
    try:
        assert new
        other = replace(strict, channel=channel)
        assert other.ask(replace(HONEST, run="bundle", owner=1)).code == "address"
    finally:
        channel.finish()


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tacit")
