"""Opacus: DP-SGD of each client, on two processes.

`fresh`: as its documentation has it used, `make_private` for every client on a fresh wrapper of the model, Poisson batches by
its own loader. `reused`: the model is wrapped once and the weights are copied in, the optimizer is kept, and Poisson
batches are drawn by hand, which is as little as Opacus can do. Empty batches are skipped.
"""

from __future__ import annotations

import sys
import warnings

import opacus
import torch
from opacus import PrivacyEngine
from pair import Round, train
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from turns import Turns
from works import BATCH, EXAMPLE_NOISE, EXAMPLE_NORM, LR, WORKS, Work

# Of Opacus itself: no secure generator, hooks without an input that needs a gradient, a last batch of another size.
warnings.filterwarnings("ignore")


def private(work: Work, module: nn.Module, mode: str, data: TensorDataset) -> tuple[nn.Module, object, object, object]:
    """Module, optimizer, loss and loader after `make_private` in a mode."""
    made = PrivacyEngine(accountant="rdp").make_private(
        module=module, optimizer=torch.optim.SGD(module.parameters(), lr=LR),
        criterion=nn.CrossEntropyLoss(), data_loader=DataLoader(data, batch_size=BATCH),
        noise_multiplier=EXAMPLE_NOISE, max_grad_norm=EXAMPLE_NORM, grad_sample_mode=mode, poisson_sampling=True,
    )  # fmt: skip
    if mode == "ghost":  # one value more, with a loss of its own
        module, optimizer, loss, loader = made
        return module, optimizer, loss, loader
    module, optimizer, loader = made
    return module, optimizer, nn.CrossEntropyLoss(), loader


def fresh(work: Work, mode: str) -> Round:
    """`make_private` for every client."""
    inputs, targets = work.data()
    start = work.model().state_dict()

    def run(owners: list[int]) -> Tensor:
        total = torch.zeros(sum(tensor.numel() for tensor in start.values()))
        for owner in owners:
            part = slice(owner * work.examples, (owner + 1) * work.examples)
            bare = work.model()
            bare.load_state_dict(start)
            module, optimizer, loss, loader = private(work, bare, mode, TensorDataset(inputs[part], targets[part]))
            for x, y in loader:
                if len(x):
                    optimizer.zero_grad()
                    loss(module(x), y).backward()
                    optimizer.step()
            with torch.no_grad():
                total += torch.cat([(p - start[n]).flatten() for n, p in bare.named_parameters()])
        return total

    return run


def reused(work: Work, mode: str) -> Round:
    """`make_private` once."""
    inputs, targets = work.data()
    bare = work.model()
    parameters = list(bare.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    module, optimizer, loss, _ = private(work, bare, mode, TensorDataset(inputs, targets))
    optimizer.expected_batch_size = BATCH

    def run(owners: list[int]) -> Tensor:
        total = [torch.zeros_like(each) for each in start]
        for owner in owners:
            with torch.no_grad():
                for parameter, value in zip(parameters, start, strict=True):
                    parameter.copy_(value)
            for _ in range(work.steps):
                batch = torch.nonzero(torch.rand(work.examples) < work.rate).squeeze(1) + owner * work.examples
                if len(batch):
                    optimizer.zero_grad()
                    loss(module(inputs[batch]), targets[batch]).backward()
                    optimizer.step()
            with torch.no_grad():
                for whole, parameter, value in zip(total, parameters, start, strict=True):
                    whole += parameter - value
        return torch.cat([each.flatten() for each in total])

    return run


def main() -> None:
    work, way, mode = WORKS[sys.argv[1]], {"fresh": fresh, "reused": reused}[sys.argv[2]], sys.argv[3]
    train(Turns(), work, way, work, mode, version=f"opacus {opacus.__version__}")


if __name__ == "__main__":
    main()
