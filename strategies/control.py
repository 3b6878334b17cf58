"""Control: how the verbs of the command line talk to a daemon on the same machine.

A gRPC server on a Unix socket that only its user may open (mode 0600 from its first instant: it is bound inside a folder of
its own, mode 0700, and then moved to its place). Each method takes a JSON object and answers one; they are exactly the ones
of the mapping that the server is given, and there is no generated code. Beside them stands the standard gRPC health service.

Sockets are addressed through their folder's descriptor (`/proc/self/fd/N/name`), so that neither the 107 bytes that a Unix
socket's path may have nor odd characters in it matter; this is Linux only, as the daemons are.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SOCKET = "control.sock"
SERVICE = "tacit.Control"
Method: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Methods: TypeAlias = Mapping[str, Method]

_THREADS = 4
_PATIENCE = 5.0  # seconds; every method answers at once, what takes longer is asked for and then watched
# A pool of its own: addresses are descriptors, and the next channel may find another folder under the same number.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


class ControlError(RuntimeError):
    """A daemon cannot be asked, or its answer is no answer."""


class NotRunningError(ControlError):
    """There is no daemon at this socket."""


class RestartingError(ControlError):
    """A part of the daemon is on its way back; the same call will be answered in a moment."""


class RunningError(ControlError):
    """There is a daemon at this socket already."""


class DeclinedError(ControlError):
    """The daemon's answer is no: raised by a method, and again where it was called."""


class ControlServer:
    """Serves `methods` and the health service at the socket `path` until closed; not healthy until told so."""

    def __init__(self, path: Path, methods: Methods) -> None:
        """Raises `RunningError` where another process serves this socket; a dead one's socket is replaced.

        A folder that is not there is made, for this user only.
        """
        if _answers(path):
            raise RunningError(f"{path}: a daemon answers here already; stop it first, or choose another folder")
        self._path = path
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="tacit-control")
        self._health = health.HealthServicer()
        self._server = grpc.server(self._pool)
        handlers = {name: _handler(method) for name, method in methods.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.serving(False)
        self._identity = self._bind()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serving(self, healthy: bool) -> None:
        """What the health service answers from now on."""
        status = health_pb2.HealthCheckResponse.SERVING if healthy else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            self._health.set(service, status)

    def close(self) -> None:
        """End the calls that are under way and remove the socket, unless it is another's by now."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace=1.0).wait()
        self._pool.shutdown()
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._identity:
                self._path.unlink()

    def _bind(self) -> tuple[int, int]:
        private = self._path.with_name(f".{self._path.name}.new")
        shutil.rmtree(private, ignore_errors=True)  # of a daemon that was killed in these lines
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.mkdir(mode=0o700)
        try:
            bound = private / SOCKET
            with _address(bound) as address:
                self._server.add_insecure_port(address)
                self._server.start()
            bound.chmod(0o600)
            identity = _identity(bound)
            bound.replace(self._path)
        finally:
            shutil.rmtree(private)
        return identity


def call(
    path: Path, method: str, request: Mapping[str, Any] | None = None, *, start: str, timeout: float = _PATIENCE
) -> dict[str, Any]:
    """The answer of the daemon at the socket `path`; `start` is what to type where none runs.

    Raises `NotRunningError`, `DeclinedError` with the daemon's own words, `RestartingError`, and `ControlError` for everything
    else.
    """
    with _channel(path, start) as channel:
        asked = channel.unary_unary(f"/{SERVICE}/{method}")
        try:
            answer = asked(_printed(request or {}), timeout=timeout)
        except grpc.RpcError as error:
            raise _refusal(error, path, method, start, timeout) from error
    found = json.loads(answer)
    if not isinstance(found, dict):
        raise ControlError(f"{path}: {method} answered {type(found).__name__}; both must be the same version of Tacit")
    return found


def healthy(path: Path, *, start: str, timeout: float = _PATIENCE) -> bool:
    """Whether the daemon at the socket `path` says that it serves. Raises as `call` does."""
    with _channel(path, start) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise _refusal(error, path, "health", start, timeout) from error
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def stop(path: Path, *, start: str, timeout: float) -> int:
    """Ask the daemon at the socket `path` to stop and wait until its process is gone; returns its process id.

    Its method `stop` answers its process id at once. Raises `ControlError` where it is still there after `timeout` seconds.
    """
    process = call(path, "stop", start=start)["pid"]
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return int(process)
    try:
        gone, _, _ = select.select([descriptor], [], [], timeout)
    finally:
        os.close(descriptor)
    if not gone:
        raise ControlError(
            f"process {process} is still stopping after {timeout:g} s; wait, look in its log, or end it with "
            f"`kill -9 {process}`: nothing is lost by that"
        )
    return int(process)


def _handler(method: Method) -> Any:  # grpc has no types
    def answer(request: bytes, context: Any) -> bytes:
        try:
            asked = json.loads(request)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is no JSON object")
        try:
            return _printed(method(asked))
        except RestartingError as error:
            context.abort(grpc.StatusCode.ABORTED, str(error))
            raise  # as below
        except ControlError as error:  # the method's own no, or that of a daemon that it asked
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise  # abort has raised already; this line is for the reader and the type checker

    return grpc.unary_unary_rpc_method_handler(answer)


def _printed(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _refusal(error: grpc.RpcError, path: Path, method: str, start: str, timeout: float) -> ControlError:
    code, said = error.code(), error.details()
    if code == grpc.StatusCode.UNAVAILABLE:
        return _none(path, start)
    if code == grpc.StatusCode.FAILED_PRECONDITION:
        return DeclinedError(said)
    if code == grpc.StatusCode.ABORTED:
        return RestartingError(said)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return ControlError(f"{path}: the daemon did not answer {method} within {timeout:g} s; look in its log")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ControlError(f"{path}: the daemon knows no {method}; both must be the same version of Tacit")
    return ControlError(f"{path}: {method} failed in the daemon ({said}); look in its log")


def _none(path: Path, start: str) -> NotRunningError:
    return NotRunningError(f"no daemon runs in {path.parent}; start it with `{start}`")


@contextlib.contextmanager
def _channel(path: Path, start: str) -> Iterator[Any]:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _none(path, start) from error
    except PermissionError as error:
        raise ControlError(f"{path}: belongs to another user; run this as the daemon's user") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(f"{path}: is no socket; remove it and start the daemon with `{start}`")
    if not os.access(path, os.R_OK | os.W_OK):
        raise ControlError(f"{path}: belongs to user {found.st_uid}; run this as the daemon's user")
    with _address(path) as address, grpc.insecure_channel(address, options=_OPTIONS) as channel:
        yield channel


def _answers(path: Path) -> bool:
    """Whether somebody listens, even if too busy to answer; of a killed daemon's socket the kernel knows at once."""
    try:
        with (
            _channel(path, start=""), _address(path) as address,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe,
        ):  # fmt: skip
            probe.connect(address.removeprefix("unix:"))
    except BlockingIOError:  # its queue is full
        return True
    except (NotRunningError, ConnectionRefusedError, FileNotFoundError):
        return False
    return True


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"unix:/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
