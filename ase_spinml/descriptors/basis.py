"""Radial and angular functions of the descriptors.

Radial: spherical Bessel functions smeared by the Gaussian of an atom and tabulated as cubic splines.
Angular: Legendre polynomials of spin cosines with the smearing of a spin on the sphere.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.special import ive

from ase_spinml.errors import InputError


def cutoff_function(r, cutoff):
    """Smooth cutoff [(1 + cos(pi r / Rc)) / 2]^2, zero from Rc on with three continuous derivatives.

    The square of the usual cosine form: the plain one has a jump in its second derivative at Rc, which a time
    integrator feels as a kick whenever an atom crosses the cutoff.
    """
    inside = np.clip(np.asarray(r) / cutoff, 0.0, 1.0)
    return (0.5 * (1.0 + np.cos(np.pi * inside))) ** 2


def smeared_bessel(r, cutoff, n_max, width):
    """Radial functions h_n(r) of a Gaussian-smeared neighbour, (len(r), n_max).

    h_n(r) = 4 pi / (2 pi s^2)^(3/2) fc(r) Int_0^Rc chi_n(r') exp(-(r'^2 + r^2) / 2 s^2) i_0(r r' / s^2) r'^2 dr' with
    chi_n(r) = sqrt(2 / Rc) sin(n pi r / Rc) / r, the spherical Bessel functions of l = 0, orthonormal on [0, Rc] with
    weight r^2 (the two-body basis of VASP's machine-learned force fields; arXiv:2403.10769 leaves it open).

    Parameters
    ----------
    r : (R,) array
        Distances in Angstrom.
    cutoff, width : float
        Rc and the Gaussian width s in Angstrom.
    """
    nodes, weights = _quadrature()
    x = 0.5 * cutoff * (nodes + 1.0)
    weights = 0.5 * cutoff * weights * x**2
    chi = np.sqrt(2 / cutoff) * np.sin(np.pi * np.arange(1, n_max + 1) * x[:, None] / cutoff) / x[:, None]
    r = np.maximum(np.asarray(r, dtype=float), 1e-8)[:, None]
    inverse = width**2 / (r * x)
    near, far = np.exp(-((r - x) ** 2) / (2 * width**2)), np.exp(-((r + x) ** 2) / (2 * width**2))
    kernel = 0.5 * inverse * (near - far)
    prefactor = 4 * np.pi / (2 * np.pi * width**2) ** 1.5
    return prefactor * cutoff_function(r, cutoff) * ((kernel * weights) @ chi)


@lru_cache(maxsize=1)
def _quadrature():
    """Gauss-Legendre nodes and weights on [-1, 1]."""
    return np.polynomial.legendre.leggauss(400)


class RadialTable:
    """Cubic splines of h_n(r), evaluated with their derivative in one gather.

    Parameters
    ----------
    cutoff, width : float
        In Angstrom.
    n_max : int
        n = 1..n_max.
    """

    INTERVALS = 2000

    def __init__(self, cutoff, n_max, width, dtype, device):
        self.cutoff = cutoff
        grid = np.linspace(0.0, cutoff, self.INTERVALS + 1)
        values = smeared_bessel(grid, cutoff, n_max, width)
        spline = CubicSpline(grid, values, bc_type=("not-a-knot", "clamped"))
        step = grid[1] - grid[0]
        powers = step ** np.arange(4)[:, None, None]
        coefficients = spline.c[::-1] * powers  # (4, intervals, n_max) in units of the step
        outside = np.zeros_like(coefficients[:, :1])
        table = np.concatenate([coefficients, outside], axis=1).transpose(1, 0, 2)
        self.size = n_max
        self._inverse_step = 1.0 / step
        self._table = torch.as_tensor(table.reshape(self.INTERVALS + 1, -1), dtype=dtype, device=device)

    def __call__(self, r):
        """Values and derivatives, each (R, n_max), at distances r (R,) in Angstrom; zero beyond the cutoff."""
        position = r * self._inverse_step
        interval = position.floor().clamp_(max=self.INTERVALS)
        t = (position - interval).unsqueeze(1)
        c = self._table.index_select(0, interval.long()).view(len(r), 4, self.size)
        c0, c1, c2, c3 = c.unbind(1)
        inner = torch.addcmul(c2, c3, t)
        value = torch.addcmul(c0, torch.addcmul(c1, inner, t), t)
        slope = torch.addcmul(c1, torch.addcmul(c2, c3, t, value=1.5), t, value=2.0)
        return value, slope * self._inverse_step


def legendre(x, l_max):
    """Legendre polynomials P_l(x) and derivatives, l = 0..l_max, each a list of tensors shaped like x."""
    values = [torch.ones_like(x), x]
    slopes = [torch.zeros_like(x), torch.ones_like(x)]
    for l in range(2, l_max + 1):
        values.append(((2 * l - 1) * x * values[l - 1] - (l - 1) * values[l - 2]) / l)
        slopes.append(l * values[l - 1] + x * slopes[l - 1])
    return values[: l_max + 1], slopes[: l_max + 1]


def spin_smearing(kind, width, l_max):
    """Legendre coefficients a_l of a normalised bump on the sphere, (l_max + 1,), a_0 = 1.

    Parameters
    ----------
    kind : "heat" or "von-mises-fisher"
        Heat kernel a_l = exp(-l (l + 1) s^2 / 2), or a_l = i_l(k) / i_0(k) with concentration k = 1 / s^2.
    width : float
        Angular width s in radian, >= 0; 0 is a point spin, a_l = 1.
    """
    if not width >= 0 or not math.isfinite(width):
        raise InputError(f"the width of a spin on the sphere must be >= 0 radian, got {width}")
    orders = np.arange(l_max + 1)
    if kind not in ("heat", "von-mises-fisher"):
        raise InputError(f"spin smearing is 'heat' or 'von-mises-fisher', got {kind!r}")
    if width == 0:
        return np.ones(l_max + 1)
    if kind == "heat":
        return np.exp(-0.5 * orders * (orders + 1) * width**2)
    concentration = 1.0 / width**2
    return ive(orders + 0.5, concentration) / ive(0.5, concentration)
