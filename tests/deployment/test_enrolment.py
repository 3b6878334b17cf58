"""Enrolment over real TLS on loopback: from a token to an identity that the gateway admits, and every way that must fail."""

from __future__ import annotations

import http.client
import logging
import math
import re
import socket
import ssl
import stat
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes, serialization
from tacit.client import agent as agents
from tacit.client import identity as identities
from tacit.client.agent import Agent
from tacit.client.enrolment import ImpostorError, RejectedError, UnreachableError, enrol, newest_roster, renew, renewed
from tacit.client.home import ClientHome, HomeError
from tacit.client.identity import Identity
from tacit.client.roster import approve, current, take
from tacit.server import door as doors
from tacit.server import enrolment as offices
from tacit.server.door import Door
from tacit.server.enrolment import Enrolment, Office, Throttle
from tacit.server.founding import found
from tacit.server.gateway import Gateway, Limits
from tacit.server.home import ServerHome
from tacit.server.mail import Mail
from tacit.server.pieces import Pieces
from tacit.server.registry import Registry
from tacit.strategies import admission, keyfile
from tacit.strategies.admission import public_pem
from tacit.strategies.token import Token


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(server: uvicorn.Server) -> Iterator[None]:
    """`server` in a thread, until the end."""
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


@dataclass
class Federation:
    """A coordinator whose enrolment is open."""

    home: ServerHome
    office: Office
    folder: Path

    def token(self, name: str, valid: float = 60.0) -> Token:
        return self.office.invite(name, valid)

    def enrolled(self, name: str) -> Identity:
        return enrol(self.token(name), self.owner(name), time.time())

    def owner(self, name: str) -> ClientHome:
        return ClientHome(self.folder / "owners" / name)


def founded(folder: Path) -> ServerHome:
    return found(folder, "localhost", f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", time.time()).home


@contextmanager
def opened(folder: Path, home: ServerHome, throttle: Throttle | None = None) -> Iterator[Federation]:
    with Registry(home.registry) as registry:
        office = offices.office(home, registry)
        with served(offices.server(Enrolment(office, throttle, patience=0.5), home, office.settings)):
            yield Federation(home, office, folder)


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with opened(tmp_path, founded(tmp_path / "server")) as made:
        yield made


def call(federation: Federation, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    where = federation.office.settings
    context = identities.trusting(federation.home.authority.read_text())
    connection = http.client.HTTPSConnection(
        "localhost", int(where.enrolment.split(":")[1]), timeout=10, context=context
    )
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_from_a_token_to_an_identity(federation: Federation) -> None:
    made = federation.enrolled("ward-3")
    owner = federation.office.registry.owner("ward-3")
    assert (made.name, made.coordinator.number) == ("ward-3", owner.number)
    assert made.coordinator.gateway == federation.office.settings.gateway
    assert made.pin == federation.office.authority.pin
    assert owner.node_key == public_pem(made.keys.node.public_key())
    assert current(made).entries == (made.entry,)
    again = identities.load(made.home, time.time())
    assert (again.entry, again.pin, again.coordinator, again.expires) == (
        made.entry,
        made.pin,
        made.coordinator,
        made.expires,
    )


def test_what_is_secret_is_closed_and_stays_where_it_was_made(federation: Federation, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    token = federation.token("ward-3")
    home = federation.owner("ward-3")
    made = enrol(token, home, time.time())
    assert {stat.S_IMODE(each.stat().st_mode) for each in home.root.rglob("*") if each.is_file()} == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (home.root, home.keys)} == {0o700}
    secrets = [token.secret.hex(), token.text(), made.keys.signing.private_bytes_raw().hex()]
    for path in home.keys.iterdir():
        secrets += [line for line in path.read_text().splitlines() if "-----" not in line and len(line) > 16]
    places = [caplog.text, repr(made), repr(made.keys), repr(token), repr(federation.office)]
    files = [each for each in (*home.root.iterdir(), *federation.home.root.rglob("*")) if each.is_file()]
    places += [path.read_bytes().decode("latin-1") for path in files]
    assert not [secret for secret in secrets for place in places if secret in place]
    assert "owner ward-3 is enrolled" in caplog.text


@contextmanager
def gateway(federation: Federation) -> Iterator[int]:
    """The real gateway in front of nobody: it answers 503 to whom it admits."""
    port = int(federation.office.settings.address.split(":")[1])
    home = federation.home
    limits = Limits()
    inner = Gateway(
        f"127.0.0.1:{free_port()}", identities.trusting(home.authority.read_text()), federation.office.registry.admits,
        lambda *_: "", Mail(), Pieces(home.pieces), limits,
    )  # fmt: skip
    door = Door("127.0.0.1", port, home.gateway_certificate, home.gateway_key, home.authority)
    with served(doors.server(inner, door, limits.connections)):
        yield port


def knock(connection: http.client.HTTPSConnection, node_key: bytes) -> int:
    connection.request("POST", "/v1/fleet/pull-messages", b"", {"flwr-public-key": b64encode(node_key).decode()})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_the_gateway_admits_an_enrolled_owner_with_its_own_key_until_it_is_revoked(federation: Federation) -> None:
    first, second = federation.enrolled("a"), federation.enrolled("b")
    keys = [public_pem(each.keys.node.public_key()) for each in (first, second)]
    with gateway(federation) as port:
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=first.tls())
        try:
            assert knock(connection, keys[0]) == 503
            assert knock(connection, keys[1]) == 401  # another owner's node key
            assert knock(connection, keys[0]) == 503
            federation.office.registry.revoke("a", time.time())
            assert knock(connection, keys[0]) == 401  # on the open connection, at the next request
        finally:
            connection.close()
        other = http.client.HTTPSConnection("localhost", port, timeout=10, context=second.tls())
        try:
            assert knock(other, keys[1]) == 503
        finally:
            other.close()


def test_an_owner_of_another_federation_is_refused_in_the_handshake(federation: Federation, tmp_path: Path) -> None:
    with opened(tmp_path / "2", founded(tmp_path / "2" / "server")) as foreign:
        stranger = foreign.enrolled("a")
    context = stranger.tls()
    context.load_verify_locations(federation.home.authority)
    with gateway(federation) as port:
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        with closing(connection), pytest.raises((OSError, http.client.HTTPException)):
            knock(connection, public_pem(stranger.keys.node.public_key()))


def test_a_token_is_used_once(federation: Federation) -> None:
    token = federation.token("ward-3")
    enrol(token, federation.owner("ward-3"), time.time())
    thief = federation.owner("thief")
    with pytest.raises(RejectedError, match="revoke") as refused:
        enrol(token, thief, time.time())
    assert refused.value.code == "used-token"
    assert not thief.coordinator.exists()
    assert not thief.certificate.exists()


def test_an_enrolment_whose_answer_was_lost_goes_on_with_the_same_token(federation: Federation) -> None:
    token, home = federation.token("ward-3"), federation.owner("ward-3")
    keys = identities.make_keys(home)
    federation.office.admit(admission.application(token.secret, keys.tls, keys.node, keys.signing).encode())
    assert enrol(token, home, time.time()).name == "ward-3"
    assert len(federation.office.registry.owners()) == 1


def test_an_expired_and_a_forged_token_are_refused(federation: Federation) -> None:
    token = federation.token("ward-3", valid=-1.0)
    for secret, code in ((token.secret, "expired-token"), (bytes(32), "unknown-token")):
        with pytest.raises(RejectedError) as refused:
            enrol(replace(token, secret=secret), federation.owner(code), time.time())
        assert refused.value.code == code
    assert federation.office.registry.owners() == ()


def test_nothing_is_sent_to_a_server_with_another_authority(federation: Federation, monkeypatch) -> None:
    asked: list[str] = []
    answer = Enrolment._answer

    async def noted(self: Enrolment, request):
        asked.append(request.url.path)
        return await answer(self, request)

    monkeypatch.setattr(Enrolment, "_answer", noted)
    token = replace(federation.token("ward-3"), pin=bytes(32))
    with pytest.raises(ImpostorError, match="nothing was sent"):
        enrol(token, federation.owner("ward-3"), time.time())
    assert asked == [admission.AUTHORITY_PATH]


def test_nothing_is_sent_to_a_server_that_only_shows_the_right_authority(
    federation: Federation, tmp_path: Path
) -> None:
    """The authority's certificate is public: a man in the middle can show it, but not a certificate issued by it."""
    middle = founded(tmp_path / "middle")
    with Registry(middle.registry) as registry:
        office = replace(offices.office(middle, registry), authority=federation.office.authority)
        with served(offices.server(Enrolment(office), middle, office.settings)):
            token = replace(federation.token("ward-3"), address=office.settings.enrolment_office)
            with pytest.raises(ImpostorError, match="does not show a certificate"):
                enrol(token, federation.owner("ward-3"), time.time())


def test_a_name_that_the_server_does_not_have_is_refused(federation: Federation) -> None:
    token = federation.token("ward-3")
    by_number = replace(token, address=token.address.replace("localhost", "127.0.0.2"))
    with pytest.raises((ImpostorError, UnreachableError)):
        enrol(by_number, federation.owner("ward-3"), time.time())


def test_nobody_there(federation: Federation) -> None:
    token = replace(federation.token("ward-3"), address=f"localhost:{free_port()}")
    with pytest.raises(UnreachableError, match="same command again"):
        enrol(token, federation.owner("ward-3"), time.time())


def test_an_enrolled_folder_is_left_alone(federation: Federation) -> None:
    made = federation.enrolled("ward-3")
    before = made.home.tls_key.read_bytes()
    with pytest.raises(HomeError, match="nothing was changed"):
        enrol(federation.token("ward-4"), made.home, time.time())
    assert made.home.tls_key.read_bytes() == before


def test_an_owner_is_certified_again_with_its_keys_and_everything_else_in_its_folder(federation: Federation) -> None:
    made, other = federation.enrolled("a"), federation.enrolled("b")
    take(made, newest_roster(made, time.time()))
    approve(made, "b", other.entry.fingerprint)
    before = {path: path.read_bytes() for path in made.home.root.rglob("*") if path.is_file()}
    again = renew(federation.office.invite_again("a", 60.0), made.home, time.time())
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert (again.entry, changed) == (made.entry, {"certificate.pem", "roster.json"})
    with pytest.raises(HomeError, match="client enroll"):
        renew(federation.token("c"), federation.owner("c"), time.time())
    with pytest.raises(RejectedError, match="another owner's"):
        renew(federation.office.invite_again("b", 60.0), made.home, time.time())
    with pytest.raises(ImpostorError, match="another federation"):
        renew(replace(federation.office.invite_again("a", 60.0), pin=bytes(32)), made.home, time.time())


def test_an_owner_renews_its_certificate_with_its_own_key_and_without_an_interruption(federation: Federation) -> None:
    made, other = federation.enrolled("a"), federation.enrolled("b")
    key, before = public_pem(made.keys.node.public_key()), made.home.certificate.read_bytes()
    with gateway(federation) as port:
        open_before = http.client.HTTPSConnection("localhost", port, timeout=10, context=made.tls())
        with closing(open_before):
            assert knock(open_before, key) == 503
            again = renewed(made, time.time() + 100)
            assert made.home.certificate.read_bytes() != before
            assert again.expires > made.expires - timedelta(seconds=5)
            assert (again.entry, again.coordinator) == (made.entry, made.coordinator)
            assert knock(open_before, key) == 503  # under the old certificate
        with closing(http.client.HTTPSConnection("localhost", port, timeout=10, context=again.tls())) as after:
            assert knock(after, key) == 503
    asked = admission.renewal_request("b", made.keys.signing, time.time()).encode()
    assert call(federation, "POST", admission.RENEWAL_PATH, asked)[0] == 400  # another owner's name
    asked = admission.roster_request("b", other.keys.signing, time.time()).encode()
    assert call(federation, "POST", admission.RENEWAL_PATH, asked)[0] == 400  # a signature for something else
    federation.office.registry.revoke("a", time.time())
    with pytest.raises(RejectedError, match="revoked"):
        renewed(again, time.time())


AGENT = """
[policy]
unit = "owner"
relation = "add-remove"
colluders = 0
smallest_cohort = 3
epsilon = 1.0
delta = 0.01
[[policy.tasks]]
use = "digits"
[assets.share]
task = "digits"
source = "population:0/3"
"""


def test_an_agent_renews_in_time_and_says_so_where_it_cannot(federation: Federation, caplog, monkeypatch) -> None:
    caplog.set_level(logging.INFO)
    made = federation.enrolled("a")
    made.home.settings_file.write_text(AGENT)
    before = made.home.certificate.read_bytes()
    late = made.expires.timestamp() - 80 * 86_400
    with closing(Agent(made.home)) as agent:
        agent._renew(time.time())
        assert made.home.certificate.read_bytes() == before  # more than two years are left
        monkeypatch.setattr(agent, "_looked", -math.inf)
        agent._renew(late)
        assert "not renewed" in caplog.text  # the clocks differ by two years, and the office says so
        assert "80 days" in caplog.text
        monkeypatch.setattr(agents, "_RENEW", 2000 * 86_400.0)
        monkeypatch.setattr(agent, "_looked", -math.inf)
        agent._renew(time.time())
        assert "was renewed" in caplog.text
        assert made.home.certificate.read_bytes() != before


def test_an_owner_whose_keys_were_stolen_comes_back_with_new_ones(federation: Federation) -> None:
    made = federation.enrolled("a")
    federation.office.registry.revoke("a", time.time())
    made.home.keys.rename(made.home.root / "stolen")
    again = renew(federation.token("a"), made.home, time.time())
    assert again.entry.number == made.entry.number
    assert again.entry.fingerprint != made.entry.fingerprint


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", admission.PATH, b"x" * (admission.LARGEST + 1), 413),
        ("POST", admission.PATH, b"{}", 400),
        ("POST", admission.PATH, b"\xff" * 100, 400),
        ("POST", admission.ROSTER_PATH, b"{}", 400),
        ("GET", admission.PATH, None, 404),
        ("GET", admission.PATH + "/", None, 404),
        ("GET", "/", None, 404),
        ("GET", "/tacit/v1/../v1/authority", None, 404),
        ("GET", "/tacit/v1/%61uthority", None, 404),
        ("POST", "/v1/fleet/activate-node", b"", 404),
    ],
)
def test_what_is_none_of_its_calls_is_refused(
    federation: Federation, method: str, path: str, body, status: int
) -> None:
    found, answer = call(federation, method, path, body)
    assert found == status
    assert b'"error"' in answer


def test_a_slow_body_is_cut(federation: Federation) -> None:
    where = federation.office.settings
    context = identities.trusting(federation.home.authority.read_text())
    with (
        socket.create_connection(("127.0.0.1", int(where.enrolment.split(":")[1])), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(
            f"POST {admission.PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{".encode()
        )
        assert b" 408 " in connection.recv(4096).split(b"\r\n")[0]


def test_a_silent_client_is_let_go(federation: Federation, monkeypatch) -> None:
    monkeypatch.setattr(doors, "_SILENCE", 0.2)
    context = identities.trusting(federation.home.authority.read_text())
    port = int(federation.office.settings.enrolment.split(":")[1])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET /tacit/v1/authority HTTP/1.1\r\nhost: ")
        assert connection.recv(1) == b""


def test_who_never_begins_a_handshake_is_let_go(tmp_path: Path, monkeypatch) -> None:
    """A connection without TLS costs a descriptor, for seconds only."""
    monkeypatch.setattr(doors, "_SILENCE", 0.3)
    with opened(tmp_path, founded(tmp_path / "server")) as federation:
        port = int(federation.office.settings.enrolment.split(":")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            assert raw.recv(1) == b""


def test_one_address_cannot_take_every_connection(federation: Federation) -> None:
    context = identities.trusting(federation.home.authority.read_text())
    port = int(federation.office.settings.enrolment.split(":")[1])
    with ExitStack() as stack:
        for _ in range(doors._EACH):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            stack.enter_context(context.wrap_socket(raw, server_hostname="localhost"))
        raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        one_more = stack.enter_context(context.wrap_socket(raw, server_hostname="localhost"))
        assert one_more.recv(1) == b""


def test_an_address_that_is_refused_too_often_has_to_wait(tmp_path: Path) -> None:
    with opened(tmp_path, founded(tmp_path / "server"), Throttle(most=3, window=3600.0)) as federation:
        for _ in range(3):
            assert call(federation, "POST", admission.PATH, b"{}")[0] == 400
        assert call(federation, "POST", admission.PATH, b"{}")[0] == 429
        with pytest.raises(RejectedError, match="wait"):
            federation.enrolled("ward-3")


def test_clients_of_old_tls_are_refused(federation: Federation) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(federation.home.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    port = int(federation.office.settings.enrolment.split(":")[1])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_rosters_are_for_enrolled_owners_only(federation: Federation) -> None:
    first, second = federation.enrolled("a"), federation.enrolled("b")
    assert current(first).named("b") is None
    found = take(first, newest_roster(first, time.time()))
    assert [each.name for each in found.entries] == ["a", "b"]
    assert approve(first, "b", second.entry.fingerprint) == second.entry
    with pytest.raises(RejectedError, match="clock"):
        newest_roster(first, time.time() - 3600)
    federation.office.registry.revoke("b", time.time())
    with pytest.raises(RejectedError, match="revoked"):
        newest_roster(second, time.time())
    assert [each.name for each in take(first, newest_roster(first, time.time())).entries] == ["a"]
    asked = admission.roster_request("nobody", first.keys.signing, time.time()).encode()
    assert call(federation, "POST", admission.ROSTER_PATH, asked)[0] == 400


def test_a_token_says_nothing_of_the_server_but_where_it_is(federation: Federation) -> None:
    text = federation.token("ward-3").text()
    assert re.fullmatch(r"tacit1-[A-Za-z0-9_-]{60,200}", text)
    key = serialization.load_pem_private_key(keyfile.read(federation.home.authority_key), None)
    assert federation.office.authority.certificate.public_key() == key.public_key()
    assert federation.office.authority.certificate.fingerprint(hashes.SHA256()) == federation.office.authority.pin
