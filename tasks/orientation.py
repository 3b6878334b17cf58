"""Orientation: histograms of edge directions, features that are fixed before any data is seen.

Dalal and Triggs 2005 (histograms of oriented gradients, shared among cells) with a power as in Perronnin et al. 2010. Good
fixed features beat a larger model under noise: they cost no privacy, and the noise falls on fewer parameters.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 8
# A pixel's share in the cells around it falls off linearly: overlapping cells of 4×4 pixels, 2 apart.
SHARES = (0.25, 0.75, 0.75, 0.25)
POWER = 0.75


def orientation_features(images: Tensor) -> Tensor:
    """Images `[N, H, W]`, H and W even, to `[N, H/2 · W/2 · 8]` float32 of zero mean and unit norm.

    Central differences, zero outside the image; each pixel's magnitude is shared between the two nearest of 8 *signed*
    directions (0°, 45°, …, 315°) and among the nearest cells; then the power 3/4, minus the image's own mean, over its own
    norm. Each image is treated alone, so nothing is estimated from data. A blank image gives zeros.
    """
    padded = F.pad(images.to(torch.float64), (1, 1, 1, 1))
    right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    direction = torch.atan2(down, right).remainder(2 * math.pi) * (BINS / (2 * math.pi))
    away = (direction.unsqueeze(1) - torch.arange(BINS)[:, None, None] + BINS / 2).remainder(BINS) - BINS / 2
    votes = torch.hypot(right, down).unsqueeze(1) * (1 - away.abs()).clamp(min=0)
    share = torch.tensor(SHARES, dtype=torch.float64)
    window = torch.outer(share, share).expand(BINS, 1, 4, 4)
    cells = F.conv2d(votes, window, stride=2, padding=1, groups=BINS)
    powers = cells.permute(0, 2, 3, 1).flatten(1) ** POWER
    centred = powers - powers.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1, keepdim=True)
    return (centred / torch.where(norms > 1e-12, norms, 1.0)).to(torch.float32)
