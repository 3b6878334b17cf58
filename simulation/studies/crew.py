"""Crew: worker processes that answer a study's questions at the same time, one question each at a time.

Processes of their own and not forks: a fork copies whatever threads and locks its parent has, and asks every script that
starts a study for a guard around its main part.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from ...config import ConfigError

_CHUNK = 1 << 16
_TOLD = 12  # last lines of a worker's own words
_COMMAND = [sys.executable, "-m", "tacit.simulation.studies.worker"]


class StudyError(RuntimeError):
    """A study that cannot go on; says what is kept."""


class _Hand:
    """One worker process."""

    def __init__(self, first: str) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
        self.process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )  # fmt: skip
        self.read = b""
        self.ask(first)

    @property
    def answers(self) -> IO[bytes]:
        if self.process.stdout is None:
            raise StudyError("a worker has no output; start the study again")
        return self.process.stdout

    def ask(self, line: str) -> None:
        """Send one line; a worker that is gone is noticed when its answer does not come."""
        if self.process.stdin is None:
            raise StudyError("a worker has no input; start the study again")
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def answer(self) -> dict[str, Any] | None:
        """The answer, once all of it has come; raises `StudyError` for a worker that ended instead."""
        chunk = os.read(self.answers.fileno(), _CHUNK)
        if not chunk:
            raise StudyError(self._ended())
        self.read += chunk
        if not self.read.endswith(b"\n"):
            return None
        found: dict[str, Any] = json.loads(self.read)
        self.read = b""
        return found

    def _ended(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode("utf-8", "replace").splitlines()[-_TOLD:]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = "; the machine may have run out of memory: give fewer --workers" if code == -9 else ""
        return "\n".join([f"a worker ended with {how}{hint}; its last words:", *(f"  {line}" for line in said)])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # a question that nobody took
                    continue


class Crew:
    """Up to `size` workers on one study, each started when there is work for it."""

    def __init__(self, config: Mapping[str, Any], folder: str | None, predict: int | None, size: int) -> None:
        if size < 1:
            raise ConfigError(f"--workers {size}: give at least 1")
        self._first = json.dumps({"config": config, "folder": folder, "predict": predict})
        self._size = size
        self._hands: list[_Hand] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for hand in self._hands:
            hand.close()

    def answers(self, asked: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every question's index and answer, as they come; questions are begun in order.

        Raises `ConfigError` for a study that no worker can begin, `StudyError` where a worker ended.
        """
        waiting = list(enumerate(asked))[::-1]
        busy: dict[_Hand, int] = {}
        with selectors.DefaultSelector() as selector:

            def give(hand: _Hand) -> None:
                index, ask = waiting.pop()
                hand.ask(json.dumps(ask))
                busy[hand] = index

            while len(self._hands) < min(self._size, len(waiting)):
                self._hands.append(_Hand(self._first))
            for hand in self._hands:
                selector.register(hand.answers, selectors.EVENT_READ, hand)
                if waiting:
                    give(hand)
            while busy:
                for key, _ in selector.select():
                    hand = key.data
                    found = hand.answer()
                    if found is None:
                        continue
                    index = busy.pop(hand)
                    if "fatal" in found:
                        raise ConfigError(str(found["fatal"]))
                    yield index, found
                    if waiting:
                        give(hand)
