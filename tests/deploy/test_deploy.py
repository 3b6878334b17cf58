"""What is handed to systemd, Docker and Kubernetes: well-formed, closed, and in words that the program understands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from tacit.commands.flags import ClientFolder, ServerFolder
from tacit.commands.main import app
from tacit.server.home import ServerSettings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
SETS = [document for document in KUBERNETES if document["kind"] == "StatefulSet"]
PORTS = {int(ServerSettings.model_fields[name].default.rpartition(":")[2]): name for name in ("address", "enrolment")}
analyze = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(analyze is None, reason="needs systemd-analyze")


def option(unit: Path, key: str) -> list[str]:
    """The values of a key of a unit."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def instructions() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, " ".join(rest.split())


def pod(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def spoken() -> set[tuple[str, ...]]:
    """Every `tacit GROUP VERB` that a file of this folder runs or tells a reader to type."""
    found: set[tuple[str, ...]] = set()
    for path in DEPLOY.iterdir():
        found |= set(re.findall(r"tacit (server|client) ([a-z]+)", path.read_text(encoding="utf-8")))
    for service in COMPOSE["services"].values():
        found |= {tuple(service["command"]), tuple(service["healthcheck"]["test"][2:])}
    for document in SETS:
        for container in pod(document)["containers"]:
            found.add(tuple(container["args"]))
            found |= {tuple(container[f"{probe}Probe"]["exec"]["command"][1:]) for probe in ("startup", "liveness")}
    return found


@pytest.mark.parametrize("words", sorted(spoken()), ids=" ".join)
def test_every_command_is_one_of_the_program(words: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    command: click.Command = typer.main.get_command(app)
    for word in words:
        assert isinstance(command, click.Group)
        assert word in command.commands, f"tacit {' '.join(words)}"
        command = command.commands[word]


def test_the_images_folders_are_where_the_verbs_look() -> None:
    environment = dict(re.findall(r"(\w+)=(\S+)", next(rest for word, rest in instructions() if word == "ENV")))
    for folder in (ServerFolder, ClientFolder):
        assert environment[folder.__metadata__[0].envvar].startswith("/var/lib/tacit/")  # type: ignore[attr-defined]


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_object_to(unit: Path, tmp_path: Path) -> None:
    installed = tmp_path / unit.name
    program = str(Path(sys.executable).with_name("tacit"))  # systemd insists that there is one
    text = unit.read_text(encoding="utf-8")
    installed.write_text(text.replace("ExecStart=/opt/tacit/bin/tacit", f"ExecStart={program}"))
    done = subprocess.run([str(analyze), "verify", "--man=no", str(installed)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_the_service_closed(unit: Path) -> None:
    judge = [str(analyze), "security", "--offline=yes", "--threshold=25", str(unit)]
    done = subprocess.run(judge, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_waits_for_readiness_and_confines_the_daemon(unit: Path) -> None:
    state = unit.stem
    for key, value in {
        "Type": "notify", "User": state, "StateDirectory": state, "StateDirectoryMode": "0700", "NoNewPrivileges": "yes",
        "ProtectSystem": "strict", "ProtectHome": "yes", "UMask": "0077", "KillMode": "mixed", "LimitCORE": "0",
        "Restart": "on-failure", "CapabilityBoundingSet": "",
    }.items():  # fmt: skip
        assert option(unit, key) == [value], key
    (start,) = option(unit, "ExecStart")
    assert start.split()[-1].startswith(f"%S/{state}/")


def test_the_agent_keeps_its_accelerator_and_the_server_has_none() -> None:
    agent, server = UNITS
    assert option(agent, "DevicePolicy") == ["closed"]
    assert option(agent, "PrivateDevices") == []
    assert option(server, "PrivateDevices") == ["yes"]


def test_the_image_is_built_apart_and_runs_as_nobody_in_particular() -> None:
    words = list(instructions())
    assert [word for word, _ in words].count("FROM") == 2
    final = words[max(at for at, (word, _) in enumerate(words) if word == "FROM") :]
    kept = dict(final)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", kept["USER"])
    assert [word for word, _ in final][-5:] == ["WORKDIR", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD"]
    assert kept["ENTRYPOINT"] == '["tacit"]'
    assert kept["VOLUME"] == "/var/lib/tacit"
    assert all("--from=build" in rest for word, rest in final if word == "COPY")


def test_the_image_fetches_only_pinned_packages_and_holds_no_secret() -> None:
    for word, rest in instructions():
        assert word != "ADD"
        assert not re.search(r"curl|wget|git clone|sudo|chmod 777", rest)
        if word in {"ARG", "ENV"}:
            assert not re.search(r"(?i)secret|password|token|_key", rest)
        if "pip install" in rest:
            assert "--constraint constraints.txt" in rest
            assert "--no-cache-dir" in rest


def test_the_image_is_given_the_package_and_nothing_else() -> None:
    lines = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    given = {line[1:] for line in lines if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {name.split(".")[1] for name in packages if "." in name}
    assert given == rooms | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "*.py", "py.typed"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_is_locked_down(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"]
    assert service["init"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "ipc", "user", "devices"} & set(service)
    role = "server" if name == "server" else "client"
    assert service["command"] == [role, "start"]
    assert service["healthcheck"]["test"] == ["CMD", "tacit", role, "status"]
    for volume in service["volumes"]:
        source, _, target = (
            volume.rpartition(":")[0].rpartition(":") if volume.endswith(":ro") else volume.partition(":")
        )
        assert target.startswith("/var/lib/tacit") or volume.endswith(":/data:ro")
        assert not target.startswith("/var/lib/tacit") or source in COMPOSE["volumes"]
    assert set(service["networks"]) <= set(COMPOSE["networks"])


def test_only_the_servers_two_ports_are_public() -> None:
    published = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert published.pop("server") == [f"{port}:{port}" for port in PORTS]
    assert not any(published.values())
    assert len(published) == 2


def test_manifests_are_of_known_kinds_and_names() -> None:
    assert [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in KUBERNETES] == [
        ("v1", "Service", "tacit-server"),
        ("apps/v1", "StatefulSet", "tacit-server"),
        ("apps/v1", "StatefulSet", "tacit-client"),
        ("networking.k8s.io/v1", "NetworkPolicy", "tacit-client"),
    ]


@pytest.mark.parametrize("document", SETS, ids=lambda document: document["metadata"]["name"])
def test_a_pod_is_locked_down_and_probed(document: dict[str, Any]) -> None:
    spec = pod(document)
    assert document["spec"]["replicas"] == 1
    assert document["spec"]["selector"]["matchLabels"] == document["spec"]["template"]["metadata"]["labels"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert (
        f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}"
        == dict(instructions())["USER"]
    )
    claims = {claim["metadata"]["name"] for claim in document["spec"]["volumeClaimTemplates"]}
    volumes = claims | {volume["name"] for volume in spec["volumes"]}
    role = document["metadata"]["name"].removeprefix("tacit-")
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["resources"]["limits"]["memory"]
    (daemon,) = spec["containers"]
    assert daemon["args"] == [role, "start"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert daemon[probe]["exec"]["command"] == ["tacit", role, "status"]
        assert daemon[probe]["timeoutSeconds"] > 5  # the verb itself waits so long for an answer


def test_the_service_leads_to_the_servers_ports() -> None:
    service, server, client, _ = KUBERNETES
    (daemon,) = pod(server)["containers"]
    ports = {port["name"]: port["containerPort"] for port in daemon["ports"]}
    assert service["spec"]["selector"] == server["spec"]["selector"]["matchLabels"]
    assert [ports[port["targetPort"]] for port in service["spec"]["ports"]] == list(PORTS)
    assert [port["port"] for port in service["spec"]["ports"]] == list(PORTS)
    assert "ports" not in pod(client)["containers"][0]


def test_nobody_calls_the_agent_and_it_calls_the_coordinator_only() -> None:
    *_, client, policy = KUBERNETES
    assert policy["spec"]["podSelector"] == client["spec"]["selector"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy["spec"]
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, *PORTS}
    (data,) = [mount for mount in pod(client)["containers"][0]["volumeMounts"] if mount["name"] == "data"]
    assert data["readOnly"]
