"""By hand: what one writes without a framework, on two processes: weights copied into one torch module, shuffled batches, one
torch optimizer, the difference added up."""

from __future__ import annotations

import sys

import torch
from pair import Round, train
from torch import Tensor, nn
from turns import Turns
from works import BATCH, LR, WORKS, Work

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def loop(work: Work, layout: str) -> Round:
    """Plain SGD, images and their convolutions in this layout."""
    inputs, targets = work.data()
    module, loss = work.model(), nn.CrossEntropyLoss()
    if inputs.dim() == 4:
        inputs, module = inputs.to(memory_format=LAYOUTS[layout]), module.to(memory_format=LAYOUTS[layout])
    parameters = list(module.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.SGD(parameters, lr=LR)

    def run(owners: list[int]) -> Tensor:
        total = [torch.zeros_like(each) for each in start]
        for owner in owners:
            with torch.no_grad():
                for parameter, value in zip(parameters, start, strict=True):
                    parameter.copy_(value)
            order = torch.randperm(work.examples) + owner * work.examples
            for batch in order.split(BATCH):
                optimizer.zero_grad()
                loss(module(inputs[batch]), targets[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                for whole, parameter, value in zip(total, parameters, start, strict=True):
                    whole += parameter - value
        return torch.cat([each.flatten() for each in total])

    return run


def main() -> None:
    work = WORKS[sys.argv[1]]
    train(Turns(), work, loop, work, sys.argv[2])


if __name__ == "__main__":
    main()
