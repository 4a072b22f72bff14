"""How long a time step may be: the fastest precession of a spin system in its present state."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, set_moments, transverse, unit_rows
from ase_spinml.units import GYROMAGNETIC_RATIO

_ANGLE = 1e-3
_ITERATIONS = 12


def suggest_timestep(atoms, tolerance=1e-2, gyromagnetic_ratio=GYROMAGNETIC_RATIO, rng=0):
    """Time step at which the fastest spin wave of the present state runs slow by the fraction ``tolerance``.

    The spherical midpoint step turns a precession of angular frequency w at the rate w [1 - (w dt)^2/12 + ...], and the
    other second-order steps are of the same order; hence dt = sqrt(12 tolerance)/w. The fastest w is found by power
    iteration on the linearised equation of motion, with differences of the field, 27 evaluations in all; it is at least
    the rate at which some spin turns in the state as it is, which small deviations of a spin across its field do not
    tell. Atoms of a coupled run move more slowly than exchange-coupled spins do; check light atoms (hydrogen) by
    yourself.

    Parameters
    ----------
    atoms : ase.Atoms
        With moments and a calculator that gives ``exchange_fields``.
    tolerance : float
        Relative error of the frequency.
    gyromagnetic_ratio : float
        In 1/(eV ASE time) per mu_B.
    rng : seed or numpy.random.Generator
        Direction the iteration starts from.

    Returns
    -------
    float
        Time step in ASE time units.

    Raises
    ------
    InputError
        A tolerance that is not positive; spins that nothing turns.

    Examples
    --------
    >>> from ase import Atoms, units
    >>> from ase_spinml import Heisenberg, suggest_timestep
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]], magmoms=[[0, 0, 2.2], [0, 0, 2.2]])
    >>> atoms.calc = Heisenberg(exchange=[0.050])
    >>> print(f"{suggest_timestep(atoms, tolerance=0.01) / units.fs:.2f} fs")
    2.51 fs
    """
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise InputError(f"Expected tolerance > 0, a relative error of the precession, got {tolerance}.")
    frequency = abs(gyromagnetic_ratio) * fastest_precession(atoms, np.random.default_rng(rng))
    if frequency == 0.0:
        raise InputError("Expected spins that something turns, got fields of zero however they turn: check the model.")
    return float(np.sqrt(12.0 * tolerance) / frequency)


def fastest_precession(atoms, rng):
    """Fastest rate over gamma, eV/mu_B: of the motion e x H itself, or of small deviations, d -> e x dH(d) + d x H.

    The latter is the spectral radius of the linearised motion.
    """
    moments = get_moments(atoms)
    lengths = np.linalg.norm(moments, axis=1)[:, None]
    spins = unit_rows(moments)
    trial = atoms.copy()
    trial.calc = atoms.calc

    def motion(directions):
        set_moments(trial, lengths * directions)
        return np.cross(directions, trial.calc.get_property("exchange_fields", trial))

    turning = float(np.linalg.norm(motion(spins), axis=1).max())
    change = transverse(rng.standard_normal(spins.shape), spins) * (lengths > 0)
    growth = []
    for _ in range(_ITERATIONS):
        change = change / np.linalg.norm(change)
        largest = np.linalg.norm(change, axis=1).max()
        step = _ANGLE / largest * change
        ahead, behind = motion(unit_rows(spins + step)), motion(unit_rows(spins - step))
        change = transverse(0.5 * largest / _ANGLE * (ahead - behind), spins)
        growth.append(np.linalg.norm(change))
        if growth[-1] == 0.0:
            return turning
    return max(turning, float(np.sqrt(growth[-1] * growth[-2])))
