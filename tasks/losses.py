"""Losses: one number for each example, never their mean.

A mean over a batch hides the single example that a per-example clip must bound, so a task's loss gives `[B]`.
They hold no `.item()`, no branch on values and no in-place write, and so pass under `torch.func.vmap`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−log softmax(z)[y] per example: logits `[B, …, C]`, classes `[B, …]` int64 -> `[B]`, positions averaged.

    Unlike the library's own it has no class number that is silently ignored: one outside 0..C−1 raises.
    """
    losses = torch.log_softmax(outputs, dim=-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1).neg()
    return losses.flatten(1).mean(dim=1) if losses.dim() > 1 else losses


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """log(1 + e^(−z)) where y = 1 and log(1 + e^z) where y = 0: logits `[B]` or `[B, 1]`, classes `[B]` -> `[B]`."""
    logits = outputs.flatten()
    # One term with the sign in it: log(1 + e^z) − y·z cancels to noise for the confident and right.
    return F.softplus((1 - 2 * targets.to(logits.dtype)) * logits)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over an example's coordinates of (ŷ − y)²: both `[B]`, `[B, 1]` or `[B, …]` alike -> `[B]`."""
    errors = (outputs - targets.reshape(outputs.shape)).square()
    return errors.unsqueeze(-1).flatten(1).mean(dim=1)
