"""Cluster: a Ray cluster that is there already trains the shards of a simulation, and sends one sum for each.

Data goes to the cluster once, the model once a round. Shards and the order of their sums depend on the work alone, so a round
has the same bits on any number of machines, on one of them, and after one of them was lost in its middle: Ray has its shards
trained again elsewhere.

Ray is an extra (`tacit[cluster]`) and is loaded by whoever asks for a cluster.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..client.worker import Plan
from ..config import ConfigError
from .craft import Craft, CraftError, packed
from .hand import Opening, kept_by, owners_of
from .head import answers
from .population import FlatShares
from .remote import Bundle, Model, RemoteError, Sum, reduced, stamp, told, viewed
from .shards import Shard, alike, shard_total
from .work import Work

_REACH = 10.0  # seconds for the head to answer at all
_TELL = 120.0  # seconds for every node to load Tacit and the task
_LOOK = 10.0  # seconds without an answer after which the cluster itself is looked at
_AHEAD = 2  # shards that are out for each of the cluster's processors: enough that none waits for the next one
_RETRIES = 3  # that Ray makes of a shard whose machine or process was lost

_AGAIN = "resume the run, there or without --cluster"

# Ray reads these when it is loaded: no report to its makers, nothing of its own on the screen or among the output of --json.
_QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_LOG_TO_DRIVER": "0",
}


class ClusterError(RuntimeError):
    """A cluster cannot be had, or was lost; says what was found, and how to go on."""


@dataclass(slots=True)
class Cluster:
    """The cluster whose head listens at `address`, for the work that a run does again and again."""

    address: str
    work: Work = field(repr=False)
    nodes: int = 0
    processors: int = 0
    notes: tuple[str, ...] = ()
    _bundle: Any = field(default=None, repr=False)  # Ray's reference to the data, while this process takes part
    _task: Any = field(default=None, repr=False)  # Ray's handle of the function that nodes run
    _mine: bool = field(default=False, repr=False)  # this process took part in no cluster before
    _looked: float = field(default=-math.inf, repr=False)  # when the head answered last

    def __str__(self) -> str:
        nodes = f"{self.nodes} node{'s' if self.nodes > 1 else ''}"
        return f"{nodes} with {self.processors} CPUs of the cluster at {self.address}"

    def join(self) -> None:
        """Connect, look at every node, and put the data there.

        Raises `ConfigError` for what no cluster could do and where Ray is not installed, `ClusterError` for what this one
        cannot.
        """
        bundle = _bundled(self.work)
        ray = _ray()
        self._mine = _connected(ray, self.address)
        try:
            self._bundle = self._put(ray, bundle, f"--cluster {self.address}")
            self._task = ray.remote(num_cpus=1, max_retries=_RETRIES)(reduced)
            self._look(ray)
        except BaseException:
            self.close()
            raise

    def totals(self, work: Work, plan: Plan, shards: Sequence[Shard], memories: dict[int, Tensor]) -> Iterator[Tensor]:
        """The sums of the shards in their order; each is to be used before the next is asked for.

        Raises what `Work.total` raises, at the same group; `ClusterError` for a cluster that was lost.
        """
        if not alike(shards):
            for shard in shards:
                yield shard_total(work, plan, shard, memories)
            return
        if self._bundle is None:
            self.join()
        ray = _ray()
        first = shards[0][0][0]
        model = Model(Opening.of(first), first.weights.numpy(), first.broadcast.numpy())
        there = self._put(ray, model, f"round {first.round}")
        given = 0
        out: deque[Any] = deque()
        try:
            for taken, shard in enumerate(shards):
                while given < min(len(shards), taken + _AHEAD * self.processors):
                    owners = owners_of(shards[given])
                    out.append(self._task.remote(self._bundle, there, owners, kept_by(owners, memories)))
                    given += 1
                done = self._answer(ray, out.popleft(), first.round)
                if done.total is None:
                    yield shard_total(work, plan, shard, memories)
                else:
                    memories.update({owner: torch.from_numpy(kept.copy()) for owner, kept in done.memories.items()})
                    yield viewed(done.total)
        finally:
            for reference in out:
                ray.cancel(reference)

    def close(self) -> None:
        """Let the cluster go; it is joined again if there is more to do."""
        if self._mine:
            _ray().shutdown()
        self._bundle, self._task, self._mine = None, None, False

    def _put(self, ray: Any, value: Bundle | Model, where: str) -> Any:
        try:
            return ray.put(value)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"{where}: the cluster at {self.address} does not take the data ({_line(error)}); "
                "start its nodes with more --object-store-memory"
            ) from error

    def _look(self, ray: Any) -> None:
        """Have every node that has processors load Tacit and the task, and take note of what there is."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        found = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1}
        asked = {
            ray.remote(num_cpus=0, max_retries=0)(told)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(self._bundle): node
            for node in found
        }
        silent = self._waited(ray, list(asked), _TELL, f"--cluster {self.address}")
        names = {node: f"node {each['NodeManagerAddress']} ({node[:8]})" for node, each in found.items()}
        if silent:
            raise ClusterError(
                f"{names[asked[silent[0]]]} did not start within {_TELL:.0f} s; look at `ray status`, or take it out"
            )
        processors: dict[str, list[str]] = {}
        for reference, node in asked.items():
            try:
                said = ray.get(reference)
            except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
                del found[node]  # it was lost, and the head does not know yet
                continue
            except ray.exceptions.RayError as error:
                raise ClusterError(
                    f"{names[node]} cannot run Tacit: {_line(error)}; install Tacit {stamp().version} there"
                ) from error
            if said["why"]:
                remedy = "install the same on every node, the task's code included, or let all see its folder"
                raise ClusterError(f"{names[node]} cannot do this work: {said['why']}; {remedy}")
            processors.setdefault(said["processor"], []).append(names[node])
        if not found:
            raise ClusterError(f"the cluster at {self.address} has no CPUs; start a node with `ray start --num-cpus N`")
        self.nodes, self.processors = len(found), int(sum(each["Resources"]["CPU"] for each in found.values()))
        if len(processors) > 1:
            kinds = ", ".join(f"{kind} ({len(nodes)})" for kind, nodes in sorted(processors.items()))
            self.notes = (
                f"the cluster's processors differ ({kinds}): float32 sums may have other last bits elsewhere",
            )

    def _waited(self, ray: Any, references: list[Any], seconds: float, where: str) -> list[Any]:
        """Those of the references that have no answer after `seconds`; raises `ClusterError` as soon as the head is lost: Ray
        itself would end this program a minute later, without a word to us.
        """
        until = time.monotonic() + seconds
        while True:
            if time.monotonic() - self._looked >= _LOOK:
                if not answers(_as_ray_has_it(ray, self.address), _REACH):
                    raise ClusterError(f"{where}: the head at {self.address} no longer answers; {_AGAIN}")
                self._looked = time.monotonic()
            left = max(0.0, min(until - time.monotonic(), _LOOK))
            _, references = ray.wait(references, num_returns=len(references), timeout=left)
            if not references or time.monotonic() >= until:
                return references

    def _answer(self, ray: Any, reference: Any, round: int) -> Sum:
        while self._waited(ray, [reference], _LOOK, f"round {round}"):
            if not any(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes()):
                raise ClusterError(f"round {round}: the cluster at {self.address} has lost all its CPUs; {_AGAIN}")
        try:
            done: Sum = ray.get(reference)
        except RemoteError as error:
            said = getattr(error, "cause", error)  # Ray's own is the same with a traceback for its text
            raise ClusterError(
                f"round {round}: a node that came later cannot do this work: {said}; {_AGAIN}"
            ) from error
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"round {round}: the cluster at {self.address} lost a shard {_RETRIES + 1} times ({_line(error)}); {_AGAIN}"
            ) from error
        return done


def joined(address: str, work: Work) -> Cluster:
    """The cluster at `address`, ready for `work`. Raises what `Cluster.join` raises."""
    cluster = Cluster(address, work)
    cluster.join()
    return cluster


def _bundled(work: Work) -> Bundle:
    if work.learner.device != "cpu":
        raise ConfigError(
            f"--cluster with --device {work.learner.device}: a cluster trains on CPUs; leave one of them out"
        )
    try:
        craft = packed(Craft(work.engine, work.learner, work.entropy))
    except CraftError as error:
        raise ConfigError(f"--cluster: {error}") from error
    training, shares = work.population.training, FlatShares.of(work.population.shares)
    return Bundle(
        uuid.uuid4().hex, stamp(), craft.folders, np.frombuffer(craft.content, dtype=np.uint8),
        training.inputs.numpy(), training.targets.numpy(), shares.rows, shares.firsts,
    )  # fmt: skip


def _ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("--cluster: Ray is not installed here; `pip install 'tacit[cluster]'`") from error
    return ray


def _connected(ray: Any, address: str) -> bool:
    """Take part in the cluster at `address`; whether this process did not before."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ConfigError(f"--cluster {address}: give the head's HOST:PORT, as `ray start --head` says it")
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if there != _as_ray_has_it(ray, address):
            raise ClusterError(f"--cluster {address}: this process takes part in the cluster at {there}; give that")
        return False
    if not answers(_as_ray_has_it(ray, address), _REACH):
        raise ClusterError(
            f"--cluster {address}: no head of a Ray cluster answers there within {_REACH:.0f} s; "
            "start one with `ray start --head`, or check the address"
        )
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise ClusterError(
            f"--cluster {address}: Ray cannot take part in it ({_line(error)}); run this on one of its nodes"
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray's own would leave without a checkpoint
    return True


def _as_ray_has_it(ray: Any, address: str) -> str:
    """Ray goes by the machine's own address where it is given that of the loopback."""
    host, _, port = address.rpartition(":")
    return f"{ray.util.get_node_ip_address()}:{port}" if host in ("localhost", "127.0.0.1") else address


def _line(error: BaseException) -> str:
    """The last thing that an error of Ray's says, which may be a page with a traceback, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}" if len(lines) < 4 else f"{type(error).__name__}: {lines[-1]}"
