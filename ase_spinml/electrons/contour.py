"""Integrals over energy: Fermi's function as a sum over poles above the real axis, and adaptive quadrature on a path.

A Green function G(z) = int A(e) / (z - e) de of a spectral density A is analytic above the real axis, so filling
states in equilibrium needs no energies on it:

    rho = int f(e) A(e) de = 1/2 + sum_k [w_k G(mu + z_k) + h.c.],

which is nothing but f(e) = 1/2 + 2 Re sum_k w_k / (mu + z_k - e). For T > 0 the contour runs parallel to the real axis
at the height 2 pi n T, where f is real again, past n poles (M. Brandbyge, J.-L. Mozos, P. Ordejon, J. Taylor and K.
Stokbro, Phys. Rev. B 65, 165401 (2002)), and then up along Re z = mu to infinity. The error of rho is that of f,
whatever the device, so the rule is made to a tolerance beforehand. For T = 0 nothing shields the contour from
the poles of G near mu, and the way up from mu is integrated adaptively.
"""

from functools import lru_cache

import numpy as np

from ase_spinml.errors import InputError

POLES, ALONG = 4, 6
"""Poles of f below the contour, and points of the Gauss rule along it: together good to 5e-14."""
UPWARDS = (8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256)

KRONROD = np.array(
    [
        [0.991455371120813, 0.022935322010529, 0.0],
        [0.949107912342759, 0.063092092629979, 0.129484966168870],
        [0.864864423359769, 0.104790010322250, 0.0],
        [0.741531185599394, 0.140653259715525, 0.279705391489277],
        [0.586087235467691, 0.169004726639267, 0.0],
        [0.405845151377397, 0.190350578064785, 0.381830050505119],
        [0.207784955007898, 0.204432940075298, 0.0],
        [0.0, 0.209482141084728, 0.417959183673469],
    ]
)
"""Points, Kronrod's 15 weights, Gauss's 7 weights on (-1, 1), half of them (QUADPACK, R. Piessens et al., 1983)."""
POINTS, KRONROD_WEIGHTS, GAUSS_WEIGHTS = np.concatenate([KRONROD * [-1, 1, 1], KRONROD[-2::-1]]).T


@lru_cache(maxsize=64)
def fermi_rule(temperature, bandwidth, tolerance):
    """Points z_k and weights w_k for which 1/2 + 2 Re sum_k w_k / (z_k - e) is Fermi's function of e.

    Parameters
    ----------
    temperature : float
        T > 0, with k_B = 1.
    bandwidth : float
        The error is bounded for |e| up to it.
    tolerance : float
        Bound of the error.

    Returns
    -------
    points, weights : (P,) complex arrays
        Points relative to the chemical potential.

    Raises
    ------
    InputError
        No rule is that good.
    """
    energies = np.geomspace(1e-2, max(bandwidth / temperature, 100.0), 2000)
    energies = np.concatenate([-energies[::-1], energies])
    fermi = 0.5 * (1 - np.tanh(energies / 2))
    for count in UPWARDS:
        points, weights = _rule(count, max(bandwidth / temperature, 1.0))
        values = 0.5 + 2 * (weights[:, None] / (points[:, None] - energies)).sum(axis=0).real
        error = np.abs(values - fermi).max()
        if error <= tolerance:
            return temperature * points, temperature * weights
    raise InputError(
        f"Expected a sum for Fermi's function good to {tolerance:.1e} at temperature {temperature:g}, got an error of "
        f"{error:.1e}: raise tolerance or temperature, or set the temperature to 0."
    )


def _rule(count, bandwidth):
    """As :func:`fermi_rule`, in units of the temperature and with ``count`` points on the way up."""
    height = 2 * np.pi * POLES
    poles = 1j * np.pi * (2 * np.arange(POLES) + 1)
    x, weights = _half_fermi(ALONG)
    u, up = np.polynomial.legendre.leggauss(count)
    scale = np.sqrt(2.5 * height * bandwidth)
    y, dy = height + scale * (1 + u) / (1 - u), 2 * scale * up / (1 - u) ** 2
    points = np.concatenate([poles, 1j * height + x, 1j * height - x, 1j * y])
    return points, np.concatenate([np.full(POLES, 2 * np.pi), 1j * weights, -1j * weights, dy]) / (2 * np.pi)


def _half_fermi(n):
    """Gauss's n points and weights for the weight 1/(exp(x) + 1) on x > 0, by Stieltjes' procedure."""
    x, weights = np.polynomial.legendre.leggauss(200)
    x = 22.0 * (1 + x)
    weights = 22.0 * weights / (np.exp(x) + 1)
    vectors = [np.sqrt(weights) / np.sqrt(weights.sum())]
    diagonal, beside = [], []
    for _ in range(n):
        vector = x * vectors[-1]
        diagonal.append(vector @ vectors[-1])
        for other in vectors:
            vector = vector - (vector @ other) * other
        beside.append(np.linalg.norm(vector))
        vectors.append(vector / beside[-1])
    points, modes = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1))
    return points, weights.sum() * modes[0] ** 2


def upwards(scale):
    """Path from 0 to i infinity as one panel, half of it below i ``scale``; a function of s for :func:`integrate`."""

    def path(s):
        return 1j * scale * s / (1 - s), 1j * scale / (1 - s) ** 2

    return path


def along(breaks):
    """Path along the real axis through sorted ``breaks``, one panel between each two; (path, number of panels).

    Panels are run through as e = middle - cos(pi s) half, so square roots at either end are smooth in s.
    """
    breaks = np.asarray(breaks, float)
    middle, half = 0.5 * (breaks[1:] + breaks[:-1]), 0.5 * (breaks[1:] - breaks[:-1])

    def path(s):
        panel = np.minimum(s.astype(int), len(half) - 1)
        phase = np.pi * (s - panel)
        return middle[panel] - half[panel] * np.cos(phase), np.pi * half[panel] * np.sin(phase)

    return path, len(half)


def integrate(function, path, panels, tolerance, max_points, batch):
    """Adaptive Gauss-Kronrod quadrature of a function with many components, all open intervals at once.

    Parameters
    ----------
    function : callable
        Of points z (P,) and weights (R, P), complex arrays: the sums over points with each row of weights, a (R, K)
        tensor.
    path : callable
        Of s (P,) in (0, ``panels``): points z and derivatives dz/ds, smooth between whole numbers.
    panels : int
    tolerance : float
        Bound of the sum over intervals of the largest estimated error of a component.
    max_points : int
        Bound of the number of points.
    batch : int
        How many points ``function`` can take at once.

    Returns
    -------
    integral : (K,) tensor
    error : float
    points : int

    Raises
    ------
    InputError
        Not converged within ``max_points``.
    """
    lower, width = np.arange(panels, dtype=float), np.ones(panels)
    total, error, points = 0.0, 0.0, 0
    while len(lower):
        size = max(1, batch // len(POINTS))
        parts = [slice(start, start + size) for start in range(0, len(lower), size)]
        sums, errors = zip(*(_intervals(function, path, lower[part], width[part]) for part in parts), strict=True)
        points += len(POINTS) * len(lower)
        errors = np.concatenate(errors)
        order = np.argsort(errors)
        close = np.zeros(len(errors), bool)
        close[order] = np.cumsum(errors[order]) <= (1.0 if len(errors) == 1 else 0.5) * (tolerance - error)
        total = total + sum(values[close[part]].sum(0) for values, part in zip(sums, parts, strict=True))
        if not close.all() and points + 2 * len(POINTS) * (~close).sum() > max_points:
            raise InputError(
                f"Expected the integral over energies to converge to {tolerance:g} within {max_points} points, got an "
                f"error of {error + errors.sum():.1e}: raise max_points, tolerance, temperature or bath."
            )
        error += errors[close].sum()
        half = 0.5 * width[~close]
        lower, width = np.concatenate([lower[~close], lower[~close] + half]), np.tile(half, 2)
    return total, float(error), points


def _intervals(function, path, lower, width):
    """Integrals (I, K) over intervals of s and their estimated errors (I,).

    The distance d between the rules of 15 and 7 points belongs to the poorer one; as in QUADPACK the error of the
    better one is taken as (200 d)^1.5 where that is less. All components are of the order of one.
    """
    count = len(lower)
    s = (lower[:, None] + 0.5 * width[:, None] * (1 + POINTS)).ravel()
    points, slopes = path(s)
    slopes = (0.5 * width[:, None]) * slopes.reshape(count, -1)
    weights = np.zeros((2, count, count, len(POINTS)), dtype=complex)
    each = np.arange(count)
    weights[0, each, each], weights[1, each, each] = slopes * KRONROD_WEIGHTS, slopes * GAUSS_WEIGHTS
    better, poorer = function(points, weights.reshape(2 * count, -1)).reshape(2, count, -1)
    distance = (better - poorer).abs().amax(1).cpu().numpy()
    return better, np.minimum(distance, (200 * distance) ** 1.5)
