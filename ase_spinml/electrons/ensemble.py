"""Electrons in equilibrium: occupations, potentials, the chemical potential, and what every solver hands back.

At a fixed chemical potential mu the potential is Omega = -T sum ln(1 + exp(-(E - mu)/T)), at a fixed number of
electrons F = Omega + mu N, with k_B = 1. Fields are derivatives of the one and of the other alike.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from ase_spinml.errors import InputError

ACCURACY = 1e-9
"""Largest error of the number of electrons, relative to the number of states."""
DEGENERATE = 1e-9
"""Levels closer than this, relative to the width of the spectrum, share electrons evenly at zero temperature."""


@dataclass(frozen=True)
class Ensemble:
    """What is held fixed: the temperature, and either the number of electrons or the chemical potential.

    Parameters
    ----------
    temperature : float
        Of the electrons, >= 0, in units of energy.
    n_electrons : float, optional
    chemical_potential : float, optional
    """

    temperature: float
    n_electrons: float | None = None
    chemical_potential: float | None = None

    @property
    def potential(self):
        """Name of the energy whose derivatives the fields are."""
        return "grand potential" if self.n_electrons is None else "free energy"


@dataclass
class Solution:
    """What a solver knows of the electrons, for one set of spins or, with a leading axis everywhere, several.

    Attributes
    ----------
    energy : float
        F at a fixed number of electrons, Omega at a fixed chemical potential; None where there is none (a current).
    chemical_potential, n_electrons : float
    site : (N, o, o) array
        rho_ii; None if only the energy was asked for.
    bond : (P, o, o) array
        rho_ji as in :mod:`ase_spinml.electrons.sd`; None if not asked for.
    levels : (K, M) array
        Eigenvalues for every twist, where the solver finds them.
    moments, bounds : (Mc,) array, (float, float)
        Chebyshev moments of the levels and the bounds they are for, where the solver finds those.
    """

    energy: float | None
    chemical_potential: float
    n_electrons: float
    site: np.ndarray | None = None
    bond: np.ndarray | None = None
    levels: np.ndarray | None = None
    moments: np.ndarray | None = None
    bounds: tuple | None = None

    @classmethod
    def stack(cls, solutions):
        """Several sets of spins as one, each attribute with a leading axis."""
        columns = {name: [getattr(one, name) for one in solutions] for name in cls.__dataclass_fields__}
        return cls(**{name: None if parts[0] is None else np.stack(parts) for name, parts in columns.items()})


def occupations(energies, chemical_potential, temperature):
    """Fermi function of an array of energies; a level at the chemical potential is half filled at T = 0."""
    distance = np.asarray(energies) - chemical_potential
    if temperature == 0:
        return np.heaviside(-distance, 0.5)
    return expit(-distance / temperature)


def grand_potential(energies, chemical_potential, temperature):
    """-T ln(1 + exp(-(E - mu)/T)) of every level, without overflow at any distance."""
    distance = np.asarray(energies) - chemical_potential
    below = np.minimum(distance, 0.0)
    if temperature == 0:
        return below
    return below - temperature * np.log1p(np.exp(-np.abs(distance) / temperature))


def fill(levels, ensemble):
    """Chemical potential and occupations of levels.

    Parameters
    ----------
    levels : (K, M) array
        Energies, for K twists that weigh 1/K each.
    ensemble : Ensemble

    Returns
    -------
    chemical_potential : float
    occupation : (K, M) array
        At zero temperature and a fixed number, the levels at the Fermi energy share what is left evenly.

    Raises
    ------
    InputError
        As :func:`find_chemical_potential`.
    """
    temperature, n_electrons = ensemble.temperature, ensemble.n_electrons
    if n_electrons is None:
        return ensemble.chemical_potential, occupations(levels, ensemble.chemical_potential, temperature)
    if temperature == 0:
        return _fill_lowest(levels, n_electrons * len(levels))
    flat = np.sort(levels, axis=None)
    guess = _middle_of_gap(flat, n_electrons * len(levels))

    def count(chemical_potential):
        return float(occupations(flat, chemical_potential, temperature).sum()) / len(levels)

    mu = find_chemical_potential(count, n_electrons, levels.shape[1], (flat[0], flat[-1]), temperature, guess)
    return mu, occupations(levels, mu, temperature)


def find_chemical_potential(count, n_electrons, n_states, bounds, temperature, guess=None):
    """The chemical potential at which ``count(mu)`` electrons are ``n_electrons``.

    Parameters
    ----------
    count : callable
        Never falls as mu rises.
    n_electrons, n_states : float
    bounds : (float, float)
        Of the spectrum.
    temperature : float
    guess : float, optional
        Taken if it is right to rounding: in a gap that is wide beside the temperature many are.

    Raises
    ------
    InputError
        No chemical potential gives this number.
    """
    if guess is not None and abs(count(guess) - n_electrons) <= 1e-15 * n_states:
        return guess
    empty, full = np.log(n_states / n_electrons), np.log(n_states / (n_states - n_electrons))
    low, high = bounds[0] - temperature * (empty + 1.0), bounds[1] + temperature * (full + 1.0)
    mu, found = np.nan, np.array([count(low), count(high)])
    if found[0] <= n_electrons <= found[1]:
        mu = brentq(
            lambda trial: count(trial) - n_electrons, low, high, xtol=1e-15, rtol=1e-15, maxiter=300, disp=False
        )
        found = count(mu)
    if not np.all(np.abs(found - n_electrons) <= ACCURACY * n_states):
        raise InputError(
            f"Expected a chemical potential that gives {n_electrons:.6g} electrons, got {np.atleast_1d(found)[0]:.6g} "
            f"at best: raise the temperature, or the number of moments."
        )
    return mu


def _middle_of_gap(flat, n_below):
    """Middle between the lowest ``n_below`` levels and the next one, or None where that is not a whole number."""
    n = round(n_below)
    if abs(n - n_below) > 1e-9 or not 0 < n < len(flat):
        return None
    return 0.5 * (flat[n - 1] + flat[n])


def _fill_lowest(levels, n_below):
    order = np.argsort(levels, axis=None, kind="stable")
    flat = levels.ravel()[order]
    width = DEGENERATE * max(flat[-1] - flat[0], 1e-300)
    last = min(max(int(np.ceil(n_below - 1e-9)) - 1, 0), len(flat) - 1)
    shell = np.abs(flat - flat[last]) <= width
    filled = flat < flat[last] - width
    share = (n_below - filled.sum()) / shell.sum()
    occupation = np.empty(levels.size)
    occupation[order] = np.where(filled, 1.0, np.where(shell, share, 0.0))
    above = flat[last + 1] if abs(share - 1.0) < 1e-9 and last + 1 < len(flat) else flat[last]
    return 0.5 * (flat[last] + above), occupation.reshape(levels.shape)
