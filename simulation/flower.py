"""Flower, its own runtimes: a ServerApp and a ClientApp for stock `flwr run`, over SuperNodes or Flower's simulation.

    serverapp = "tacit.simulation.flower:server"
    clientapp = "tacit.simulation.flower:client"

The rounds are those of `server.coordinator`, the owners those of `client.stock`. What such a run lacks, compared with Tacit's
own daemons, stands in docs/flower.md. Only public names of flwr are used (tests/simulation/test_flower_names.py).

| message | there                                        | back                          |
|---------|----------------------------------------------|-------------------------------|
| query   | nothing                                      | `owner`, and `of` how many    |
| train   | `frame`, `source` and, in a seeded run, `seed` | `frame`                     |
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from ..strategies.codec import CodecError

if TYPE_CHECKING:
    from torch import Tensor

    from ..strategies.messages import Reply
    from ..strategies.steps import Asked

log = logging.getLogger("flwr.tacit")  # below Flower's own, so that `flwr log` shows it

server = ServerApp()
client = ClientApp()

_TICK = 0.1  # seconds between two looks for replies


class RollError(RuntimeError):
    """The owners of a run are not all there, or two nodes say that they are the same one."""


@server.main()
def serve(grid: Grid, context: Context) -> None:
    """One run. Raises, so that Flower calls it failed, whatever `simulation.stock` raises, and `RollError`."""
    from ..strategies.federation import Federation
    from ..tasks.source import Population
    from .stock import order_from, perform, prepared

    order = order_from(context.run_config)
    federation: Federation = prepared(order)
    owners = federation.population
    source = str(Population(0, owners, order.seed or 0, federation.partition))
    transport = OverGrid(grid, roll(grid, owners, order.wait), source, order.seed)
    name = f"{order.config.name or 'run'}-{context.run_id}"
    run = perform(order, federation, name, transport)
    log.info(
        "%s; the run is in %s", ", ".join(f"{k} {v:.4g}" for k, v in run.rounds[-1].metrics.items()), order.folder.path
    )


@client.query()
def present(message: Message, context: Context) -> Message:
    """Which owner this node is."""
    of = context.node_config.get("num-partitions", 0)
    record = ConfigRecord({"owner": _owner(context), "of": of if isinstance(of, int) else 0})
    return Message(RecordDict({"tacit": record}), reply_to=message)


@client.train()
def train(message: Message, context: Context) -> Message:
    """One contribution, or a refusal; whatever this raises, Flower passes on as an error without its text."""
    from ..client.stock import Guarded, Share

    frame, owner = _frame(message.content), _owner(context)
    with_it = message.content.config_records["tacit"]
    seed, source = with_it.get("seed"), with_it.get("source")
    number = seed if isinstance(seed, int) else None
    folder = context.node_config.get("agent")
    if folder is not None:
        reply = Guarded(owner, Path(str(folder))).answer(frame, number)
    else:
        reply, memory = Share(owner).answer(frame, str(source), number, _memory(context))
        if memory is not None:
            context.state["memory"] = ArrayRecord({"memory": Array(memory.cpu().numpy())})
    return Message(_content(reply), reply_to=message)


def roll(grid: Grid, owners: int, wait: float) -> dict[int, int]:
    """The node of each owner from 0, once all are there. Raises `RollError`: after `wait` seconds, or at once."""
    until = time.monotonic() + wait
    asked: set[int] = set()
    letters: set[str] = set()
    known: dict[int, int] = {}  # node of an owner
    fault = ""
    while len(known) < owners:
        new = [node for node in grid.get_node_ids() if node not in asked]
        asked.update(new)
        if new:
            sent = [Message(RecordDict(), node, MessageType.QUERY, ttl=wait + 1) for node in new]
            letters.update(grid.push_messages(sent))
        for reply in grid.pull_messages(letters) if letters else ():
            letters.discard(reply.metadata.reply_to_message_id)
            if reply.has_error():
                fault = f"; a node failed: {reply.error.reason}"
                continue
            owner = _numbered(reply, owners)
            if owner in known:
                raise RollError(f"two nodes say that they are owner {owner}; give each SuperNode its own partition-id")
            known[owner] = reply.metadata.src_node_id
        if time.monotonic() > until:
            missing = sorted(set(range(owners)) - set(known))
            raise RollError(
                f"{len(known)} of {owners} owners came within {wait:g} s, without {str(missing[:10])[1:-1]}; start a SuperNode "
                f"with --node-config 'partition-id=K num-partitions={owners}' for each, or set population.owners{fault}"
            )
        time.sleep(_TICK)
    return known


def _numbered(reply: Message, owners: int) -> int:
    record = reply.content.config_records["tacit"]
    owner, of = record["owner"], record["of"]
    if not isinstance(owner, int) or not 0 <= owner < owners or of not in (0, owners):
        raise RollError(
            f"a node says that it is owner {owner!r} of {of!r}, but population.owners = {owners}; set partition-id, "
            f"num-partitions (or num-supernodes) and population.owners alike"
        )
    return owner


def exchange(grid: Grid, sent: Sequence[Message], wait: float) -> Iterator[Message]:
    """What comes back within `wait` seconds. Flower's own loop looks only every third second."""
    until = time.monotonic() + wait
    letters = set(grid.push_messages(sent)) if sent else set()
    while letters:
        for reply in grid.pull_messages(letters):
            letters.discard(reply.metadata.reply_to_message_id)
            yield reply
        if time.monotonic() > until:
            return
        if letters:
            time.sleep(_TICK)


@dataclass(frozen=True, slots=True)
class OverGrid:
    """Transport over a Flower grid: `nodes` are those of the owners; `source` and `seed` go with every request."""

    grid: Grid = field(repr=False)
    nodes: Mapping[int, int]
    source: str
    seed: int | None

    def gather(self, requests: Sequence[Asked], deadline: float) -> list[Reply]:
        """Every reply that arrives within `deadline` seconds; an error of Flower's is the reply of an owner that failed."""
        from ..strategies.messages import Reply, reply_from

        extra: dict[str, str | int] = {"source": self.source}
        extra |= {} if self.seed is None else {"seed": self.seed}
        sent = [
            Message(_content(each.to_bytes(), extra), self.nodes[each.owner], MessageType.TRAIN, ttl=max(1.0, deadline))
            for each in requests
        ]
        asked = {self.nodes[each.owner]: each for each in requests}
        replies: list[Reply] = []
        for message in exchange(self.grid, sent, deadline):
            request = asked.get(message.metadata.src_node_id)
            if request is None:
                continue
            if message.has_error():
                where = (request.run, request.round, request.attempt, (request.owner,))
                replies.append(Reply(*where, "failed", reason=message.error.reason or "it failed"))
                continue
            try:
                reply = reply_from(_frame(message.content))
            except CodecError as error:
                log.warning("owner %d: a reply that cannot be read: %s", request.owner, error)
                continue
            if reply.owners == (request.owner,):
                replies.append(reply)
        return replies


def _owner(context: Context) -> int:
    """Which owner a node is; raises `RollError` where its configuration does not say."""
    owner = context.node_config.get("partition-id")
    if isinstance(owner, bool) or not isinstance(owner, int) or owner < 0:
        raise RollError(
            f"partition-id = {owner!r}; start the SuperNode with --node-config 'partition-id=K num-partitions=N'"
        )
    return owner


def _memory(context: Context) -> Tensor | None:
    """What the owner remembers of the run's earlier rounds."""
    import torch

    found = context.state.array_records.get("memory")
    return None if found is None else torch.from_numpy(found["memory"].numpy().copy())


def _content(frame: bytes, extra: Mapping[str, str | int] | None = None) -> RecordDict:
    """A frame as an array, because Flower sends arrays in pieces."""
    letter = ArrayRecord({"frame": Array(np.frombuffer(frame, dtype=np.uint8))})
    return RecordDict({"frame": letter, "tacit": ConfigRecord(dict(extra or {}))})


def _frame(content: RecordDict) -> bytes:
    """The frame in a message. Raises `CodecError`."""
    record = content.array_records.get("frame")
    if record is None or set(record) != {"frame"}:
        raise CodecError("a message without a frame")
    try:
        return record["frame"].numpy().tobytes()
    except (ValueError, TypeError) as error:
        raise CodecError(f"a frame that is no array ({error})") from error
