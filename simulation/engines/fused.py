"""Fused: what torch runs as one operation, written out: `nn.RNN`, `nn.LSTM` and `nn.GRU` step by step, `nn.EmbeddingBag` row by
row. As they are they can be run for several owners neither by `torch.func.vmap` nor by what they multiply by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Forward: TypeAlias = Callable[..., object]
Linear: TypeAlias = Callable[[str, Tensor], Tensor]  # the name of a weight without "weight_", and x -> Wx + b
States: TypeAlias = tuple[Tensor, ...]  # what goes from step to step, each `[B, width]`; the first one is the output
Cell: TypeAlias = Callable[[Tensor, Tensor, States], States]

RECURRENT: tuple[type[nn.Module], ...] = (nn.RNN, nn.LSTM, nn.GRU)


def unrolled(layer: nn.RNNBase, linear: Linear) -> Forward:
    """What `layer` computes, its products by `linear`; raises `ValueError` for what is not a batch of equal lengths."""
    cell, ways = _CELLS[layer.mode], ("", "_reverse") if layer.bidirectional else ("",)

    def forward(inputs: Tensor, state: Tensor | States | None = None) -> tuple[Tensor, Tensor | States]:
        if not isinstance(inputs, Tensor) or inputs.dim() != 3:
            raise ValueError(f"{type(layer).__name__} is given what is no batch of sequences of one length")
        values = inputs if layer.batch_first else inputs.transpose(0, 1)
        begun = _begun(layer, len(ways), values, state)
        ended: list[States] = []
        for depth in range(layer.num_layers):
            outputs = []
            for way in ways:
                steps, last = _along(cell, linear, f"l{depth}{way}", values, next(begun))
                outputs.append(steps)
                ended.append(last)
            values = torch.cat(outputs, dim=-1)
        last_states = tuple(torch.stack(each) for each in zip(*ended, strict=True))
        return (
            values if layer.batch_first else values.transpose(0, 1),
            last_states if layer.mode == "LSTM" else last_states[0],
        )

    return forward


def _begun(layer: nn.RNNBase, ways: int, values: Tensor, state: Tensor | States | None) -> Iterator[States]:
    """The states that each layer, and each way through it, begins with: zeros where none are given."""
    kinds = 2 if layer.mode == "LSTM" else 1
    if state is None:
        zeros = values.new_zeros(len(values), layer.hidden_size)
        return iter([(zeros,) * kinds] * (layer.num_layers * ways))
    given = (state,) if isinstance(state, Tensor) else state
    return iter(list(zip(*(each.unbind(0) for each in given), strict=True)))


def _along(cell: Cell, linear: Linear, name: str, values: Tensor, states: States) -> tuple[Tensor, States]:
    """All outputs `[B, T, width]` of one layer and the states after the last step; a reverse one starts from the end."""
    entered = linear(f"ih_{name}", values).unbind(dim=1)
    back = name.endswith("_reverse")
    outputs: list[Tensor] = []
    for step in reversed(entered) if back else entered:
        states = cell(step, linear(f"hh_{name}", states[0]), states)
        outputs.append(states[0])
    return torch.stack(outputs[::-1] if back else outputs, dim=1), states


def _lstm(entered: Tensor, returned: Tensor, states: States) -> States:
    write, forget, new, read = (entered + returned).chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * states[1] + torch.sigmoid(write) * torch.tanh(new)
    return torch.sigmoid(read) * torch.tanh(cell), cell


def _gru(entered: Tensor, returned: Tensor, states: States) -> States:
    (reset, keep, new), (reset_by, keep_by, new_by) = entered.chunk(3, dim=-1), returned.chunk(3, dim=-1)
    candidate = torch.tanh(new + torch.sigmoid(reset + reset_by) * new_by)
    return (torch.lerp(candidate, states[0], torch.sigmoid(keep + keep_by)),)


_CELLS: Mapping[str, Cell] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "RNN_TANH": lambda entered, returned, states: (torch.tanh(entered + returned),),
    "RNN_RELU": lambda entered, returned, states: (torch.relu(entered + returned),),
}


def pooled(layer: nn.EmbeddingBag, rows: Tensor) -> Tensor:
    """What a bag makes of the rows of its symbols, `[B, T, width] -> [B, width]`."""
    return rows.mean(dim=1) if layer.mode == "mean" else rows.sum(dim=1)


def stays_fused(layer: nn.Module) -> str | None:
    """What keeps one of these layers from being written out; None where nothing does, and for any other layer."""
    if isinstance(layer, nn.RNNBase) and layer.proj_size:
        return "projects its states"
    if isinstance(layer, nn.RNNBase) and layer.dropout and layer.num_layers > 1:
        return "draws random numbers"
    if isinstance(layer, nn.EmbeddingBag) and (layer.mode == "max" or layer.padding_idx is not None):
        return "has mode = max or padding_idx set"
    return None


def written_out(module: nn.Module) -> dict[nn.Module, Forward]:
    """The forward of every such layer of `module`, by its own parameters as they are when it is called."""

    def recurrent(layer: nn.RNNBase) -> Forward:
        def linear(name: str, values: Tensor) -> Tensor:
            bias = getattr(layer, f"bias_{name}") if layer.bias else None
            return F.linear(values, getattr(layer, f"weight_{name}"), bias)

        return unrolled(layer, linear)

    def bag(layer: nn.EmbeddingBag) -> Forward:
        return lambda symbols: pooled(layer, F.embedding(symbols, layer.weight))

    found: dict[nn.Module, Forward] = {}
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase) and type(layer) in RECURRENT:
            found[layer] = recurrent(layer)
        elif type(layer) is nn.EmbeddingBag:
            found[layer] = bag(layer)
    return found


@contextmanager
def replaced(forwards: Mapping[nn.Module, Forward]) -> Iterator[None]:
    """These layers run so, for as long as it lasts."""
    try:
        for layer, forward in forwards.items():
            vars(layer)["forward"] = forward
        yield
    finally:
        for layer in forwards:
            vars(layer).pop("forward", None)
