"""Faults: which exit code an error has, and the one screen of text that it becomes.

| code | means                                                        |
|------|--------------------------------------------------------------|
| 0    | done                                                         |
| 1    | failed: data, disk, rounds, or a fault of Tacit itself       |
| 2    | usage: command line or configuration                         |
| 3    | refused by a budget or a policy                              |
| 130  | interrupted; where there is a checkpoint, it says how to go on |

The classes are named by text, because importing them would load torch to report a missing file.
"""

from __future__ import annotations

import errno
import os
import platform
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

FAILED, USAGE, REFUSED, INTERRUPTED = 1, 2, 3, 130

# The first class in an error's method resolution order that stands here decides.
CODES: Mapping[str, int] = {
    "tacit.config.ConfigError": USAGE,
    "tacit.strategies.federation.OverBudgetError": REFUSED,
    "tacit.privacy.ledger.memory.BudgetError": REFUSED,
    "tacit.privacy.ledger.errors.LedgerError": FAILED,
    "tacit.privacy.ledger.errors.AllowanceError": REFUSED,
    "tacit.privacy.ledger.certificate.CertificateError": FAILED,
    "tacit.privacy.claim.ClaimError": USAGE,
    "tacit.privacy.pipeline.PipelineError": USAGE,
    "tacit.privacy.correlation.CorrelationError": USAGE,
    "tacit.privacy.participation.ParticipationError": USAGE,
    "tacit.privacy.event.EventError": USAGE,
    "tacit.privacy.accounting.relation.AccountingError": USAGE,
    "tacit.privacy.local.LocalError": USAGE,
    "tacit.privacy.secagg.errors.SecureAggregationError": FAILED,
    "tacit.privacy.secagg.errors.RefusalError": REFUSED,
    "tacit.privacy.secagg.keys.CryptoError": FAILED,
    "tacit.privacy.secagg.shamir.ShareError": FAILED,
    "tacit.privacy.secagg.mask.MaskError": FAILED,
    "tacit.privacy.secagg.graph.GraphError": USAGE,
    "tacit.privacy.secagg.parameters.ParameterError": USAGE,
    "tacit.tasks.partition.PartitionError": USAGE,
    "tacit.tasks.device.DeviceError": USAGE,
    "tacit.tasks.trainable.TrainableError": USAGE,
    "tacit.tasks.task.TaskError": USAGE,
    "tacit.tasks.examples.DataError": FAILED,
    "tacit.strategies.token.TokenError": USAGE,
    "tacit.strategies.token.AddressError": USAGE,
    "tacit.strategies.roster.OwnerNameError": USAGE,
    "tacit.strategies.roster.RosterError": FAILED,
    "tacit.strategies.keyfile.KeyFileError": FAILED,
    "tacit.strategies.modelfile.ModelFileError": FAILED,
    "tacit.strategies.admission.AdmissionError": FAILED,
    "tacit.client.refusal.RefusedError": REFUSED,
    "tacit.client.approvals.DecisionError": USAGE,
    "tacit.client.home.HomeError": USAGE,
    "tacit.client.identity.IdentityError": FAILED,
    "tacit.client.enrolment.EnrolmentError": FAILED,
    "tacit.client.roster.ApprovalError": FAILED,
    "tacit.server.home.HomeError": USAGE,
    "tacit.server.authority.AuthorityError": FAILED,
    "tacit.server.registry.RegistryError": FAILED,
    "tacit.server.registry.RefusedTokenError": FAILED,
    "tacit.strategies.control.ControlError": FAILED,
    "tacit.strategies.lock.LockError": FAILED,
    "tacit.commands.logs.NoLogError": USAGE,
    "tacit.server.supervisor.StartError": FAILED,
    "tacit.server.strays.StrayError": FAILED,
    "tacit.server.audit.AuditError": FAILED,
    "tacit.server.metrics.MetricsError": USAGE,
    "tacit.server.checkpoint.CheckpointError": FAILED,
    "tacit.server.coordinator.RoundError": FAILED,
    "tacit.server.releases.ReleaseError": FAILED,
    "tacit.simulation.up.UpError": FAILED,
    "tacit.simulation.up.StoppedByBudgetError": REFUSED,
    "tacit.server.runs.RunsError": FAILED,
    "tacit.server.answer.SuperLinkError": FAILED,
    "tacit.server.answer.UnansweredError": FAILED,
    "tacit.server.performance.PerformanceError": FAILED,
    "tacit.server.performance.RefusedByOwnersError": REFUSED,
    "tacit.client.agent.AgentError": USAGE,
    "tacit.client.node.NodeError": FAILED,
    "tacit.simulation.work.SimulationError": FAILED,
    "tacit.simulation.team.TeamError": FAILED,
    "tacit.simulation.cluster.ClusterError": FAILED,
    "tacit.simulation.studies.crew.StudyError": FAILED,
    "tacit.simulation.artefacts.ArtefactError": FAILED,
    "tacit.simulation.audits.canaries.AuditError": USAGE,
    "tacit.simulation.flower.RollError": FAILED,
    "tacit.simulation.weights.WeightsError": FAILED,
    "tacit.commands.faults.UnexpectedError": FAILED,
    "tacit.commands.faults.FailedError": FAILED,
    "tacit.commands.faults.StoppedError": INTERRUPTED,
    "click.exceptions.ClickException": USAGE,
    "click.exceptions.Abort": INTERRUPTED,
    "builtins.OSError": FAILED,
    "builtins.MemoryError": FAILED,
}


class FailedError(Exception):
    """A verb that did its work and has to say that the answer is no."""


class StoppedError(Exception):
    """A run was stopped from outside; the text says what is kept and how to go on."""


class UnexpectedError(Exception):
    """An error that Tacit did not foresee; `path` holds its traceback (None where it could not be written)."""

    def __init__(self, error: BaseException, path: Path | None) -> None:
        kept = f"the whole story is in {path}" if path else "its traceback could not be written to disk"
        super().__init__(
            f"{type(error).__name__}: {error}\nThis is a fault of Tacit, not of what you typed; {kept}. "
            "Please report it with that file and the command."
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the command line shows it."""

    code: int
    kind: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints instead of a result."""
        return {"error": {"code": self.code, "kind": self.kind, "message": self.message}}


def code_of(error: BaseException) -> int | None:
    """The exit code of a foreseen error; None for any other."""
    for kind in type(error).__mro__:
        code = CODES.get(f"{kind.__module__}.{kind.__qualname__}")
        if code is not None:
            return code
    return None


def fault_of(error: BaseException) -> Fault:
    """The fault that a foreseen error is; an unforeseen one counts as failed."""
    kind = type(error).__name__
    return Fault(code_of(error) or FAILED, kind, _message(error))


def _message(error: BaseException) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}{_OS_REMEDY.get(error.errno or 0, '')}"
    if isinstance(error, MemoryError):
        return "out of memory; take fewer owners a round, a smaller model, or a machine with more memory"
    return str(error)


_OS_REMEDY: Mapping[int, str] = {
    errno.ENOSPC: "; free some space or choose another place",
    errno.EFBIG: "; this file system or `ulimit -f` allows no larger file: choose another place or raise the limit",
    errno.EACCES: "; change its permissions or choose another place",
    errno.EROFS: "; choose a place that can be written to",
    errno.EISDIR: "; give a file",
    errno.ENOENT: "; check the path",
}


class Traced:
    """A stretch of work whose unforeseen errors leave their traceback in `folder` and become an `UnexpectedError`.

    A context manager, so that nothing catches an error that it cannot name: this one only translates it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def __enter__(self) -> Traced:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and code_of(error) is None:
            raise UnexpectedError(error, written(error, self._folder)) from error


def written(error: BaseException, folder: Path | None) -> Path | None:
    """The file in `folder` (or the system's temporary one) that now holds the traceback of `error`."""
    story = "".join(traceback.format_exception(error))
    head = f"python {platform.python_version()} on {platform.platform()}\n\n"
    name = f"tacit-fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        try:
            (place / name).write_text(head + story, encoding="utf-8")
        except OSError:
            continue
        return place / name
    return None
