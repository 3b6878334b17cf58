"""pfl: `FederatedAveraging` over a `SimulatedBackend`, on one process or two of its own workers, one thread each.

Clients' tensors lie in memory and are cut into batches once, which pfl does by itself; nothing is evaluated. At owner level
its Gaussian mechanism clips every update and adds noise to the sum, by `CentrallyAppliedPrivacyMechanism`.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys

WORKERS = int(sys.argv[3])
RANK = int(os.environ.get("PFL_WORKER_RANK", "0"))
if WORKERS > 1 and RANK == 0:  # before pfl is loaded, which connects its workers on import
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ["PFL_WORKER_ADDRESSES"] = ",".join([f"127.0.0.1:{probe.getsockname()[1]}"] * WORKERS)
    os.environ["PFL_WORKER_RANK"], os.environ["GLOO_SOCKET_IFNAME"] = "0", "lo"
    OTHERS = [
        subprocess.Popen(
            [sys.executable, *sys.argv], env={**os.environ, "PFL_WORKER_RANK": str(rank)}, stdin=subprocess.DEVNULL,
            stdout=2,
        )
        for rank in range(1, WORKERS)
    ]  # fmt: skip
else:
    OTHERS = []

import numpy as np  # noqa: E402
import pfl.version  # noqa: E402
import torch  # noqa: E402
from pfl.aggregate.simulate import SimulatedBackend  # noqa: E402
from pfl.algorithm.base import NNAlgorithmParams  # noqa: E402
from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: E402
from pfl.callback.base import TrainingProcessCallback  # noqa: E402
from pfl.data.federated_dataset import FederatedDataset  # noqa: E402
from pfl.data.pytorch import PyTorchTensorDataset  # noqa: E402
from pfl.data.sampling import get_user_sampler  # noqa: E402
from pfl.hyperparam.base import NNTrainHyperParams  # noqa: E402
from pfl.metrics import Metrics, Weighted  # noqa: E402
from pfl.model.pytorch import PyTorchModel  # noqa: E402
from pfl.privacy.gaussian_mechanism import GaussianMechanism  # noqa: E402
from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from turns import Turns  # noqa: E402
from works import BATCH, LR, OWNER_NOISE, OWNER_NORM, SEED, WORKS  # noqa: E402

MOST = 10**6


class Network(nn.Module):
    """The work's model with the two methods that pfl asks for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self._loss = nn.CrossEntropyLoss()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self.train()
        return self._loss(self(inputs), targets)

    def metrics(self, inputs: Tensor, targets: Tensor) -> dict[str, object]:
        self.eval()
        with torch.no_grad():
            return {"loss": Weighted(float(self._loss(self(inputs), targets)) * len(inputs), len(inputs))}


class Pace(TrainingProcessCallback):
    """Waits between turns; the first of the workers tells the others."""

    def __init__(self, turns: Turns | None) -> None:
        self.turns = turns

    def wait(self, go: bool) -> bool:
        """Whether to go on, as the first worker knows it."""
        if WORKERS == 1:
            return go
        word = torch.tensor([int(go)])
        torch.distributed.broadcast(word, 0)
        return bool(word.item())

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        go = self.turns.after_round() if self.turns is not None else True
        return not self.wait(go), Metrics()


def main() -> None:
    work, level = WORKS[sys.argv[1]], sys.argv[2]
    turns = Turns() if RANK == 0 else None
    torch.set_num_threads(1)
    np.random.seed(SEED)
    inputs, targets = work.data()

    @functools.cache
    def client(user: int) -> PyTorchTensorDataset:
        part = slice(user * work.examples, (user + 1) * work.examples)
        return PyTorchTensorDataset((inputs[part], targets[part]), user_id=str(user))

    dataset = FederatedDataset(client, get_user_sampler("minimize_reuse", list(range(work.clients))))
    network = Network(work.model())
    model = PyTorchModel(network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0))
    after = []
    if level == "owner":
        after.append(CentrallyAppliedPrivacyMechanism(GaussianMechanism(OWNER_NORM, OWNER_NOISE)))
    backend = SimulatedBackend(dataset, dataset, after)
    pace = Pace(turns)
    if turns is not None:
        turns.ready(processes=str(WORKERS), version=f"pfl {pfl.version.__version__}")
    if pace.wait(turns is None or turns.next() > 0):
        FederatedAveraging().run(
            NNAlgorithmParams(
                central_num_iterations=MOST, evaluation_frequency=MOST, train_cohort_size=work.cohort, val_cohort_size=0
            ),
            backend, model,
            NNTrainHyperParams(local_num_epochs=1, local_learning_rate=LR, local_batch_size=BATCH),
            callbacks=[pace], send_metrics_to_platform=False,
        )  # fmt: skip
    for other in OTHERS:
        other.wait(30)


if __name__ == "__main__":
    main()
