"""Works: what Tacit and its peers are compared on, so that nobody can differ. Needs torch alone.

Data is made up, the same for everybody from one seed: what is learned does not change how long a step takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

LR, BATCH, SEED = 0.1, 10, 0
CLASSES = 10
OWNER_NORM, OWNER_NOISE = 0.3, 1.0  # owner level: clip of an update, σ over that norm
EXAMPLE_NORM, EXAMPLE_NOISE = 1.0, 1.0  # example level: clip of an example's gradient, σ over that norm


@dataclass(frozen=True, slots=True)
class Work:
    """`clients` with `examples` each, `cohort` of them a round, one epoch in batches of `BATCH` by plain SGD.

    `layers` are the model's matrix products for one example: (rows, inputs, outputs), convolutions as their im2col matrices.
    """

    name: str
    clients: int
    examples: int
    cohort: int
    shape: tuple[int, ...]
    layers: tuple[tuple[int, int, int], ...]

    @property
    def steps(self) -> int:
        """Batches of a client's turn; at example level as many Poisson batches of `BATCH` expected."""
        return self.examples // BATCH

    @property
    def rate(self) -> float:
        """Probability with which an example is in a Poisson batch."""
        return BATCH / self.examples

    @property
    def flops(self) -> int:
        """Of a client's turn in matrix products: forward, backward and gradient of every layer, two a multiplication."""
        return 6 * self.examples * sum(prod(layer) for layer in self.layers)

    def data(self) -> tuple[Tensor, Tensor]:
        """All clients' examples, client k's at `[k·examples, (k+1)·examples)`: `[N, *shape]` float32, `[N]` int64."""
        generator = torch.Generator().manual_seed(SEED)
        count = self.clients * self.examples
        inputs = torch.randn(count, *self.shape, generator=generator)
        return inputs, torch.randint(0, CLASSES, (count,), generator=generator)

    def model(self) -> nn.Sequential:
        """The network, with torch's own initial weights drawn from `SEED`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return _network(self.name)


def _network(name: str) -> nn.Sequential:
    if name == "W1":
        return nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, CLASSES))
    return nn.Sequential(
        nn.Conv2d(3, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, CLASSES),
    )  # fmt: skip


W1 = Work("W1", 1000, 20, 100, (64,), ((1, 64, 200), (1, 200, 200), (1, 200, 10)))
W2 = Work("W2", 100, 50, 20, (3, 32, 32), ((784, 75, 32), (196, 800, 64), (1, 3136, 512), (1, 512, 10)))
WORKS = {work.name: work for work in (W1, W2)}
