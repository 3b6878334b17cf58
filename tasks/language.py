"""Language models: next-symbol predictors of windows of text, `[B, T]` int64 -> logits `[B, T, V]`.

Both are made of Embedding, Linear and LayerNorm only. `nn.LSTM` has no per-example gradients, neither in Opacus nor under
`torch.func.vmap`; a cell of two Linear layers has them in both, and computes the same. So it is with attention.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Lstm(nn.Module):
    """One LSTM layer (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000) between embedding and logits.

    i, f, g, o = W x_t + U h_{t−1} + b;  c_t = σ(f)·c_{t−1} + σ(i)·tanh(g);  h_t = σ(o)·tanh(c_t).
    """

    def __init__(self, symbols: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.input = nn.Linear(width, 4 * width)
        self.state = nn.Linear(width, 4 * width, bias=False)
        self.output = nn.Linear(width, symbols)
        # Forget nothing at first (Jozefowicz et al. 2015): gradients then reach back over the window.
        with torch.no_grad():
            self.input.bias[width : 2 * width].fill_(1.0)

    def forward(self, symbols: Tensor) -> Tensor:
        gates = self.input(self.embed(symbols))
        hidden = torch.zeros_like(gates[:, 0, : self.state.in_features])
        cell = torch.zeros_like(hidden)
        states: list[Tensor] = []
        for step in gates.unbind(dim=1):
            write, forget, new, read = (step + self.state(hidden)).chunk(4, dim=-1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(new)
            hidden = torch.sigmoid(read) * torch.tanh(cell)
            states.append(hidden)
        logits: Tensor = self.output(torch.stack(states, dim=1))
        return logits


class Attention(nn.Module):
    """Causal multi-head self-attention, softmax(QKᵀ/√w)V with the future masked (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value = (self._split(layer(hidden)) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        length = hidden.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=hidden.device).triu(1)
        weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=-1)
        mixed: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, values: Tensor) -> Tensor:
        """`[B, T, width] -> [B, heads, T, width / heads]`."""
        batch, length, width = values.shape
        return values.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after LayerNorm and added to its input (pre-norm, Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.before_mlp = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.attention(self.before_attention(hidden))
        mixed: Tensor = self.narrow(torch.nn.functional.gelu(self.widen(self.before_mlp(hidden))))
        return hidden + mixed


class Transformer(nn.Module):
    """Decoder-only Transformer with learned positions; at most `context` symbols long, raises `ValueError` beyond."""

    def __init__(self, symbols: int, context: int, width: int = 64, heads: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.last = nn.LayerNorm(width)
        self.output = nn.Linear(width, symbols)

    def forward(self, symbols: Tensor) -> Tensor:
        if symbols.shape[1] > self.place.num_embeddings:
            raise ValueError(
                f"{symbols.shape[1]} symbols in a window, the model was made for {self.place.num_embeddings}; "
                "cut the text into shorter windows or make the model with a larger context"
            )
        # One row of positions for each example: Opacus takes the first dimension for the batch.
        places = torch.arange(symbols.shape[1], device=symbols.device).expand(symbols.shape)
        hidden = self.blocks(self.embed(symbols) + self.place(places))
        logits: Tensor = self.output(self.last(hidden))
        return logits
