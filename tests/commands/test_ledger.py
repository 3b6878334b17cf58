"""`tacit ledger`: an owner's and a coordinator's folder, ledgers by themselves and exports; budgets raised by somebody."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.client.budget import allowed_by, settle
from tacit.client.home import ClientHome
from tacit.client.settings import load_settings
from tacit.client.vault import anchor_file, open_vault
from tacit.privacy.event import Gaussian, Skellam
from tacit.privacy.ledger.creation import create
from tacit.privacy.ledger.entry import Address, Price
from tacit.privacy.ledger.errors import AnchorError, LedgerError
from tacit.privacy.ledger.store import Store
from tacit.strategies import keyfile

AGENT = """
[policy]
tasks = [ { use = "breast-cancer" } ]
unit = "owner"
relation = "zero-out"
colluders = 0
smallest_cohort = 5
epsilon = 6.0
epsilon_run = 3.0
delta = 1e-5
[assets.ward3]
task = "breast-cancer"
source = "csv:gone.csv"
"""


def work(home: ClientHome, rounds: int, run: str = "run") -> None:
    """What an agent does: charges rounds of a run."""
    settings = load_settings(home.settings_file)
    with open_vault(home, settings.ledger.anchor, "ward3", clock=lambda: 1_700_000_000) as store:
        settle(store, settings.policy, lambda: 1_700_000_000)
        for round in range(rounds):
            price = Price(settings.policy.currency, Gaussian(10.0))
            store.commit(store.reserve(Address(run, round, 0), "a" * 64, lambda _, price=price: price), "b" * 64)


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    folder = tmp_path / "agent"
    keyfile.folder(folder)
    (folder / "agent.toml").write_text(AGENT)
    made = ClientHome(folder)
    work(made, 4)
    return made


@pytest.fixture
def ledger(home: ClientHome) -> Path:
    return home.ledgers / "ward3.sqlite"


# --- show ---


def test_it_shows_what_was_spent_and_what_is_guaranteed(program: Any, home: ClientHome) -> None:
    ended = program("ledger", "show", "--dir", "agent")
    assert ended.code == 0, ended.err
    line = next(each for each in ended.out.splitlines() if each.strip().startswith("run run"))
    assert line.rstrip().endswith("3.00 quota")
    whole = next(each for each in ended.out.splitlines() if each.strip().startswith("all"))
    assert whole.rstrip().endswith("6.00 filter")
    assert any(
        each.startswith("  run run") and each.endswith("released 4 × Gaussian 10") for each in ended.out.splitlines()
    )
    assert "against the server" in ended.out
    (found,) = json.loads(program("ledger", "show", "--dir", "agent", "--json").out)["ledgers"]
    assert (found["asset"], found["lines"], found["total"][0]["charges"]) == ("ward3", 10, 4)
    assert 0 < found["total"][0]["spent"] < 3.0
    assert found["allowed"][0]["by"] == "agent.toml"


def test_what_was_realised_is_shown_beside_it_as_no_guarantee(program: Any, home: ClientHome) -> None:
    """Shared noise: by the survivors where they were noted; at the floor, and said so, where they were not."""

    def shown() -> tuple[str, dict[str, Any]]:
        ended = program("ledger", "show", "--dir", "agent")
        assert "realised ε" in ended.out
        assert "no guarantee" in ended.out
        row = next(each for each in ended.out.splitlines() if each.strip().startswith("run shared"))
        (found,) = json.loads(program("ledger", "show", "--dir", "agent", "--json").out)["ledgers"]
        return row + ended.out, next(each for each in found["runs"] if each["name"] == "shared")["sums"][0]

    settings = load_settings(home.settings_file)
    floor, more = Skellam(1e6, 100.0, 1000.0), Skellam(4e6, 100.0, 1000.0)
    numbers = []
    with open_vault(home, settings.ledger.anchor, "ward3", clock=lambda: 1_700_000_000) as store:
        for round in range(2):
            price = Price(settings.policy.currency, floor)
            numbers.append(store.reserve(Address("shared", round, 0), "a" * 64, lambda _, price=price: price))
            store.commit(numbers[-1], "b" * 64)
    words, row = shown()
    assert "unknown" in words
    assert (row["realised"], row["survivors_known"], row["survivors_unknown"]) == (None, 0, 2)
    with open_vault(home, settings.ledger.anchor, "ward3", clock=lambda: 1_700_000_000) as store:
        store.survived(numbers[0], 9, more)
    words, half = shown()
    assert "Of 1 of 2 charges it is not known here" in words
    assert (half["survivors_known"], half["survivors_unknown"]) == (1, 1)
    with open_vault(home, settings.ledger.anchor, "ward3", clock=lambda: 1_700_000_000) as store:
        store.survived(numbers[1], 9, more)
    _, whole = shown()
    assert 0 < whole["realised"] < half["realised"] < half["spent"] == row["spent"] == whole["spent"]
    assert whole["realised"] == pytest.approx(whole["spent"] / 2, rel=0.15)  # four times the variance
    assert program("ledger", "verify", "--dir", "agent").code == 0
    assert program("ledger", "export", "--dir", "agent", "--out", "all.jsonl").code == 0
    assert program("ledger", "verify", "all.jsonl").code == 0


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_it_draws_the_spending(program: Any, ledger: Path, suffix: str) -> None:
    ended = program("ledger", "show", str(ledger), "--plot", f"spent.{suffix}")
    assert ended.code == 0, ended.err
    drawn = Path(f"spent.{suffix}").read_bytes()
    assert drawn.startswith(b"\x89PNG" if suffix == "png" else b"<")


@pytest.mark.parametrize(("words", "code"), [(["--plot", "x.pdf"], 2), (["nowhere"], 1), (["--dir", "empty"], 2)])
def test_what_cannot_be_shown_is_said(program: Any, home: ClientHome, words: list[str], code: int) -> None:
    assert program("ledger", "show", *words).code == code


def test_reading_loads_neither_torch_nor_an_accountant_of_others(home: ClientHome) -> None:
    script = (
        "import sys\nfrom tacit.commands.main import execute\n"
        "for verb in ('show', 'verify', 'export'): assert execute(['ledger', verb, '--dir', sys.argv[1]]) == 0\n"
        "print(*(m for m in ('torch', 'dp_accounting', 'opacus', 'flwr', 'matplotlib') if m in sys.modules), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(home.root)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")


# --- verify ---


def test_a_folder_s_ledger_holds_with_its_key_and_anchor(program: Any, home: ClientHome) -> None:
    ended = program("ledger", "verify", "--dir", "agent")
    assert ended.code == 0, ended.err
    assert "10 lines hold together, all signed by" in ended.out
    assert "held: names line 9 of 9" in ended.out
    assert "names itself" not in ended.out
    found = json.loads(program("ledger", "verify", "--dir", "agent", "--json").out)
    assert (found["holds"], found["ledgers"][0]["lines"]) == (True, 10)


@pytest.mark.parametrize("number", [1, 5, 9])
@pytest.mark.parametrize("column", ["body", "digest", "signature"])
def test_a_changed_line_is_named_and_leaves_with_1(program: Any, ledger: Path, number: int, column: str) -> None:
    connection = sqlite3.connect(ledger, isolation_level=None)
    connection.execute(f"UPDATE entries SET {column} = CAST({column} || 'x' AS BLOB) WHERE number = ?", (number,))
    connection.close()
    for words in (["--dir", "agent"], [str(ledger)]):
        ended = program("ledger", "verify", *words)
        assert ended.code == 1
        assert f"line {number}" in ended.err
    told = json.loads(program("ledger", "verify", str(ledger), "--json").out)
    assert told["holds"] is False
    assert f"line {number}" in told["ledgers"][0]["fault"]


def test_an_older_copy_is_found_by_the_anchor_and_by_one_that_somebody_kept(
    program: Any, home: ClientHome, ledger: Path
) -> None:
    old = ledger.with_name("old")
    shutil.copy(ledger, old)
    work(home, 1, "more")
    anchor = anchor_file(home, None, "ward3")
    kept = Path("kept.json")
    with open_vault(home, None, "ward3") as store:
        kept.write_text(json.dumps(store.anchor().to_json()))
    assert program("ledger", "verify", str(ledger), "--anchor", str(kept)).code == 0
    work(home, 1, "later")
    assert program("ledger", "verify", str(ledger), "--anchor", str(kept)).code == 0  # of then, and the ledger went on
    shutil.copy(old, ledger)
    for words in (["--dir", "agent"], [str(ledger), "--anchor", str(anchor)], [str(ledger), "--anchor", str(kept)]):
        ended = program("ledger", "verify", *words)
        assert ended.code == 1
        assert "older copy" in ended.err
        assert "its anchor held" in ended.err
    assert program("ledger", "verify", str(ledger)).code == 0  # by itself it fits together
    with pytest.raises(LedgerError):
        work(home, 1)


def test_a_ledger_that_goes_on_meanwhile_holds(program: Any, home: ClientHome) -> None:
    """Ledger and anchor are read one after the other, and an agent at work moves both."""
    ended = threading.Event()

    def agent() -> None:
        settings = load_settings(home.settings_file)
        price = Price(settings.policy.currency, Gaussian(1000.0))
        with open_vault(home, None, "ward3") as store:
            for round in range(100_000):
                if ended.is_set():
                    return
                store.reserve(Address("meanwhile", round, 0), "a" * 64, lambda _: price)

    working = threading.Thread(target=agent)
    working.start()
    try:
        for _ in range(8):
            assert program("ledger", "verify", "--dir", "agent").code == 0
    finally:
        ended.set()
        working.join()


def test_the_key_of_somebody_else_is_no_proof(program: Any, ledger: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert program("ledger", "verify", str(ledger), "--key", other).code == 1
    assert program("ledger", "verify", str(ledger), "--key", "12").code == 2
    assert "names itself" in program("ledger", "verify", str(ledger)).out


def test_more_than_was_allowed_is_found(program: Any, home: ClientHome) -> None:
    settings = load_settings(home.settings_file)
    with open_vault(home, None, "ward3") as store:
        price = Price(settings.policy.currency, Gaussian(0.2))
        store.reserve(Address("much", 0, 0), "a" * 64, lambda _: price)
    ended = program("ledger", "verify", "--dir", "agent")
    assert ended.code == 1
    assert "over its budget" in ended.err


@pytest.mark.parametrize("verb", ["verify", "show", "export"])
def test_a_ledger_that_is_gone_is_no_ledger_that_was_never_used(
    program: Any, home: ClientHome, ledger: Path, verb: str
) -> None:
    """Its anchor knows of it; without that too, the replies that it paid for do."""
    ledger.unlink()
    for _ in range(2):
        ended = program("ledger", verb, "--dir", "agent")
        assert ended.code == 1
        assert "no ledger, but 'ward3' was used" in ended.err
        assert "nothing was spent" not in ended.out
        anchor_file(home, None, "ward3").unlink(missing_ok=True)
        (home.replies / "ward3").mkdir(parents=True, exist_ok=True)
        (home.replies / "ward3" / "1.reply").touch()


def test_a_ledger_that_was_never_made_is_none_that_is_gone(program: Any, home: ClientHome, ledger: Path) -> None:
    """Killed between anchor and file: the anchor names line 0 alone, and the next start makes the ledger."""
    ledger.unlink()
    anchor_file(home, None, "ward3").unlink()
    beside = ledger.with_name("beside")
    create(beside, "ward3", key=keyfile.ed25519_key(home.signing_key), anchor=anchor_file(home, None, "ward3"))
    beside.unlink()
    ended = program("ledger", "verify", "--dir", "agent")
    assert (ended.code, "nothing was spent yet" in ended.out) == (0, True)


def test_an_older_copy_is_shown_and_exported_to_nobody_as_if_it_were_the_newest(
    program: Any, home: ClientHome, ledger: Path
) -> None:
    old = ledger.with_name("old")
    shutil.copy(ledger, old)
    work(home, 1, "more")
    shutil.copy(old, ledger)
    old.unlink()
    for words in (["show"], ["show", "--json"], ["show", "--plot", "x.svg"], ["export"]):
        ended = program("ledger", *words, "--dir", "agent")
        assert ended.code == 1
        assert "older copy" in ended.out + ended.err
    assert program("ledger", "show", str(ledger)).code == 0  # by itself it is what it is


def test_what_lies_under_another_name_is_found(program: Any, home: ClientHome, ledger: Path) -> None:
    ledger.rename(ledger.with_name("ward4.sqlite"))
    anchor_file(home, None, "ward3").rename(anchor_file(home, None, "ward4"))
    ended = program("ledger", "verify", "--dir", "agent")
    assert ended.code == 1
    assert "the ledger of asset 'ward3', not of 'ward4'" in ended.err


def test_one_that_does_not_hold_hides_none_that_does(program: Any, home: ClientHome, ledger: Path) -> None:
    shutil.copy(ledger, ledger.with_name("ward4.sqlite"))
    ended = program("ledger", "show", "--dir", "agent")
    assert ended.code == 1
    assert "ward3: 10 lines" in ended.out
    assert "ward4" in ended.err


def test_the_command_that_finds_a_fault_does_not_send_you_to_itself(program: Any, ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes()[:5000])
    ended = program("ledger", "verify", "--dir", "agent")
    assert ended.code == 1
    assert "tacit ledger verify" not in ended.err


# --- export ---


def test_an_export_verifies_and_a_changed_one_does_not(program: Any, home: ClientHome) -> None:
    ended = program("ledger", "export", "--dir", "agent", "--out", "ward3.jsonl", "--json")
    assert json.loads(ended.out)["lines"] == 10
    text = Path("ward3.jsonl").read_text()
    assert program("ledger", "export", "--dir", "agent").out == text
    key = keyfile.ed25519_key(home.signing_key).public_key().public_bytes_raw().hex()
    anchor = str(anchor_file(home, None, "ward3"))
    words = ("ledger", "verify", "ward3.jsonl", "--key", key, "--anchor", anchor)
    assert program(*words).code == 0
    Path("ward3.jsonl").write_text(text.replace("10.0", "90.0", 1))
    assert program(*words).code == 1
    Path("ward3.jsonl").write_text("".join(text.splitlines(keepends=True)[:-2]))
    assert "older copy" in program(*words).err
    assert program("ledger", "export", "--dir", "agent", "--json").code == 2


# --- allow, anchor ---


def test_a_raised_file_stops_the_agent_until_somebody_allows_it(program: Any, home: ClientHome) -> None:
    home.settings_file.write_text(AGENT.replace("epsilon = 6.0", "epsilon = 9.0"))
    with pytest.raises(LedgerError, match="tacit ledger allow ward3"):
        work(home, 1, "next")
    ended = program("ledger", "allow", "ward3", "--by", "Ada", "--dir", "agent", "--yes")
    assert ended.code == 0, ended.err
    assert "6 → 9" in ended.out
    work(home, 1, "next")
    shown = program("ledger", "show", "--dir", "agent").out
    assert "allowed anew by Ada" in shown
    assert json.loads(program("ledger", "allow", "ward3", "--dir", "agent", "--json").out)["more"] == []
    assert program("ledger", "allow", "ward9", "--dir", "agent", "--yes").code == 2


def test_a_lost_anchor_is_made_anew_by_somebody_and_that_shows(program: Any, home: ClientHome, ledger: Path) -> None:
    anchor = anchor_file(home, None, "ward3")
    anchor.unlink()
    with pytest.raises(AnchorError, match="tacit ledger anchor"):
        work(home, 1)
    assert program("ledger", "verify", "--dir", "agent").code == 1
    ended = program("ledger", "anchor", "ward3", "--dir", "agent", "--yes")
    assert ended.code == 0, ended.err
    assert "line 10" in ended.out
    work(home, 1, "next")
    assert program("ledger", "verify", "--dir", "agent").code == 0
    connection = sqlite3.connect(ledger)
    (body,) = connection.execute("SELECT body FROM entries WHERE number = 10").fetchone()
    connection.close()
    assert json.loads(body)["kind"] == "anchored"


def test_the_settings_say_where_the_anchor_is(program: Any, home: ClientHome, tmp_path: Path) -> None:
    elsewhere = tmp_path / "volume"
    home.settings_file.write_text(AGENT + f'[ledger]\nanchor = "{elsewhere}"\n')
    with pytest.raises(AnchorError, match="volume"):
        work(home, 1, "next")
    elsewhere.mkdir()
    shutil.copy(anchor_file(home, None, "ward3"), elsewhere)
    work(home, 1, "next")
    assert "volume" in program("ledger", "verify", "--dir", "agent").out


def test_a_coordinator_s_folder(program: Any, tmp_path: Path) -> None:
    assert program("server", "init", "server", "--host", "127.0.0.1").code == 0
    folder = tmp_path / "server"
    assert "nothing was spent yet" in program("ledger", "show", "--dir", "server").out
    key, anchor = keyfile.ed25519_key(folder / "keys" / "signing.key"), folder / "anchors" / "server.anchor"
    create(folder / "ledger.sqlite", "server", key=key, anchor=anchor)
    policy = load_settings_of(AGENT, tmp_path)
    with Store(folder / "ledger.sqlite", "server", key=key, anchor=anchor) as store:
        store.allow(lambda account: allowed_by(policy, account, "test", 0))
    for verb in ("show", "verify", "export"):
        assert program("ledger", verb, "--dir", "server").code == 0
    assert "held" in program("ledger", "verify", "--dir", "server").out
    anchor.unlink()
    assert program("ledger", "anchor", "server", "--dir", "server", "--yes").code == 0
    assert program("ledger", "verify", "--dir", "server").code == 0
    (folder / "ledger.sqlite").unlink()
    assert "no ledger, but 'server' was used" in program("ledger", "verify", "--dir", "server").err


def load_settings_of(text: str, folder: Path) -> Any:
    path = folder / "some.toml"
    path.write_text(text)
    return load_settings(path).policy
