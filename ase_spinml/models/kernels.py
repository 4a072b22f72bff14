"""Covariance functions of atomic environments."""

from dataclasses import dataclass

import torch

from ase_spinml.errors import InputError


@dataclass(frozen=True)
class Linear:
    """k(x, x') = x.x'. Its sparse points are the unit vectors of feature space: the exact linear model."""

    def points(self, candidates, select):
        return torch.eye(candidates.shape[1], dtype=candidates.dtype)

    def __call__(self, x, points):
        """Covariances (n, M) of x (n, F) with points (M, F)."""
        return x @ points.T

    def variance(self, x):
        """k(x, x'), (n, n)."""
        return x @ x.T

    def slopes(self, x, points):
        """a (n, M) and b (n, M) or None of dk/dx = a * point + b * x."""
        return torch.ones(len(x), len(points), dtype=x.dtype, device=x.device), None

    def collapse(self, points, weights, scale):
        """Function x -> (energy (n,), dE/dx (n, F)) of sum_B w_B k(scale * x, x_B), without points where possible."""
        vector = (weights @ points) * scale
        return lambda x: (x @ vector, vector.expand_as(x))


@dataclass(frozen=True)
class Polynomial:
    """k(x, x') = (x.x')^zeta with an integer zeta >= 2; features are not normalised, so their length counts."""

    zeta: int

    def points(self, candidates, select):
        return select(candidates)

    def __call__(self, x, points):
        return (x @ points.T) ** self.zeta

    def variance(self, x):
        return (x @ x.T) ** self.zeta

    def slopes(self, x, points):
        return self.zeta * (x @ points.T) ** (self.zeta - 1), None

    def collapse(self, points, weights, scale):
        points = points * scale
        if self.zeta == 2:
            matrix = (points.T * (2 * weights)) @ points

            def quadratic(x):
                slope = x @ matrix
                return torch.einsum("nf,nf->n", slope, x) / 2, slope

            return quadratic

        def direct(x):
            projection = x @ points.T
            slope = weights * projection ** (self.zeta - 1)
            return (slope * projection).sum(1), self.zeta * (slope @ points)

        return direct


@dataclass(frozen=True)
class RadialBasis:
    """k(x, x') = exp(-|x - x'|^2 / 2 length^2), length in units of the typical length of x."""

    length: float

    def points(self, candidates, select):
        return select(candidates)

    def __call__(self, x, points):
        distance2 = x.square().sum(1, keepdim=True) + points.square().sum(1) - 2 * x @ points.T
        return torch.exp(distance2.clamp_min(0) / (-2 * self.length**2))

    def variance(self, x):
        return self(x, x)

    def slopes(self, x, points):
        k = self(x, points) / self.length**2
        return k, -k

    def collapse(self, points, weights, scale):
        def direct(x):
            x = x * scale
            k = self(x, points) * weights
            energy = k.sum(1)
            return energy, (k @ points - energy.unsqueeze(1) * x) * (scale / self.length**2)

        return direct


def make_kernel(kind, zeta, length):
    """Kernel from the arguments of SpinGAP.

    Raises InputError for an unknown kind, a zeta that is not a positive integer, a length that is not positive.
    """
    if kind not in ("polynomial", "rbf"):
        raise InputError(f"kernel must be 'polynomial' or 'rbf', got {kind!r}")
    if kind == "rbf":
        if not length > 0:
            raise InputError(f"length_scale of the rbf kernel must be positive, got {length!r}")
        return RadialBasis(float(length))
    if isinstance(zeta, bool) or zeta not in range(1, 100):
        raise InputError(f"zeta must be an integer >= 1, got {zeta!r}")
    return Linear() if zeta == 1 else Polynomial(int(zeta))
