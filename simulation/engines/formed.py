"""Formed: the layers of a chain whose weights a group holds as numbers, for every owner, while the others are of low rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .affine import Affine
from .chain import Chain
from .front import Front

_PAYS = 3.0  # an owner's rows × (in + out) relative to in × out: above, a layer's own weights are less to hold and to multiply


@dataclass(frozen=True, slots=True)
class Formed:
    """The convolutions and some of the Linear layers, in a vector of their own `[m]` that `places` cut out of the whole.

    `affines` are all Linear layers, of which those at `held` stand in the vector of their own.
    """

    front: Front
    affines: tuple[Affine, ...]
    held: frozenset[int]
    places: tuple[slice, ...]

    @property
    def trained(self) -> bool:
        """Whether any of it trains."""
        return bool(self.places)

    def cut(self, vector: Tensor) -> Tensor:
        """`[d] -> [m]`."""
        found = torch.cat([vector[place] for place in self.places] or [vector[:0]])
        for layer in self.front.convolutions:
            if layer.weight_at is not None:
                found[layer.weight_at] = layer.as_in_patches(found[None, layer.weight_at])[0]
        return found

    def as_in_layers(self, vectors: Tensor) -> Tensor:
        """`[k, m]` with every layer's numbers in its own order; written over `vectors`."""
        for layer in self.front.convolutions:
            if layer.weight_at is not None:
                vectors[:, layer.weight_at] = layer.as_in_layer(vectors[:, layer.weight_at])
        return vectors

    def without(self, vector: Tensor) -> Tensor:
        """`vector` `[d]` with zeros at `places`."""
        kept = vector.clone() if self.places else vector
        for place in self.places:
            kept[place] = 0
        return kept


def formed_of(chain: Chain, rows: int) -> Formed:
    """The layers that are not worth being of low rank while an owner has so many rows in all its steps."""
    held = frozenset(place for place, affine in enumerate(chain.affines) if low_rank_costs(affine, rows) > _PAYS)
    front, places = chain.front.apart(), list(chain.front.places)
    affines = []
    end = front.numbers
    for place, affine in enumerate(chain.affines):
        if place in held:
            both = []
            for where in (affine.weight_at, affine.bias_at):
                first, end = end, end if where is None else end + where.stop - where.start
                both.append(None if where is None else slice(first, end))
                places += [] if where is None else [where]
            affine = replace(affine, weight_at=both[0], bias_at=both[1])
        affines.append(affine)
    return Formed(front, tuple(affines), held, tuple(places))


def low_rank_costs(affine: Affine, rows: int) -> float:
    """What a layer takes as products of so many rows, relative to its weights."""
    inputs, outputs = affine.layer.in_features, affine.layer.out_features
    return rows * (inputs + outputs) / (inputs * outputs)
