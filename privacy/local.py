"""The local step at example level: every example's own gradient, clipped, summed exactly, and noised.

Opacus gives the per-example gradients (Yousefpour et al. 2021, arXiv 2109.12298); clipping, summing and noise are ours:

    Σᵢ clip(∇ℓᵢ, C) + s·N_Z(0, (z·C/s)²)        (DP-SGD: Abadi et al. 2016, Algorithm 1)

Each clipped gradient is cut off to a public grid of step s (`ball.py`) before it is summed, so the sum is a sum of integers:
it is exact, in any order, and one example moves it by at most C, rounding included (PRIVACY.md 5 and 9).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from .ball import Ball
from .entropy import Stream
from .noise import PIECE, add_discrete_gaussians, narrow

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_CHUNK = 1 << 23  # numbers in one batch of per-example gradients: 32 MiB
_BLOCK = 1 << 18  # numbers clipped at once: they stay in the cache
_PIECE = 16 * PIECE  # numbers noised at once: what is made anew for each piece costs more than what leaves the cache

_REMEDIES: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.modules.batchnorm._BatchNorm, "it mixes the examples of a batch; use nn.GroupNorm or nn.LayerNorm"),
    (nn.modules.rnn.RNNBase, "its gates are fused; build the cell from nn.Linear layers"),
    (nn.modules.rnn.RNNCellBase, "its gates are fused; build the cell from nn.Linear layers"),
    (nn.MultiheadAttention, "its projections are fused; build the attention from nn.Linear layers"),
    (nn.modules.instancenorm._InstanceNorm, "it remembers the data; set track_running_stats=False"),
)


class LocalError(ValueError):
    """A model or loss with which one example's part in a gradient cannot be bounded; names the layer and the remedy."""


def clipped_sum(
    module: nn.Module, parameters: Sequence[nn.Parameter], loss: Loss, inputs: Tensor, targets: Tensor, ball: Ball
) -> Tensor:
    """Σᵢ clip(∇ℓᵢ, C) over a batch, int64 `[d]` in steps of the ball's grid; zero over an empty batch.

    An example whose gradient is not finite counts as zero (PRIVACY.md 12). `module` is in training mode.
    """
    dim = sum(parameter.numel() for parameter in parameters)
    total = torch.zeros(dim, dtype=torch.int64, device=inputs.device)
    for chunk in _pieces(len(inputs), _CHUNK // dim):
        rows = per_example_gradients(module, parameters, loss, inputs[chunk], targets[chunk])
        for block in _pieces(len(rows), _BLOCK // dim):
            # Whole numbers of at most 2²⁸, at most 2¹⁸ of them: float64 adds them exactly.
            total += clipped(rows[block], ball).sum(dim=0).to(torch.int64)
    return total


def clipped(gradients: Tensor, ball: Ball) -> Tensor:
    """Rows `[B, d]` at an L2 norm of at most `ball.longest(d)`, as whole numbers of steps, float64 `[B, d]`.

    Cut off towards zero, so that no row grows. A row that is not finite becomes zero. Raises `LocalError` where a row is too
    long for the grid.
    """
    norms = torch.linalg.vector_norm(gradients, dim=1, dtype=torch.float64)
    factors = torch.clamp(longest(ball, gradients.shape[1]) / norms, max=ball.radius / ball.norm)
    whole = gradients.to(torch.float64).mul_(factors[:, None]).trunc_()
    return whole.masked_fill_(~torch.isfinite(norms)[:, None], 0.0)


def longest(ball: Ball, dim: int) -> float:
    """`ball.longest(dim)`, where there is one; else raises `LocalError`."""
    try:
        return ball.longest(dim)
    except ValueError as error:
        raise LocalError(str(error)) from error


def noised(total: Tensor, ball: Ball, noise_multiplier: float, stream: Stream, scale: float = 1.0) -> Tensor:
    """scale·(a clipped sum and its noise) in the units of gradients, float32 `[d]`; `total` are whole numbers of steps `[d]`.

    The noise is discrete Gaussian of σ = z·C on the grid. It is added to integers; what comes after is post-processing.
    """
    pieces = noised_pieces(lambda place: total[place].clone(), len(total), ball, noise_multiplier, stream)
    return torch.cat([piece for _, piece in pieces]).to(torch.float32).mul_(scale * ball.step)


def noised_pieces(
    total: Callable[[slice], Tensor], dim: int, ball: Ball, noise_multiplier: float, stream: Stream
) -> Iterator[tuple[slice, Tensor]]:
    """A clipped sum and its noise in whole numbers of steps, one place in the vector after the other, each small enough to
    stay in the cache while it is used.

    `total` makes the whole numbers of a place, which are written over: int64, or int32 below 2^30.
    """
    sigma = ball.sigma(noise_multiplier)
    for place in _pieces(dim, _PIECE):
        values = total(place)
        if sigma > 0:
            if values.dtype == torch.int32 and not (narrow(sigma) and ball.narrow):
                values = values.to(torch.int64)
            whole = values.cpu().contiguous()  # where `total` made it; nobody else has it
            add_discrete_gaussians([stream], sigma, whole.numpy()[None])
            values = whole.to(values.device)
        yield place, values


def per_example_gradients(
    module: nn.Module, parameters: Sequence[nn.Parameter], loss: Loss, inputs: Tensor, targets: Tensor
) -> Tensor:
    """∇ℓᵢ of every example with respect to `parameters`, float32 `[B, d]`, in their order; the module is left as found."""
    from opacus.grad_sample import GradSampleModule

    with _only(module, parameters):
        wrapped = GradSampleModule(module, loss_reduction="sum")
        try:
            losses = loss(wrapped(inputs), targets)
            if losses.shape != inputs.shape[:1]:
                raise LocalError(
                    f"the loss has shape {list(losses.shape)} for {len(inputs)} examples; give one number per example "
                    '(reduction="none", averaged over positions only)'
                )
            with warnings.catch_warnings():
                # Opacus hooks layers whose inputs need no gradient; torch remarks on that at every first layer.
                warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
                torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
            rows = [_rows(parameter, len(inputs)) for parameter in parameters]
        finally:
            wrapped.to_standard_module()
            for layer in module.modules():
                # What a pass that ended in an error leaves behind; the next one would read it.
                for name in ("activations", "max_batch_len"):
                    layer.__dict__.pop(name, None)
    return torch.cat(rows, dim=1)


def check_module(
    module: nn.Module, parameters: Sequence[nn.Parameter], loss: Loss, inputs: Tensor, targets: Tensor
) -> None:
    """Raise `LocalError` unless every example's gradient is its own, whoever else is in its batch.

    Layers are first looked up by kind. Then the per-example gradients of made-up examples are compared with those of each
    example alone, at slightly moved weights: that finds every operation that mixes examples or misplaces their gradients.
    `inputs` and `targets` give shapes and kinds only; nothing here depends on the data (PRIVACY.md 12).
    """
    if not module.training:
        raise LocalError("the model is in evaluation mode, where no gradients are recorded; call module.train()")
    check_layers(module)
    generator = torch.Generator().manual_seed(0)
    kept = [parameter.detach().clone() for parameter in parameters]
    silent = [layer for layer in module.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)]
    try:
        for layer in silent:
            layer.training = False
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(_made_up(parameter.shape, parameter, generator), alpha=0.1)
        for count in (2, 3):  # two sizes: a leading dimension that happens to equal one of them is not the other
            _compare(
                module, parameters, loss, *(_made_up((count, *t.shape[1:]), t, generator) for t in (inputs, targets))
            )
    finally:
        for layer in silent:
            layer.training = True
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def _compare(
    module: nn.Module, parameters: Sequence[nn.Parameter], loss: Loss, inputs: Tensor, targets: Tensor
) -> None:
    try:
        together = per_example_gradients(module, parameters, loss, inputs, targets)
        for i, row in enumerate(together):
            parts = torch.autograd.grad(
                loss(module(inputs[i : i + 1]), targets[i : i + 1]).sum(), parameters, allow_unused=True
            )
            alone = torch.cat(
                [
                    (torch.zeros_like(p) if part is None else part).reshape(-1).to(torch.float32)
                    for p, part in zip(parameters, parts, strict=True)
                ]
            )
            if float((row - alone).norm()) > 1e-3 * float(alone.norm()) + 1e-6:
                raise LocalError(
                    "the gradient of one example depends on the other examples of its batch, or cannot be told from theirs; "
                    "let no operation mix the batch dimension (the first one of every layer's input), and write dropout as "
                    "nn.Dropout"
                )
    except LocalError:
        raise
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LocalError(
            f"the model gives no per-example gradients ({reason}); build it from nn.Linear, nn.Conv, nn.Embedding, "
            "nn.LayerNorm and nn.GroupNorm layers, each taking one input whose first dimension is the batch"
        ) from error


def check_layers(module: nn.Module) -> None:
    """Raise `LocalError` naming every layer that Opacus, or we, know to be unfit for per-example gradients."""
    from opacus.validators import ModuleValidator

    faults: list[str] = []
    for name, layer in module.named_modules():
        remedy = next((remedy for kind, remedy in _REMEDIES if isinstance(layer, kind)), None)
        remembers = not isinstance(layer, nn.modules.instancenorm._InstanceNorm) or layer.track_running_stats
        validator = ModuleValidator.VALIDATORS.get(type(layer))
        if remedy is not None and remembers:
            faults.append(f"{name or 'the model'} ({type(layer).__name__}): {remedy}")
        elif validator is not None and any(p.requires_grad for p in layer.parameters()) and validator(layer):
            faults.append(f"{name or 'the model'} ({type(layer).__name__}): Opacus refuses it; replace the layer")
        elif any(p.requires_grad for p in layer.parameters(recurse=False)) and any(layer.buffers()):
            faults.append(
                f"{name or 'the model'} ({type(layer).__name__}): it holds parameters and buffers; move one of them to "
                "a layer of its own"
            )
    if faults:
        raise LocalError("no per-example gradients for " + "; ".join(faults))


@contextmanager
def _only(module: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """No other parameter of `module` requires a gradient, for as long as it lasts."""
    trained = set(map(id, parameters))
    frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in trained]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _rows(parameter: nn.Parameter, count: int) -> Tensor:
    """What Opacus left for one parameter, `[B, numel]`; zero where the loss does not reach it."""
    rows: Tensor | None = getattr(parameter, "grad_sample", None)
    if rows is None:
        return torch.zeros(count, parameter.numel(), device=parameter.device)
    if not isinstance(rows, Tensor) or rows.shape != (count, *parameter.shape):
        found = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise LocalError(
            f"a parameter of shape {list(parameter.shape)} got per-example gradients {found} for {count} examples; "
            "the first dimension of every layer's input must be the batch"
        )
    return rows.detach().reshape(count, -1).to(torch.float32)


def _pieces(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` (at least 1) that cover `range(total)`."""
    for first in range(0, total, max(1, size)):
        yield slice(first, first + max(1, size))


def _made_up(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of no meaning in [0, 1), or the symbols 0 and 1, of the kind and on the device of `like`."""
    if like.is_floating_point():
        return torch.rand(tuple(shape), generator=generator).to(like)
    return torch.randint(0, 2, tuple(shape), generator=generator).to(like)
