"""The verbs of `tacit server` and `tacit client`: as light and as well explained as the others, and they do what they say."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from tacit.commands.main import GROUPS
from tacit.server import enrolment
from tacit.server.home import ServerHome
from tacit.server.registry import Registry

HEAVY = (
    "torch",
    "dp_accounting",
    "numpy",
    "scipy",
    "sklearn",
    "matplotlib",
    "opacus",
    "flwr",
    "pydantic",
    "cryptography",
)
PROBE = """
import sys
from tacit.commands.main import execute
code = execute(sys.argv[1:])
print("|".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def verbs(group: typer.Typer, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [(*path, each.name) for each in group.registered_commands if each.name]
    for inner in group.registered_groups:
        if inner.name and inner.typer_instance:
            found += verbs(inner.typer_instance, (*path, inner.name))
    return found


VERBS = [verb for name, group in GROUPS.items() for verb in verbs(group, (name,))]


@pytest.mark.parametrize(
    "arguments", [[name] for name in GROUPS] + [["client", "roster", "approve", "-h"]], ids=" ".join
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = PROBE.format(heavy=HEAVY)
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_says_what_it_is_for_and_shows_an_example(program, verb: tuple[str, ...]) -> None:
    ended = program(*verb, "--help")
    assert ended.code == 0
    assert f"tacit {' '.join(verb)}" in ended.out.split("Example:")[1]
    assert "--json" in ended.out
    rows = [line.strip("│ ") for line in ended.out.splitlines() if line.startswith("│")]
    assert [row for row in rows if row and row.split()[-1] in {"PATH", "TEXT", "INTEGER", "FLOAT", "DIR"}] == []


@pytest.mark.parametrize("group", [("server",), ("client",), ("client", "roster")], ids=" ".join)
def test_a_group_alone_shows_its_verbs(program, group: tuple[str, ...]) -> None:
    ended = program(*group)
    assert (ended.code, ended.err) == (0, "")
    assert all(verb[-1] in ended.out for verb in VERBS if verb[:-1] == group)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def open_enrolment(folder: Path) -> Iterator[None]:
    home = ServerHome(folder)
    with Registry(home.registry) as registry:
        office = enrolment.office(home, registry)
        server = enrolment.server(enrolment.Enrolment(office), home, office.settings)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def server(program, tmp_path: Path) -> Path:
    port = free_port()
    assert program("server", "init", "server", "--enrolment", f"127.0.0.1:{port}").code == 0
    return tmp_path / "server"


def test_two_owners_from_invitation_to_revocation(program, server: Path) -> None:
    fingerprints = {}
    with open_enrolment(server):
        for name in ("a", "b"):
            token = json.loads(program("server", "enroll", name, "--json").out)["token"]
            ended = program("client", "enroll", token, "--dir", name, "--json")
            assert ended.code == 0, ended.err
            fingerprints[name] = json.loads(ended.out)["fingerprint"]
            assert "[policy]" in Path(json.loads(ended.out)["settings"]).read_text()
        assert (
            program("client", "roster", "approve", "b", fingerprints["b"], "--dir", "a").code == 1
        )  # not known here yet
        assert program("client", "roster", "update", "--dir", "a").code == 0
        assert program("client", "roster", "approve", "b", fingerprints["b"], "--dir", "a").code == 0
        shown = json.loads(program("client", "roster", "show", "--dir", "a", "--json").out)
        assert [(row["name"], row["standing"]) for row in shown["owners"]] == [("a", "own"), ("b", "approved")]
        assert program("client", "roster", "revoke", "b", "--dir", "a").code == 0
        assert "unapproved" in program("client", "roster", "show", "--dir", "a").out
        assert program("server", "enroll", "b").code == 1
        token = program("server", "enroll", "b", "--again").out.strip()
        assert program("client", "enroll", token, "--again", "--dir", "b").code == 0
        assert program("server", "revoke", "b").code == 0
        ended = program("client", "roster", "update", "--dir", "b")
        assert ended.code == 1
        assert "revoked" in ended.err
    listed = program("server", "owners")
    assert all(word in listed.out for word in ("enrolled", "revoked", *fingerprints.values()))
    known = json.loads(program("server", "owners", "--json").out)["owners"]
    assert [(row["name"], row["fingerprint"]) for row in known] == list(fingerprints.items())


def test_a_token_may_come_by_standard_input(program, server: Path, monkeypatch) -> None:
    import io

    token = program("server", "enroll", "a").out
    monkeypatch.setattr("sys.stdin", io.StringIO(token))
    with open_enrolment(server):
        assert program("client", "enroll", "-").code == 0
    ended = program("client", "enroll", token)
    assert (ended.code, "nothing was changed" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("server", "init", "server"), 2, "nothing was changed"),
        (("server", "init", "other", "--host", "a b"), 2, "server.host"),
        (("server", "enroll", "Ward 3"), 2, "ward-3"),
        (("server", "enroll", "a", "--dir", "nowhere"), 2, "server init nowhere"),
        (("server", "revoke", "a"), 1, "server owners"),
        (("client", "enroll", "tacit1-x"), 2, "not whole"),
        (("client", "enroll", "hello"), 2, "tacit1-"),
        (("client", "roster", "show"), 2, "client enroll TOKEN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_with_a_remedy(
    program, server: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = program(*arguments)
    assert ended.code == code
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_a_token_that_nobody_answers_for(program, server: Path) -> None:
    token = json.loads(program("server", "enroll", "a", "--json").out)["token"]
    ended = program("client", "enroll", token)
    assert ended.code == 1
    assert "does not answer" in ended.err
    assert token not in ended.err
