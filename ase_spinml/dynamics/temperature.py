"""The temperature of the spins, read off one configuration.

With the energy E as a function of the unit vectors e_i, each on its own sphere, the divergence theorem on the product
of the spheres gives, for states of Boltzmann weight exp(-E / k_B T),

    k_B T = < sum_i |grad_i E|^2 > / < sum_i lap_i E >

with the spherical gradient grad_i E = P_i dE/de_i (P_i projects perpendicular to e_i) and the Laplace-Beltrami operator
lap_i. The familiar form of Nurdin and Schotte has sum_i |e_i x h_i|^2 / (2 sum_i e_i.h_i), with h_i = -dE/de_i, and
holds for energies bilinear in the spins only; transverse fields make its denominator vanish.

The Laplacian is the trace of the second derivatives along geodesics, for any two perpendicular tangents per spin, and
is estimated after Hutchinson: all spins turn at once about independent random axes by the angle +h and -h,

    d2E/dh2 = d/dh sum_i grad_i E(e(h)) . u_i(h),    e_i(h) = e_i cos h + u_i sin h,    u_i(h) = u_i cos h - e_i sin h,

once along random tangents u_i and once along e_i x u_i. Every spin's own part is then complete; cross terms between
different spins average out over the random axes.
"""

import numpy as np
from ase import units

from ase_spinml.moments import get_moments, set_moments

_ANGLE = 0.01


def spin_temperature(atoms, rng, n_samples=1):
    """Microscopic spin temperature of the magnetic atoms, in K.

    The calculator of ``atoms`` gives ``exchange_fields``; it is called 1 + 4 n_samples times.

    rng: seed or numpy Generator of the random axes.
    n_samples: independent sets of axes; the noise falls with its square root and that of the number of spins.
    Returns a float, nan where the energy does not depend on the spins at all. Fluctuates from state to state; only
    the averages of the two sums stand in the exact relation.
    """
    moments = get_moments(atoms)
    lengths = np.linalg.norm(moments, axis=1)
    magnetic = lengths > 0
    lengths = lengths[magnetic, None]
    trial = atoms.copy()
    trial.calc = atoms.calc

    def gradient(spins):
        moments[magnetic] = lengths * spins
        set_moments(trial, moments)
        return -lengths * trial.calc.get_property("exchange_fields", trial)[magnetic]

    return temperature_from_gradient(moments[magnetic] / lengths, gradient, rng, n_samples)


def temperature_from_gradient(spins, gradient, rng, n_samples=1):
    """Microscopic temperature of classical spins, in K.

    spins: (N,3) unit vectors.
    gradient: function of (N,3) unit vectors that returns dE/de (N,3) in eV; only its part perpendicular to the
    spins matters.
    rng, n_samples: as in :func:`spin_temperature`.
    """
    if not isinstance(rng, np.random.Generator):  # not the numbers that random spins of the same seed were made of
        rng = np.random.default_rng([rng, 1])
    slope = gradient(spins)
    slope = slope - spins * np.sum(slope * spins, axis=1, keepdims=True)
    laplacian = np.mean([_laplacian(spins, gradient, rng) for _ in range(n_samples)])
    return float(np.sum(slope**2) / laplacian / units.kB) if laplacian != 0.0 else float("nan")


def _laplacian(spins, gradient, rng):
    tangents = np.cross(spins, rng.normal(size=spins.shape))
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    return sum(_curvature(spins, u, gradient) for u in (tangents, np.cross(spins, tangents)))


def _curvature(spins, tangents, gradient):
    """Second derivative of E, in eV, when every spin moves along its great circle."""
    cos, sin = np.cos(_ANGLE), np.sin(_ANGLE)
    ahead = np.sum(gradient(cos * spins + sin * tangents) * (cos * tangents - sin * spins))
    behind = np.sum(gradient(cos * spins - sin * tangents) * (cos * tangents + sin * spins))
    return (ahead - behind) / (2 * _ANGLE)
