"""Rounding: how far the discrete Gaussian on a fine grid is from a continuous Gaussian that was rounded to it.

x + DG(σ) with x on the grid is compared with x + round(N(0, σ²)) = round(x + N(0, σ²)), which is the Gaussian mechanism
and a rounding after it. In a coordinate, R(n)/DG(n) = c · E_u[cosh(nu/σ²) exp(−u²/2σ²)] with u uniform on [−½, ½]
and c ≥ 1; cosh v ≥ 1 + v²/2 and exp(−v) ≥ 1 − v bound it below by 1 + h, h = (n²/σ² − 1)/24σ² − n²/320σ⁶, and
−log(1 + h) ≤ −h + 0.53h² gives KL(DG‖R) ≤ (1/320 + 0.53·2.1/576)/σ⁴ ≤ 1/(197σ⁴) for σ ≥ 64. Pinsker over d coordinates:

    TV ≤ √(d/394)/σ²
"""

from __future__ import annotations

import math

SMOOTH = 64.0  # σ in steps from which the series above are proven
NEGLIGIBLE = 1e-12  # distance of one release that a claim is made room for


def distance(sigma: float, dim: int) -> float:
    """Bound on the total variation between both in `dim` coordinates, σ in steps; infinite where nothing is proven."""
    return math.sqrt(dim / 394) / sigma**2 if sigma >= SMOOTH else math.inf
