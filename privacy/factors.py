"""Factors: k updates of Linear layers as the products that they are sums of, never formed; of other layers, as numbers.

After steps t of local descent the weight of a Linear layer has moved by Σ_t c_t·E_tᵀX_t: X_t `[b, in]` are the layer's inputs
over the batch and E_t `[b, out]` the loss's gradients at its outputs. With b·t small against in·out that is far less to
hold than the weight, and clipping and summing need no more:

    ‖Σ_t c_t E_tᵀX_t‖² = Σ_st c_s c_t Σ (X_sX_tᵀ) ∘ (E_sE_tᵀ),      Σ_k U_k = one matrix product over all owners' rows.

Nothing here asks a tensor for a number while it lies on an accelerator, save one yes or no when norms are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from . import compiled
from .compiled import Loops
from .product import product
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
class Held:
    """Parts of k contributions that are no products: the columns of `values` `[k, m]` fill `places` in the vector in turn."""

    values: Tensor
    places: tuple[slice, ...]

    def parts(self, values: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Each place and the columns of `values` `[…, m]` that belong there."""
        first = 0
        for place in self.places:
            last = first + place.stop - place.start
            yield place, values[..., first:last]
            first = last


@dataclass(frozen=True, slots=True)
class Factors:
    """k contributions of `dim` numbers, U_k = decay_k · start + Σ_t c_kt · (E_ktᵀX_kt, E_ktᵀ1) in each layer.

    `coefficients[t]` is c_t `[k_t]`, `decay` `[k]` with `start` `[d]` is the part along the weights that all began with
    (weight decay makes it; None where there is none). Contribution i of the batch is row `rows[i]` of all these: rows are
    sorted so that those of step t + 1 are among the first of step t. `held` are the parts that are numbers already, `start`
    being zero there. `common[t]`: c_t where it is the same for all, known without looking; None where it is not known to be.
    """

    dim: int
    layers: tuple[Layer, ...]
    coefficients: tuple[Tensor, ...]
    rows: Tensor
    start: Tensor | None = None
    decay: Tensor | None = None
    lengths: Tensor | None = None
    held: Held | None = None
    common: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def norms(self) -> Tensor:
        """L2 norms, `[k]` float64, from above: at most 2⁻¹⁸ too long, never too short."""
        if self.lengths is not None:
            return self.lengths
        if self.rows.device.type == "cpu":
            squares = self._careful()
        else:  # wide from the start: no looking which of them need it
            squares, reach = self._squares(torch.float64)
            if bool((reach > _GONE * squares).any()):
                squares = self._formed(torch.float64).square().sum(dim=1)
        return (squares.clamp_(min=0).sqrt_() * _ABOVE)[self.rows]

    def scaled(self, factors: Tensor) -> Factors:
        sorted_factors = torch.empty_like(factors)
        sorted_factors[self.rows] = factors
        multiplied = tuple(c * sorted_factors[: len(c)].to(c.dtype) for c in self.coefficients)
        decay = None if self.decay is None else self.decay * sorted_factors.to(self.decay.dtype)
        held = None if self.held is None else self.held.values * sorted_factors.to(self.held.values.dtype)[:, None]
        layers, none = self.layers, sorted_factors == 0
        if none.device.type != "cpu" or bool(none.any()):  # zero times what is not finite would not be zero
            multiplied = _cleared(multiplied, none)
            layers = tuple(layer.taken(lambda parts: _cleared(parts, none)) for layer in layers)
            decay = None if decay is None else decay.masked_fill(none, 0)
            held = None if held is None else held.masked_fill(none[:, None], 0)
        return replace(
            self,
            layers=layers,
            coefficients=multiplied,
            decay=decay,
            lengths=None,
            held=None if self.held is None or held is None else Held(held, self.held.places),
            common=None,
        )

    def total(self) -> Tensor:
        total = self._zeros() if self.start is None else self.start * self._decay().sum()
        for layer in self.layers:
            for t, (inputs, errors) in enumerate(zip(layer.inputs, layer.errors, strict=True)):
                scale, left, right = 1.0, errors, inputs
                if self.common is not None:
                    scale = self.common[t]
                elif (
                    layer.weight is not None and inputs.shape[2] < errors.shape[2]
                ):  # the smaller of the two is multiplied
                    right = inputs * self.coefficients[t][:, None, None]
                elif layer.weight is not None:
                    left = errors * self.coefficients[t][:, None, None]
                if layer.weight is not None:
                    place = total[layer.weight].view(errors.shape[2], inputs.shape[2])
                    place.add_(product(left.flatten(0, 1).t(), right.flatten(0, 1).t()), alpha=scale)
                if layer.bias is not None:
                    total[layer.bias].addmv_(errors.sum(dim=1).t(), self.coefficients[t])
        if self.held is not None:
            for at, part in self.held.parts(self.held.values.sum(dim=0)):
                total[at] += part
        return total

    def dense(self) -> Tensor:
        return self._formed(torch.float32)[self.rows]

    def measured(self) -> Factors:
        """The same, knowing its norms: to be asked for them twice."""
        return replace(self, lengths=self.norms())

    def formed(self) -> Dense:
        """The same contributions as vectors."""
        return Dense(self.dense())

    def _careful(self) -> Tensor:
        """‖U‖² `[k]`, in float32 where that is enough."""
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
        return squares

    def _formed(self, dtype: torch.dtype) -> Tensor:
        """The vectors in the order of rows, `[k, d]`."""
        values = torch.zeros(len(self), self.dim, dtype=dtype, device=self.rows.device)
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
        if self.held is not None:
            for at, part in self.held.parts(self.held.values.to(dtype)):
                values[:, at] = part
        return values

    def _zeros(self) -> Tensor:
        return torch.zeros(self.dim, device=self.rows.device)

    def _decay(self) -> Tensor:
        return torch.zeros(len(self), device=self.rows.device) if self.decay is None else self.decay

    def _first(self, count: int) -> Factors:
        """The first `count` rows alone, in their own order."""
        return replace(
            self,
            layers=tuple(layer.taken(lambda parts: _cut(parts, count)) for layer in self.layers),
            coefficients=_cut(self.coefficients, count),
            rows=torch.arange(count, device=self.rows.device),
            decay=None if self.decay is None else self.decay[:count],
            lengths=None,
            held=None if self.held is None else Held(self.held.values[:count], self.held.places),
        )

    def _squares(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """‖U‖² of every row and the (Σ‖x‖‖e‖)² that it could be at most, `[k]` float64 both, computed in `dtype`."""
        k, steps, wide = len(self), len(self.coefficients), torch.float64
        squares, reach = (torch.zeros(k, dtype=wide, device=self.rows.device) for _ in range(2))
        each = torch.zeros(steps, k, dtype=wide, device=self.rows.device)
        for row, coefficient in zip(each, self.coefficients, strict=True):
            row[: len(coefficient)] = coefficient
        found = compiled.loops() if dtype == torch.float32 and squares.device.type == "cpu" else None
        for layer in self.layers:
            if found is not None and _contiguous(layer):
                _add_quickly(found, layer, each, squares, reach)
            else:
                _add_layer(layer, each, dtype, squares, reach)
        if self.start is not None:
            self._add_start(squares, reach, dtype)
        if self.held is not None:
            lengths = torch.linalg.vector_norm(self.held.values, dim=1, dtype=wide).square_()
            squares += lengths
            reach += lengths
        return squares, reach

    def _add_start(self, squares: Tensor, reach: Tensor, dtype: torch.dtype) -> None:
        """The terms decay²·‖start‖² and 2·decay·⟨start, E ᵀX⟩, `⟨W, EᵀX⟩ = Σ (XWᵀ) ∘ E`."""
        start, decay = self._start().to(dtype), self._decay().to(torch.float64)
        crossed = torch.zeros_like(squares)
        for layer in self.layers:
            for coefficient, inputs, errors in zip(self.coefficients, layer.inputs, layer.errors, strict=True):
                met = torch.zeros(len(coefficient), dtype=torch.float64, device=squares.device)
                if layer.weight is not None:
                    weight = start[layer.weight].view(errors.shape[2], inputs.shape[2])
                    met += ((inputs.to(dtype) @ weight.t()) * errors).sum(dim=(1, 2), dtype=torch.float64)
                if layer.bias is not None:
                    met += (errors.to(dtype) @ start[layer.bias]).sum(dim=1, dtype=torch.float64)
                crossed[: len(coefficient)] += coefficient * met
        length = start.to(torch.float64).square().sum()
        squares += decay.square() * length + 2 * decay * crossed
        reach += decay.square() * length

    def _start(self) -> Tensor:
        return self._zeros() if self.start is None else self.start


def _add_layer(layer: Layer, coefficients: Tensor, dtype: torch.dtype, squares: Tensor, reach: Tensor) -> None:
    """Add a layer's ‖U‖² to `squares` and its (Σ‖x‖‖e‖)² to `reach`; `coefficients` `[steps, k]`, zero beyond a step's rows."""
    pairs = [(s, t) for s in range(len(coefficients)) for t in range(s + 1)]
    lengths = torch.zeros_like(coefficients)
    for s, t in pairs:
        products = _met(layer, s, t, dtype)
        count = len(products)
        weights = coefficients[s, :count] * coefficients[t, :count] * (1 if s == t else 2)
        squares[:count] += weights * products.sum(dim=(1, 2), dtype=torch.float64)
        if t == s:
            own = torch.diagonal(products, dim1=1, dim2=2).clamp(min=0).sqrt_()
            torch.sum(own, dim=1, dtype=torch.float64, out=lengths[s, :count])
    reach += lengths.mul_(coefficients.abs()).sum(dim=0).square_()


def _add_quickly(found: Loops, layer: Layer, coefficients: Tensor, squares: Tensor, reach: Tensor) -> None:
    """The same in float32, by compiled loops."""
    plus = float(layer.bias is not None)
    each, sums, lengths = coefficients.numpy(), squares.numpy(), np.zeros(len(squares))
    for s, (inputs, errors) in enumerate(zip(layer.inputs, layer.errors, strict=True)):
        found.squares(inputs.numpy(), errors.numpy(), plus, each[s], sums, lengths)
        for t in range(s):
            entered, left = _meeting(layer, s, t, torch.float32)
            found.crossed(entered.numpy(), left.numpy(), each[s], each[t], sums)
    reach += torch.from_numpy(np.square(lengths, out=lengths))


def _contiguous(layer: Layer) -> bool:
    """Whether compiled loops take how this layer's steps meet."""
    known = (*layer.met_inputs.values(), *layer.met_errors.values())
    parts = (*layer.inputs, *layer.errors, *known)
    return layer.weight is not None and all(part.is_contiguous() and part.dtype == torch.float32 for part in parts)


def _met(layer: Layer, s: int, t: int, dtype: torch.dtype) -> Tensor:
    """⟨U_si, U_tj⟩ of the rows i of step s and j of step t, `[k_s, b_s, b_t]`: (x_i·x_j)(e_i·e_j), with 1 + … for the bias."""
    if layer.weight is None:
        return _together(layer.errors, s, t, dtype, 0.0)
    inputs, errors = _meeting(layer, s, t, dtype)
    return errors * inputs


def _meeting(layer: Layer, s: int, t: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """X_sX_tᵀ, plus 1 with a bias, and E_sE_tᵀ, `[k_s, b_s, b_t]` each."""
    inputs = errors = None
    if dtype == torch.float32:
        inputs, errors = layer.met_inputs.get((s, t)), layer.met_errors.get((s, t))
    if inputs is None:
        inputs = _together(layer.inputs, s, t, dtype, float(layer.bias is not None))
    if errors is None:
        errors = _together(layer.errors, s, t, dtype, 0.0)
    return inputs, errors


def _together(parts: Sequence[Tensor], s: int, t: int, dtype: torch.dtype, plus: float) -> Tensor:
    """Products of the rows of step s with those of step t, with `plus` added."""
    met = torch.bmm(parts[s].to(dtype), parts[t][: len(parts[s])].to(dtype).transpose(1, 2))
    return met.add_(plus) if plus else met


def _cut(parts: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    return tuple(part[:count] for part in parts)


def _cleared(parts: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
    """Copies with zeros where `rows` `[k]` says so."""
    return tuple(part.masked_fill(rows[: len(part)].view(-1, *(1,) * (part.dim() - 1)), 0.0) for part in parts)
