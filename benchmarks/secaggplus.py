"""One attempt of Flower's SecAgg+ in this process: its own client mod and its own server workflow, with clocks on both.

Between them stands a grid that hands each message to the mod of its owner and gives the answers back; nothing is serialised
on the way that Flower's protocol does not serialise itself. Training, quantising, and reading and writing arrays are clocked
apart, so that what is compared is the protocol. Every answer is checked: the mean that comes out is the vector that went in.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
from clocks import Clock
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation import secaggplus_workflow as server
from flwr.serverapp.grid import Grid
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

# By name: the package gives its name to the function that the module holds.
client = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")

CLIP = 8.0
WEIGHT = 1000

Made = TypeVar("Made")


class _Proxy:
    """An owner as Flower's strategies know it."""

    def __init__(self, number: int) -> None:
        self.node_id = number


class _Everyone(FedAvg):
    """Asks every owner, and keeps the mean that came out."""

    def __init__(self, numbers: Iterable[int]) -> None:
        super().__init__()
        self.proxies = [_Proxy(each) for each in numbers]
        self.mean: NDArray[Any] | None = None

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> Any:
        return [(proxy, FitIns(parameters, {})) for proxy in self.proxies]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        self.mean = parameters_to_ndarrays(results[0][1].parameters)[0]
        return None, {}


class _InProcess(Grid):
    """Owners behind function calls; `drops` do not answer the third stage, in which vectors are sent."""

    def __init__(self, numbers: Iterable[int], drops: frozenset[int], vector: NDArray[Any], clock: Clock) -> None:
        self._contexts = {each: Context(1, each, {}, RecordDict(), {}) for each in numbers}
        self._drops, self._vector, self._clock = drops, vector, clock

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """The answers of everybody who has not dropped."""
        with self._clock.running("wire"):
            return [self._answer(each) for each in messages if not self._dropped(each)]

    def _dropped(self, message: Message) -> bool:
        stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        return stage == Stage.COLLECT_MASKED_VECTORS and message.metadata.dst_node_id in self._drops

    def _answer(self, message: Message) -> Message:
        records, number = message.content.config_records, message.metadata.dst_node_id
        shared = records[RECORD_KEY_CONFIGS]  # by all messages of a stage, and the mod takes entries out of it
        records[RECORD_KEY_CONFIGS] = ConfigRecord(dict(shared))
        with self._clock.running("owner", number):
            reply = client.secaggplus_mod(message, self._contexts[number], self._train)
        records[RECORD_KEY_CONFIGS] = shared
        return reply

    def _train(self, message: Message, context: Context) -> Message:
        with self._clock.running("training"):
            fit = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([self._vector]), WEIGHT, {})
            return Message(compat.fitres_to_recorddict(fit, keep_input=True), reply_to=message)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def set_run(self, *_: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError


def attempt(n: int, degree: int, threshold: int, dim: int, drops: int) -> Clock:
    """An attempt of `n` owners, of whom `drops` fall silent when vectors are due.

    Clocks: `("owner", i)`, `server`; `pack` and `unpack` for the formats of arrays at either side. `degree` neighbours and the
    owner itself hold the shares, which is what Flower calls `num_shares`.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    clock, numbers = Clock(), range(1, n + 1)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0  # whose messages the server makes
    vector = np.random.default_rng(0).uniform(-1, 1, dim)
    strategy = _Everyone(numbers)
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), strategy=strategy)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    nothing = ndarrays_to_parameters([np.zeros(1)])
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(nothing, True)
    grid = _InProcess(numbers, frozenset(numbers[:drops]), vector, clock)
    work = server.SecAggPlusWorkflow(degree + 1, threshold, clipping_range=CLIP, max_weight=float(WEIGHT))
    with ExitStack() as stack:
        for part, module, names in (
            ("pack", client, ("quantize", "parameters_multiply", "parameters_to_ndarrays", "ndarray_to_bytes")),
            ("unpack", server, ("bytes_to_ndarray", "dequantize")),
        ):
            for name in names:
                stack.enter_context(patch.object(module, name, _apart(part, getattr(module, name), clock)))
        with clock.running("server"):
            work(grid, context)
    if strategy.mean is None or not np.allclose(strategy.mean, vector, atol=1e-4):
        raise RuntimeError("SecAgg+ did not give the mean; the attempt is no measurement")
    return clock


def _apart(part: str, function: Callable[..., Made], clock: Clock) -> Callable[..., Made]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Made:
        with clock.running(part):
            return function(*arguments, **named)

    return timed
