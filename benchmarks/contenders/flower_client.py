"""The client app of Flower's contender, as in its PyTorch quick start; data is made once in every actor and kept."""

from __future__ import annotations

import functools

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn
from works import BATCH, LR, WORKS, Work

app = ClientApp()


@functools.cache
def held(name: str) -> tuple[Work, Tensor, Tensor]:
    """The work of this name and its data."""
    torch.set_num_threads(1)
    return (WORKS[name], *WORKS[name].data())


@app.train()
def train(message: Message, context: Context) -> Message:
    """One epoch of SGD on the client's own examples."""
    work, inputs, targets = held(str(message.content["config"]["work"]))
    module, loss = work.model(), nn.CrossEntropyLoss()
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    begin = int(context.node_config["partition-id"]) * work.examples
    for batch in (torch.randperm(work.examples) + begin).split(BATCH):
        optimizer.zero_grad()
        loss(module(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    content = {"arrays": ArrayRecord(module.state_dict()), "metrics": MetricRecord({"num-examples": work.examples})}
    return Message(content=RecordDict(content), reply_to=message)
