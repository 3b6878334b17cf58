"""A Ray cluster of several nodes on this machine: the same bits as one process, whatever happens to it, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tacit.config import ConfigError, parse
from tacit.simulation import cluster as room
from tacit.simulation.cluster import Cluster, ClusterError, joined
from tacit.simulation.engines.plain import PlainLoop
from tacit.simulation.run import Simulation, prepare
from tacit.simulation.transport import SimulationError, Vectorised
from tacit.simulation.work import Work
from tacit.tasks.examples import Examples
from tacit.tasks.task import Task
from torch import Tensor, nn

if importlib.util.find_spec("ray") is None:
    pytest.skip("the extra `cluster` is not installed", allow_module_level=True)
ray = room._ray()  # as a run loads it

# A process that starts and kills nodes as it is told on its input, so that nothing of it is in this one.
NODES = """
import json, os, sys
from ray.cluster_utils import Cluster
soon = {
    "health_check_initial_delay_ms": 500, "health_check_period_ms": 300, "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
    "max_direct_call_object_size": 1000,  # sums of a small model, too, stay where they were made, and are lost with it
}
memory = {"object_store_memory": 80 * 2**20}
head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **memory}
cluster = Cluster(initialize_head=True, head_node_args=head)
print(json.dumps(cluster.address), flush=True)
nodes = {}
for line in sys.stdin:
    verb, name, more = json.loads(line)
    if verb == "start":
        os.environ.update(more)
        nodes[name] = cluster.add_node(num_cpus=1, **memory)
        for each in more:
            del os.environ[each]
    else:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    print(json.dumps(name), flush=True)
cluster.shutdown()
"""
TEXT = """
[task]
use = "digits"
[population]
owners = 140
[rounds]
total = 2
[local]
use = "sgd"
lr = 0.3
batch = 5
[privacy]
delta = 1e-4
[budget]
epsilon = inf
[evaluation]
every = 1
"""
CLIP, ENCODE = {"stage": "clip", "norm": 0.5}, {"stage": "encode"}
HIDDEN = [CLIP, ENCODE, {"stage": "discrete-gaussian", "noise_multiplier": 1.0}, {"stage": "mask"}]
GRADIENT = {"use": "clipped-gradient", "norm": 1.0, "denominator": 10.0}
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "sums of reals": ({}, "auto"),
    "a network of low rank": ({"task.model": "mlp", "population.owners": 170}, "low-rank"),
    "owners under masks": ({"privacy.pipeline": HIDDEN, "privacy.relation": "zero-out"}, "auto"),
    "examples": ({"local": GRADIENT, "privacy.unit": "example",
                  "privacy.pipeline": [ENCODE, {"stage": "skellam", "noise_multiplier": 2.0}]}, "auto"),
    "what owners remember": ({"strategy.use": "scaffold", "population.dropout": 0.2}, "plain-loop"),
}  # fmt: skip


@dataclass
class Nodes:
    """The head of a cluster, and the nodes that are started and killed beside it."""

    process: subprocess.Popen[str]
    address: str

    def start(self, name: str, **environment: str) -> None:
        """A node with one processor."""
        self._told("start", name, environment)

    def kill(self, name: str) -> None:
        """End a node and all that runs on it, as a machine ends that loses power."""
        self._told("kill", name, {})

    def _told(self, verb: str, name: str, more: Mapping[str, str]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, name, more]) + "\n")
        self.process.stdin.flush()
        assert json.loads(self.process.stdout.readline()) == name


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster of a head that trains nobody and two nodes; this process takes part in it for as long as the module runs."""
    said = tmp_path_factory.mktemp("cluster") / "said"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    with said.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=environment, cwd=said.parent,
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, said.read_text()
    made = Nodes(process, json.loads(first))
    for name in ("one", "two"):
        made.start(name)
    assert room._connected(ray, made.address)
    yield made
    ray.shutdown()
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def fingerprint(simulation: Simulation) -> dict[str, Any]:
    """All that a run is, but its seconds."""
    return {
        "weights": simulation.progress.weights.numpy().tobytes(),
        "memories": {owner: kept.numpy().tobytes() for owner, kept in sorted(simulation.transport.memories.items())},
        "ledger": [entry.to_json() for entry in simulation.ledger.entries],
        "metrics": [dict(row.metrics) for row in simulation.rows],
    }


def finished(**options: Any) -> Simulation:
    made = prepare(device="cpu", seed=5, **options)
    list(made.rounds())
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_gives_the_bits_of_one_process_and_of_two(nodes: Nodes, kind: str) -> None:
    changes, engine = KINDS[kind]
    given: dict[str, Any] = {"source": parse(TEXT, changes), "engine": engine}
    shared = finished(**given, cluster=nodes.address)
    assert shared.processes == f"2 nodes with 2 CPUs of the cluster at {nodes.address}"
    found = fingerprint(shared)
    assert found == fingerprint(finished(**given, workers=1))
    if kind in ("sums of reals", "what owners remember"):  # the others are in tests/deployment/test_team.py
        assert found == fingerprint(finished(**given, workers=2))
    assert bool(found["memories"]) == (kind == "what owners remember")


def many(cluster: str | None, **options: Any) -> Simulation:
    """Three rounds of one hundred and forty groups of one owner, two groups in each shard."""
    made = prepare(parse(TEXT, {"rounds.total": 3}), seed=5, engine="plain-loop", device="cpu", workers=1, **options)
    transport = made.transport
    assert isinstance(transport, Vectorised)
    transport.engine = PlainLoop(1)
    if cluster is not None:
        transport.team = joined(
            cluster, Work(transport.population, transport.engine, transport.learner, transport.entropy)
        )
    return made


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What `many` ends in, in one process."""
    made = many(None)
    list(made.rounds())
    return fingerprint(made)


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Has something done when the cluster has answered so many shards, and has others out."""

    def arrange(number: int, act: Callable[[], None]) -> None:
        answer, seen = Cluster._answer, list[int]()

        def counting(self: Cluster, *given: Any) -> Any:
            seen.append(1)
            if len(seen) == number:
                act()
            return answer(self, *given)

        monkeypatch.setattr(Cluster, "_answer", counting)

    return arrange


def test_a_node_that_is_lost_in_the_middle_of_a_round_changes_no_bit(
    nodes: Nodes, alone: dict[str, Any], during: Callable[[int, Callable[[], None]], None]
) -> None:
    nodes.start("three")
    during(90, lambda: nodes.kill("three"))  # the second of three rounds of seventy shards
    made = many(nodes.address)
    assert made.processes.startswith("3 nodes with 3 CPUs")
    list(made.rounds())
    assert fingerprint(made) == alone


def test_a_cluster_that_lost_all_its_nodes_ends_the_run_with_a_word_and_it_goes_on_without(
    nodes: Nodes, alone: dict[str, Any], during: Callable[[int, Callable[[], None]], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(room, "_LOOK", 1.0)
    during(90, lambda: (nodes.kill("one"), nodes.kill("two"), None)[-1])
    made = many(nodes.address, checkpoint=tmp_path / "state")
    try:
        with pytest.raises(
            ClusterError, match=r"^round 2: the cluster .* lost .*; resume the run, there or without --cluster$"
        ):
            list(made.rounds())
    finally:
        for name in ("one", "two"):
            nodes.start(name)
    again = many(None, checkpoint=tmp_path / "state", resume=True)
    assert again.progress.round == 1
    list(again.rounds())
    assert fingerprint(again) == alone


def test_a_head_that_no_longer_answers_ends_the_run_before_ray_ends_the_program(
    nodes: Nodes, during: Callable[[int, Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_LOOK", 0.1)
    during(20, lambda: monkeypatch.setattr(room, "answers", lambda address, patience: False))
    with pytest.raises(
        ClusterError, match=r"^round \d: the head at .* no longer answers; resume the run, there or without"
    ):
        list(many(nodes.address).rounds())


def test_the_owner_named_at_a_fault_is_the_one_that_one_process_would_have_named(nodes: Nodes) -> None:
    said = []
    for given in ({"workers": 1}, {"cluster": nodes.address}):
        with pytest.raises(SimulationError) as fault:
            finished(source=parse(TEXT, {"task.model": "mlp", "population.owners": 170, "local.lr": 1e38}), **given)
        said.append(str(fault.value))
    assert said[0] == said[1]
    assert "owner" in said[0]


def task(loss: Any) -> Task:
    generator = torch.Generator().manual_seed(0)
    data = Examples(torch.randn(300, 6, generator=generator), torch.randint(0, 3, (300,), generator=generator))
    return Task(model=lambda: nn.Linear(6, 3), loss=loss, train=data, test=data)


LOSS = """
from torch import Tensor
from torch.nn.functional import cross_entropy

def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs, targets, reduction="none")
"""


def test_a_tasks_own_code_is_found_in_a_folder_that_all_nodes_see(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_task_of_ones_own.py").write_text(LOSS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_task_of_ones_own  # type: ignore[import-not-found]

    given: dict[str, Any] = {"source": parse(TEXT), "task": task(a_task_of_ones_own.loss)}
    assert fingerprint(finished(**given, cluster=nodes.address)) == fingerprint(finished(**given, workers=1))


def test_a_task_whose_code_the_nodes_do_not_have_is_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = types.ModuleType("a_task_that_is_nowhere")
    exec(LOSS, vars(ghost))  # a module that only this process has
    monkeypatch.setitem(sys.modules, ghost.__name__, ghost)
    with pytest.raises(
        ClusterError, match=r"^node .* this work: .*No module named 'a_task_that_is_nowhere'; install .* every node"
    ):
        prepare(parse(TEXT), task=task(ghost.loss), cluster=nodes.address)
    with pytest.raises(ConfigError, match="--cluster: the task is not to be handed to another process"):
        prepare(parse(TEXT), task=task(lambda outputs, targets: ghost.loss(outputs, targets)), cluster=nodes.address)


def alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def other_tacit(folder: Path) -> None:
    """A Tacit of another version, as a node's PYTHONPATH finds it."""
    root, package = Path(room.__file__).resolve().parents[1], folder / "tacit"
    package.mkdir()
    for each in root.iterdir():
        if (each / "__init__.py").is_file() or each.name in ("config.py", "__main__.py"):
            (package / each.name).symlink_to(each)
    text = (root / "__init__.py").read_text()
    (package / "__init__.py").write_text(text.replace('__version__ = "', '__version__ = "9.'))


def test_a_node_with_another_version_of_tacit_is_refused_at_the_start_and_when_it_joins_later(
    nodes: Nodes, tmp_path: Path
) -> None:
    other_tacit(tmp_path)
    made = prepare(parse(TEXT), cluster=nodes.address)
    transport = made.transport
    assert isinstance(transport, Vectorised)
    team = transport.team
    assert isinstance(team, Cluster)
    before = alive()
    nodes.start("other", PYTHONPATH=str(tmp_path))
    (late,) = alive() - before
    has = r"it has Tacit 9\.\S+ .*; this run is of Tacit [^9].*"
    try:
        with pytest.raises(ClusterError, match=f"^node .* cannot do this work: {has}; install the same on every node"):
            prepare(parse(TEXT), cluster=nodes.address)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(late, soft=False)
        asked = team._task.options(scheduling_strategy=there).remote(team._bundle, None, (), {})
        with pytest.raises(
            ClusterError, match=f"^round 7: a node that came later cannot do this work: {has}; resume the run"
        ):
            team._answer(ray, asked, 7)
    finally:
        nodes.kill("other")


def test_a_node_without_tacit_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "tacit").mkdir()
    (tmp_path / "tacit" / "__init__.py").write_text("raise ImportError('there is no Tacit here')")
    nodes.start("other", PYTHONPATH=str(tmp_path))
    try:
        with pytest.raises(
            ClusterError, match=r"^node .* cannot run Tacit: .*there is no Tacit here.*; install Tacit \S+ there$"
        ):
            prepare(parse(TEXT), cluster=nodes.address)
    finally:
        nodes.kill("other")


def test_the_command_line_says_who_takes_part_and_prints_nothing_of_rays(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "federation.toml").write_text(TEXT)
    words = ["simulate", "federation.toml", "--cluster", nodes.address, "--json", "--out", "run"]
    ended = subprocess.run(
        [sys.executable, "-m", "tacit", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rounds"][-1]["round"] == 2
    assert f"workers 2 nodes with 2 CPUs of the cluster at {nodes.address}" in ended.stderr
    assert "ray" not in ended.stderr.replace("array", "").lower()


def test_a_process_takes_part_in_one_cluster_at_a_time(nodes: Nodes) -> None:
    with pytest.raises(ClusterError, match=f"takes part in the cluster at {nodes.address}; give that"):
        prepare(parse(TEXT), cluster="10.1.2.3:6379")


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "head", ":6379", "head:"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"give the head's HOST:PORT, as `ray start --head` says it"):
        prepare(parse(TEXT), cluster=address)


@pytest.mark.parametrize("listens", [False, True])
def test_where_no_cluster_answers_the_error_comes_in_bounded_time(
    listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(room, "_REACH", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        host = "127.0.0.1" if not listens else "127.0.0.2"
        with pytest.raises(ClusterError, match=r"no head of a Ray cluster answers there within .* s; start one with"):
            prepare(parse(TEXT), cluster=f"{host}:{port}")


def test_an_accelerator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = prepare(parse(TEXT), device="cpu", workers=1).transport
    assert isinstance(transport, Vectorised)
    monkeypatch.setattr(transport.learner, "device", "cuda")
    with pytest.raises(
        ConfigError, match="--cluster with --device cuda: a cluster trains on CPUs; leave one of them out"
    ):
        joined("a:1", Work(transport.population, transport.engine, transport.learner, transport.entropy))


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Ray is not installed here; `pip install 'tacit\[cluster\]'`"):
        prepare(parse(TEXT), cluster="127.0.0.1:6379")


def test_a_cluster_without_processors_is_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ray.nodes
    monkeypatch.setattr(
        ray, "nodes", lambda: [{**node, "Resources": {**node["Resources"], "CPU": 0}} for node in real()]
    )
    with pytest.raises(ClusterError, match="has no CPUs; start a node with `ray start --num-cpus N`"):
        prepare(parse(TEXT), cluster=nodes.address)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"workers": 2}, "--cluster a:1 with --workers 2: .*leave one out"),
        ({"engine": "in-memory"}, "--cluster a:1 with --engine in-memory: .*leave one out"),
    ],
)
def test_what_a_cluster_does_not_go_with_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        prepare(parse(TEXT), cluster="a:1", **options)


def test_a_view_of_an_array_is_a_copy_only_where_torch_would_begin_elsewhere() -> None:
    held = torch.arange(64, dtype=torch.float32).numpy()
    held.flags.writeable = False
    from tacit.simulation.remote import viewed

    there: Tensor = viewed(held)
    assert there.data_ptr() == held.ctypes.data
    shifted = viewed(held[1:])
    assert shifted.data_ptr() != held[1:].ctypes.data
    assert torch.equal(shifted, there[1:])
