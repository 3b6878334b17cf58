"""The registry: an invitation counts once, a revocation at once, in every process."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.server import authority, registry
from tacit.server.home import ServerHome
from tacit.server.registry import (
    EnrolledError,
    ExpiredTokenError,
    KnownKeyError,
    RefusedTokenError,
    Registry,
    UnknownOwnerError,
    UnreadableError,
    UsedTokenError,
)
from tacit.strategies import keyfile
from tacit.strategies.admission import Applicant, public_pem
from tacit.strategies.roster import OwnerNameError

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> authority.Authority:
    home = ServerHome(tmp_path_factory.mktemp("issuer") / "server")
    keyfile.folder(home.root)
    return authority.found(home, NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "registry.sqlite"
    registry.make(made)
    return made


@pytest.fixture
def known(path: Path):
    with Registry(path) as opened:
        yield opened


def applicant(secret: bytes) -> Applicant:
    return Applicant(
        secret,
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        public_pem(ec.generate_private_key(ec.SECP384R1()).public_key()),
        Ed25519PrivateKey.generate().public_key().public_bytes_raw(),
    )


@pytest.fixture
def enrol(known: Registry, issuer):
    def enrolled(who: Applicant, now: float = NOW, into: Registry = known):
        def certify(name: str) -> x509.Certificate:
            return issuer.for_owner(name, who.tls_key, now)

        return into.enrol(who, now, certify)

    return enrolled


def test_an_invited_owner_is_enrolled_and_admitted_with_its_own_node_key_only(known, enrol) -> None:
    for name, secret in (("a", b"1"), ("b", b"2")):
        known.invite(name, secret, NOW + 60)
    first, second = enrol(applicant(b"1")), enrol(applicant(b"2"))
    assert (first.number, first.name, second.number, second.name) == (1, "a", 2, "b")
    assert known.admits(first.certificate, first.node_key)
    assert not known.admits(first.certificate, second.node_key)
    assert not known.admits(first.certificate, b"")
    assert not known.admits(b"", first.node_key)
    assert known.owners() == (first, second)
    assert known.owner("a") == first


def test_a_token_counts_once(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    who = applicant(b"1")
    first = enrol(who)
    with pytest.raises(UsedTokenError, match="revoke"):
        enrol(applicant(b"1"))
    assert enrol(who) == first  # the answer was lost: the same keys get the same certificate
    assert enrol(who, NOW + 1e6) == first
    assert known.version() == 1


def test_of_many_that_show_one_token_at_once_one_is_enrolled(path: Path, known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)

    def race(who: Applicant) -> bool:
        with Registry(path) as own:
            try:
                enrol(who, into=own)
            except UsedTokenError:
                return False
            return True

    with ThreadPoolExecutor(8) as racing:
        assert sum(racing.map(race, [applicant(b"1") for _ in range(16)])) == 1
    assert len(known.owners()) == 1


@pytest.mark.parametrize(("late", "refused"), [(-1.0, False), (0.0, True), (1.0, True)])
def test_a_token_expires(known, enrol, late: float, refused: bool) -> None:
    known.invite("a", b"1", NOW + 60)
    if refused:
        with pytest.raises(ExpiredTokenError):
            enrol(applicant(b"1"), NOW + 60 + late)
        assert known.owners() == ()
    else:
        assert enrol(applicant(b"1"), NOW + 60 + late).name == "a"


def test_a_token_that_was_never_made_is_refused(known, enrol) -> None:
    with pytest.raises(RefusedTokenError) as found:
        enrol(applicant(b"9"))
    assert found.value.code == "unknown-token"


def test_a_new_token_voids_the_old_one(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    known.invite("a", b"2", NOW + 60)
    assert [each.name for each in known.invitations(NOW)] == ["a"]
    with pytest.raises(ExpiredTokenError):
        enrol(applicant(b"1"))
    assert enrol(applicant(b"2")).name == "a"
    assert known.invitations(NOW) == ()


def test_a_revocation_counts_at_once_for_those_who_have_it_open(path: Path, known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    owner = enrol(applicant(b"1"))
    known.invite("b", b"2", NOW + 60)
    assert known.admits(owner.certificate, owner.node_key)
    code = "import sys, pathlib, tacit.server.registry as r; r.Registry(pathlib.Path(sys.argv[1])).revoke('a', 1.0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert not known.admits(owner.certificate, owner.node_key)
    assert known.owner("a").revoked == 1.0
    assert known.roster(b"a" * 32).entries == ()
    assert known.version() == 2


def test_revoking_again_changes_nothing_and_voids_invitations(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    enrol(applicant(b"1"))
    known.revoke("a", NOW)
    known.invite("a", b"2", NOW + 60)
    assert known.revoke("a", NOW + 5).revoked == NOW
    assert known.version() == 2
    with pytest.raises(ExpiredTokenError):
        enrol(applicant(b"2"))
    with pytest.raises(UnknownOwnerError):
        known.revoke("nobody", NOW)


def test_an_owner_that_comes_back_keeps_its_number_and_its_old_certificate_stays_refused(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    who = applicant(b"1")
    old = enrol(who)
    with pytest.raises(EnrolledError, match="revoke a"):
        known.invite("a", b"2", NOW + 60)
    known.revoke("a", NOW)
    with pytest.raises(UsedTokenError):
        enrol(who)  # the used token does not bring a revoked owner back
    known.invite("a", b"2", NOW + 60)
    new = enrol(applicant(b"2"))
    assert (new.number, new.revoked) == (old.number, None)
    assert not known.admits(old.certificate, old.node_key)
    assert not known.admits(old.certificate, new.node_key)
    assert known.admits(new.certificate, new.node_key)


def test_an_enrolled_owner_is_certified_again_for_old_keys_or_for_new_ones(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    who = applicant(b"1")
    old = enrol(who)
    known.invite_again("a", b"2", NOW + 60)
    assert known.admits(old.certificate, old.node_key)  # until the new one is made
    new = enrol(Applicant(b"2", who.tls_key, who.node_key, who.signing_key))
    assert (new.number, new.signing_key) == (old.number, old.signing_key)
    assert known.admits(new.certificate, new.node_key)
    assert known.admits(old.certificate, old.node_key)  # the same key: whoever holds it has the new one as well
    known.invite_again("a", b"3", NOW + 60)
    last = enrol(applicant(b"3"))
    assert known.admits(last.certificate, last.node_key)
    assert not known.admits(new.certificate, new.node_key)
    with pytest.raises(UsedTokenError):
        enrol(applicant(b"1"))
    known.revoke("a", NOW)
    for name in ("a", "nobody"):
        with pytest.raises(UnknownOwnerError):
            known.invite_again(name, b"3", NOW + 60)


@pytest.mark.parametrize("part", ["node_key", "signing_key"])
def test_no_owner_takes_anothers_key(known, enrol, part: str) -> None:
    known.invite("a", b"1", NOW + 60)
    known.invite("b", b"2", NOW + 60)
    first = enrol(applicant(b"1"))
    other = applicant(b"2")
    keys = {"node_key": other.node_key, "signing_key": other.signing_key, part: getattr(first, part)}
    with pytest.raises(KnownKeyError):
        enrol(Applicant(other.secret, other.tls_key, **keys))
    assert [each.name for each in known.owners()] == ["a"]
    assert enrol(other).name == "b"  # the invitation was not used up by it


def test_the_roster_is_of_one_version(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    assert known.roster(b"a" * 32).version == 0
    owner = enrol(applicant(b"1"))
    found = known.roster(b"a" * 32)
    assert (found.version, found.entries) == (1, (owner.entry,))


def test_no_secret_is_in_the_file(path: Path, known, enrol) -> None:
    secret = bytes(range(100, 132))
    known.invite("a", secret, NOW + 60)
    enrol(applicant(secret))
    for each in path.parent.iterdir():
        content = each.read_bytes()
        assert secret not in content
        assert secret.hex().encode() not in content
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_bad_names_are_refused(known) -> None:
    with pytest.raises(OwnerNameError):
        known.invite("../a", b"1", NOW + 60)


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 100])
def test_an_unreadable_registry_is_said_to_be(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "r.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableError, match="restore a backup"):
        Registry(path)


def test_a_registry_that_becomes_unreadable_admits_nobody(known, enrol) -> None:
    known.invite("a", b"1", NOW + 60)
    owner = enrol(applicant(b"1"))
    known.close()
    assert not known.admits(owner.certificate, owner.node_key)


def test_a_renewed_certificate_is_for_the_same_key_and_changes_nothing_else(known, enrol, issuer) -> None:
    known.invite("a", b"1", NOW + 60)
    who = applicant(b"1")
    old, version = enrol(who), known.version()

    def certify(of: x509.Certificate) -> x509.Certificate:
        assert of.public_key() == who.tls_key
        return issuer.for_owner("a", of.public_key(), NOW + 60)  # type: ignore[arg-type]  # the fixture makes P-256 keys

    new = known.recertify("a", certify)
    assert new.certificate != old.certificate
    assert (new.number, new.node_key, new.signing_key, known.version()) == (1, old.node_key, old.signing_key, version)
    assert known.admits(new.certificate, new.node_key)
    known.revoke("a", NOW)
    with pytest.raises(UnknownOwnerError):
        known.recertify("a", certify)
