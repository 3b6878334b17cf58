"""Learner: the model that owners take turns to train, and its gradients at any flat vector of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from ..privacy.ball import Ball
from ..privacy.local import check_module, clipped_sum
from .local import SolverError, Streams

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from ..tasks.trainable import Trainable

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Correct: TypeAlias = Callable[[Tensor, Tensor], Tensor | None]


class Learner:
    """One module, reused by every owner in turn; `loss(outputs, targets)` gives one number per example `[B]`, and so does
    `correct`, in [0, 1], where there is a right and a wrong.

    The weights enter by argument, and a turn begins and ends with the parameters and buffers that the module had when the
    learner was made, so nothing passes from one owner to the next. A learner serves one owner at a time:
    each thread makes its own.
    """

    __slots__ = (
        "__weakref__", "_buffers", "_checked", "_initial", "_parameters", "correct", "device", "loss", "module", "trainable",
    )  # fmt: skip

    def __init__(
        self, module: nn.Module, loss: Loss, trainable: Trainable, device: str = "cpu", correct: Correct | None = None
    ) -> None:
        self.module = module.to(device)
        self.loss = loss
        self.correct = correct
        self.trainable = trainable
        self.device = device
        self._parameters = trainable.parameters(self.module)
        self._initial = trainable.flatten(self.module)
        self._buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        self._checked = False

    @property
    def dim(self) -> int:
        """d, the length of the vector of weights."""
        return self.trainable.dim

    @contextmanager
    def turn(self, streams: Streams) -> Iterator[None]:
        """One owner's use of the module, in training mode; what it draws (dropout) comes from the stream `model`."""
        modes = [(layer, layer.training) for layer in self.module.modules()]
        self._reset()
        self.module.train()
        cuda = [torch.device(self.device)] if self.device.startswith("cuda") else []
        seed = int.from_bytes(streams("model").bytes(7), "little")
        try:
            # Layers draw from torch's global generators alone; here they are this owner's, and afterwards as they were.
            with torch.random.fork_rng(cuda):
                torch.default_generator.manual_seed(seed)
                for device in cuda:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(seed)
                yield
        finally:
            self._reset()
            for layer, mode in modes:
                layer.training = mode

    def weights(self) -> Tensor:
        """The initial weights, `[d]` on the CPU."""
        return self._initial.detach().clone().cpu()

    def losses(self, weights: Tensor, examples: Examples) -> Tensor:
        """The loss of every example `[B]` at `weights` `[d]`; leaves `weights` in the module."""
        self.trainable.unflatten_into(self.module, weights)
        return per_example(self.loss, self.module(examples.inputs), examples.targets)

    def judged(self, weights: Tensor, inputs: Tensor, targets: Tensor, per: int) -> tuple[Tensor, Tensor | None]:
        """The loss of every example at `weights` and how right it is, `[B]` float64 on the CPU, `per` examples at a time.

        In evaluation mode and without gradients; leaves `weights` and that mode in the module, which a `turn` puts right.
        """
        self.trainable.unflatten_into(self.module, weights.to(self.device))
        self.module.eval()
        losses, rights = [torch.zeros(0)], [torch.zeros(0)]
        with torch.no_grad():
            for start in range(0, len(inputs), per):
                batch, truth = (each[start : start + per].to(self.device) for each in (inputs, targets))
                outputs = self.module(batch)
                losses.append(per_example(self.loss, outputs, truth).cpu())
                right = None if self.correct is None else self.correct(outputs, truth)
                if right is None:
                    rights = []
                elif rights:
                    rights.append(right.cpu())
        known = self.correct is not None and bool(rights)
        return torch.cat(losses).to(torch.float64), torch.cat(rights).to(torch.float64) if known else None

    def gradient(self, weights: Tensor, examples: Examples) -> Tensor:
        """∇ of the mean loss over `examples` at `weights`, `[d]` float32; zero over no examples."""
        if len(examples) == 0:
            return torch.zeros_like(weights)
        parts = torch.autograd.grad(self.losses(weights, examples).mean(), self._parameters, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(p) if part is None else part).reshape(-1).to(torch.float32)
                for p, part in zip(self._parameters, parts, strict=True)
            ]
        )

    def clipped_sum(self, weights: Tensor, examples: Examples, ball: Ball) -> Tensor:
        """Σ of the examples' own gradients, each clipped to the ball: int64 `[d]` in steps of its grid.

        Raises `privacy.local.LocalError` for a model whose examples cannot be told apart.
        """
        self.trainable.unflatten_into(self.module, weights)
        if not self._checked:
            check_module(self.module, self._parameters, self.loss, examples.inputs, examples.targets)
            self._checked = True
        return clipped_sum(self.module, self._parameters, self.loss, examples.inputs, examples.targets, ball)

    def _reset(self) -> None:
        self.trainable.unflatten_into(self.module, self._initial)
        for buffer, value in self._buffers:
            buffer.copy_(value)


def per_example(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The losses `[B]`; raises `SolverError` where the loss has hidden the examples in a mean."""
    losses = loss(outputs, targets)
    if losses.shape != targets.shape[:1]:
        raise SolverError(
            f"the task's loss has shape {list(losses.shape)} for {len(targets)} examples; give one number per example "
            '(reduction="none", averaged over positions only)'
        )
    return losses
