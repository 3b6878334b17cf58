"""Factors: k updates of Linear layers as the products that they are sums of, never formed.

After steps t of local descent the weight of a Linear layer has moved by Σ_t c_t·E_tᵀX_t: X_t `[b, in]` are the layer's inputs
over the batch and E_t `[b, out]` the loss's gradients at its outputs. With b·t small against in·out that is far less to
hold than the weight, and clipping and summing need no more:

    ‖Σ_t c_t E_tᵀX_t‖² = Σ_st c_s c_t Σ (X_sX_tᵀ) ∘ (E_sE_tᵀ),      Σ_k U_k = one matrix product over all owners' rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .updates import Dense

_CANCELLED = 256.0  # (Σ‖x‖‖e‖)² / ‖U‖² from which norms are taken in float64
_GONE = 2.0**24  # the same, from which they are taken from the vectors themselves
_ABOVE = 1 + 2.0**-19  # norms in float32 err by less than this while little cancels: they are given from above


@dataclass(frozen=True, slots=True)
class Layer:
    """One Linear layer of all k contributions: what each step put in and what came back.

    `inputs[t]` is `[k_t, b_t, in]` and `errors[t]` `[k_t, b_t, out]`, of the first k_t ≤ k contributions; rows that only fill
    up have zero errors. `weight` and `bias` are the places in the vector where they belong, None for what does not train.
    `met_inputs[s, t]`, t < s, is X_sX_tᵀ (plus 1 where the bias trains too) and `met_errors[s, t]` E_sE_tᵀ, `[k_s, b_s, b_t]`,
    where training has needed them already.
    """

    weight: slice | None
    bias: slice | None
    inputs: tuple[Tensor, ...]
    errors: tuple[Tensor, ...]
    met_inputs: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)
    met_errors: Mapping[tuple[int, int], Tensor] = field(default_factory=dict)

    def taken(self, change: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]) -> Layer:
        """The layer with its inputs and errors changed, and nothing known of how they meet."""
        return Layer(self.weight, self.bias, change(self.inputs), change(self.errors))


@dataclass(frozen=True, slots=True)
class Factors:
    """k contributions of `dim` numbers, U_k = decay_k · start + Σ_t c_kt · (E_ktᵀX_kt, E_ktᵀ1) in each layer.

    `coefficients[t]` is c_t `[k_t]`, `decay` `[k]` with `start` `[d]` is the part along the weights that all began with
    (weight decay makes it; None where there is none). Contribution i of the batch is row `rows[i]` of all these: rows are
    sorted so that those of step t + 1 are among the first of step t.
    """

    dim: int
    layers: tuple[Layer, ...]
    coefficients: tuple[Tensor, ...]
    rows: Tensor
    start: Tensor | None = None
    decay: Tensor | None = None
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def norms(self) -> Tensor:
        """L2 norms, `[k]` float64, from above: at most 2⁻¹⁸ too long, never too short."""
        if self.lengths is not None:
            return self.lengths
        squares, reach = self._squares(torch.float32)
        # Sums in float32 forget a part that grows with how much cancels; NaN compares false and stays as it is.
        lost = torch.nonzero(reach > _CANCELLED * squares).flatten()
        if len(lost):
            last = int(lost[-1]) + 1
            wide, reach = self._first(last)._squares(torch.float64)
            squares[lost] = wide[lost]
            lost = lost[reach[lost] > _GONE * squares[lost]]
        if len(lost):  # beyond what float64 can subtract
            formed = self._first(int(lost[-1]) + 1)._formed(torch.float64)
            squares[lost] = formed[lost].square().sum(dim=1)
        return (squares.clamp_(min=0).sqrt_() * _ABOVE)[self.rows]

    def scaled(self, factors: Tensor) -> Factors:
        sorted_factors = torch.empty_like(factors)
        sorted_factors[self.rows] = factors
        zero = torch.nonzero(sorted_factors == 0).flatten()
        multiplied = tuple(c * sorted_factors[: len(c)].to(c.dtype) for c in self.coefficients)
        decay = None if self.decay is None else self.decay * sorted_factors.to(self.decay.dtype)
        layers = self.layers
        if len(zero):  # zero times what is not finite would not be zero
            for values in (*multiplied, *(() if decay is None else (decay,))):
                values[zero[zero < len(values)]] = 0
            layers = tuple(layer.taken(lambda parts: _cleared(parts, zero)) for layer in layers)
        return replace(self, layers=layers, coefficients=multiplied, decay=decay, lengths=None)

    def total(self) -> Tensor:
        total = torch.zeros(self.dim) if self.start is None else self.start * self._decay().sum()
        for layer in self.layers:
            for coefficient, inputs, errors in zip(self.coefficients, layer.inputs, layer.errors, strict=True):
                weighted, scale = _weighted(coefficient, errors)
                if layer.weight is not None:
                    place = total[layer.weight].view(errors.shape[2], inputs.shape[2])
                    place.addmm_(weighted.flatten(0, 1).t(), inputs.flatten(0, 1), alpha=scale)
                if layer.bias is not None:
                    total[layer.bias].add_(weighted.sum(dim=(0, 1)), alpha=scale)
        return total

    def dense(self) -> Tensor:
        return self._formed(torch.float32)[self.rows]

    def measured(self) -> Factors:
        """The same, knowing its norms: to be asked for them twice."""
        return replace(self, lengths=self.norms())

    def formed(self) -> Dense:
        """The same contributions as vectors."""
        return Dense(self.dense())

    def _formed(self, dtype: torch.dtype) -> Tensor:
        """The vectors in the order of rows, `[k, d]`."""
        values = torch.zeros(len(self), self.dim, dtype=dtype)
        if self.start is not None:
            values += self._decay().to(dtype)[:, None] * self.start.to(dtype)
        for layer in self.layers:
            for coefficient, inputs, errors in zip(self.coefficients, layer.inputs, layer.errors, strict=True):
                count = len(coefficient)
                weighted = errors.to(dtype) * coefficient.to(dtype)[:, None, None]
                if layer.weight is not None:
                    place = values[:count, layer.weight].view(count, errors.shape[2], inputs.shape[2])
                    place.baddbmm_(weighted.transpose(1, 2), inputs.to(dtype))
                if layer.bias is not None:
                    values[:count, layer.bias] += weighted.sum(dim=1)
        return values

    def _decay(self) -> Tensor:
        return torch.zeros(len(self)) if self.decay is None else self.decay

    def _first(self, count: int) -> Factors:
        """The first `count` rows alone, in their own order."""
        return replace(
            self,
            layers=tuple(layer.taken(lambda parts: _cut(parts, count)) for layer in self.layers),
            coefficients=_cut(self.coefficients, count),
            rows=torch.arange(count),
            decay=None if self.decay is None else self.decay[:count],
            lengths=None,
        )

    def _squares(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """‖U‖² of every row and the (Σ‖x‖‖e‖)² that it could be at most, `[k]` float64 both, computed in `dtype`."""
        squares = torch.zeros(len(self), dtype=torch.float64)
        reach = torch.zeros(len(self), dtype=torch.float64)
        for layer in self.layers:
            longest = torch.zeros(len(self), dtype=torch.float64)
            for s, coefficient in enumerate(self.coefficients):
                count = len(coefficient)
                for t in range(s + 1):
                    products = _met(layer, s, t, dtype)
                    if t == s:
                        lengths = torch.diagonal(products, dim1=1, dim2=2).clamp(min=0).sqrt().sum(dim=1)
                        longest[:count] += lengths.to(torch.float64) * coefficient.abs()
                    weight = coefficient.to(torch.float64) * self.coefficients[t][:count] * (1 if s == t else 2)
                    squares[:count] += weight * products.sum(dim=(1, 2), dtype=torch.float64)
            reach += longest.square_()
        if self.start is not None:
            self._add_start(squares, reach, dtype)
        return squares, reach

    def _add_start(self, squares: Tensor, reach: Tensor, dtype: torch.dtype) -> None:
        """The terms decay²·‖start‖² and 2·decay·⟨start, E ᵀX⟩, `⟨W, EᵀX⟩ = Σ (XWᵀ) ∘ E`."""
        start, decay = self._start().to(dtype), self._decay().to(torch.float64)
        crossed = torch.zeros_like(squares)
        for layer in self.layers:
            for coefficient, inputs, errors in zip(self.coefficients, layer.inputs, layer.errors, strict=True):
                met = torch.zeros(len(coefficient), dtype=torch.float64)
                if layer.weight is not None:
                    weight = start[layer.weight].view(errors.shape[2], inputs.shape[2])
                    met += ((inputs.to(dtype) @ weight.t()) * errors).sum(dim=(1, 2), dtype=torch.float64)
                if layer.bias is not None:
                    met += (errors.to(dtype) @ start[layer.bias]).sum(dim=1, dtype=torch.float64)
                crossed[: len(coefficient)] += coefficient * met
        length = float(start.to(torch.float64).square().sum())
        squares += decay.square() * length + 2 * decay * crossed
        reach += decay.square() * length

    def _start(self) -> Tensor:
        return torch.zeros(self.dim) if self.start is None else self.start


def _met(layer: Layer, s: int, t: int, dtype: torch.dtype) -> Tensor:
    """⟨U_si, U_tj⟩ of the rows i of step s and j of step t, `[k_s, b_s, b_t]`: (x_i·x_j)(e_i·e_j), with 1 + … for the bias."""
    count = len(layer.errors[s])
    known = dtype == torch.float32
    errors = layer.met_errors.get((s, t)) if known else None
    if errors is None:
        errors = torch.bmm(layer.errors[s].to(dtype), layer.errors[t][:count].to(dtype).transpose(1, 2))
    if layer.weight is None:
        return errors
    inputs = layer.met_inputs.get((s, t)) if known else None
    if inputs is None:
        inputs = torch.bmm(layer.inputs[s].to(dtype), layer.inputs[t][:count].to(dtype).transpose(1, 2))
        if layer.bias is not None:
            inputs.add_(1)
    return errors * inputs


def _weighted(coefficient: Tensor, errors: Tensor) -> tuple[Tensor, float]:
    """Errors times their coefficients, and what is left to multiply by: one number, where it is the same for all."""
    first = float(coefficient[0]) if len(coefficient) else 0.0
    if bool((coefficient == first).all()):
        return errors, first
    return errors * coefficient[:, None, None], 1.0


def _cut(parts: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    return tuple(part[:count] for part in parts)


def _cleared(parts: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
    """Copies with zeros at `rows`."""
    return tuple(part.index_fill(0, rows[rows < len(part)], 0.0) for part in parts)
