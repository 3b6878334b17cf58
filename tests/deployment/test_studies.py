"""Studies over real worker processes: the same answers as in one process, a clean stop, a death that is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tacit.config import Config, ConfigError, parse
from tacit.simulation.studies.crew import Crew, StudyError
from tacit.simulation.studies.trial import Bench, sketch, train

SMALL = """
[task]
use = "breast-cancer"
[population]
owners = 12
[rounds]
total = 4
[local]
use = "sgd"
lr = 0.5
[privacy]
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 20.0
"""


@pytest.fixture
def small() -> Config:
    return parse(SMALL, name="small")


def ask(values: dict[str, Any], seed: int, drawn: dict[str, Any]) -> dict[str, Any]:
    return {"do": "train", "values": values, "noise": drawn["noise"], "scale": drawn["noise_scale"], "seed": seed}


def test_workers_answer_every_question_once_and_with_the_same_bits(small: Config) -> None:
    bench = Bench(small, None)
    drawn = sketch(bench, {})
    questions = [ask({"rounds.total": rounds}, seed, drawn) for rounds in (1, 2) for seed in (0, 1, 2)]
    with Crew(small.model_dump(), None, None, 2) as crew:
        found = dict(crew.answers(questions))
        again = dict(crew.answers(questions[:1]))
    assert sorted(found) == list(range(6))
    for index, question in enumerate(questions):
        here = train(bench, question["values"], drawn["noise"], 1.0, question["seed"])
        assert found[index]["metrics"] == here["metrics"]
    assert again[0]["metrics"] == found[0]["metrics"]


def test_what_a_task_prints_is_no_answer_and_a_death_is_told_with_its_last_words(small: Config, tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(
        "import os, sys\ndef task():\n    print('hello', flush=True)\n    sys.stderr.write('going down\\n')\n"
        "    sys.stderr.flush()\n    os._exit(7)\n"
    )
    config = parse(SMALL, {"task.use": "talking:task"})
    with (
        Crew(config.model_dump(), str(tmp_path), None, 1) as crew,
        pytest.raises(StudyError, match=r"(?s)a worker ended with exit code 7; its last words:.*hello.*going down"),
    ):
        list(crew.answers([{"do": "sketch", "values": {}}]))


def test_a_study_that_no_worker_can_begin_is_a_mistake_in_the_file(small: Config) -> None:
    config = parse(SMALL, {"task.use": "nowhere"})
    with Crew(config.model_dump(), None, None, 1) as crew, pytest.raises(ConfigError, match="nowhere"):
        list(crew.answers([{"do": "sketch", "values": {}}]))


def test_a_stopped_study_keeps_its_trainings_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    command = [sys.executable, "-m", "tacit", "study", "small.toml", "--vary", "rounds.total=3,4", "--seeds", "15",
               "--workers", "1", "--out", "kept", "--json", "-q"]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "kept/trials.jsonl"
    try:
        while not journal.exists() or '"train"' not in journal.read_text():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        workers = [int(each) for each in children(process.pid)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "of 30 trainings are kept; the same command goes on" in json.loads(out)["error"]["message"]
    assert workers
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    before = journal.read_text().splitlines()
    kept = sum(json.loads(line)["kind"] == "train" for line in before)
    assert 0 < kept < 30
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [len(point["trials"]) for point in result["points"]] == [15, 15]
    after = journal.read_text().splitlines()
    assert after[: len(before)] == before
    assert sum(json.loads(line)["kind"] == "train" for line in after) == 30


def children(process: int) -> list[str]:
    """Process ids of the children of a process."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def test_two_studies_do_not_work_in_one_folder(tmp_path: Path) -> None:
    from tacit.simulation.studies.study import study
    from tacit.strategies.lock import FolderLock, LockError

    (tmp_path / "a").mkdir()
    with FolderLock(tmp_path / "a"), pytest.raises(LockError, match=f"process {os.getpid()} works in this folder"):
        study(parse(SMALL), vary={"rounds.total": [1]}, out=tmp_path / "a")
