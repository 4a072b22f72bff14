"""What relaxation, elastic bands and modes share: gradients, free moments, a length per radian."""

import numpy as np

from ase_spinml import checks
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, transverse
from ase_spinml.terms import effective_fields

USUAL_STEP = 0.2
"""Longest step of ASE's optimizers, in Angstrom."""
USUAL_CURVATURE = 70.0
"""Second derivative, in eV/Angstrom^2, that ASE's optimizers expect to begin with."""
SEED = 7090
"""Of the direction along which the curvature is measured: unlikely to be that of somebody's random spins."""


def spin_gradient(atoms, lengths, spins, free):
    """dE/de_i = -m_i H_i (N, 3) in eV, perpendicular to unit rows ``spins`` (N, 3); zero rows where not ``free`` (N,).

    Raises InputError for fields that are not finite numbers.
    """
    fields = effective_fields(atoms)
    if not np.isfinite(fields).all():
        raise InputError("Expected finite exchange fields from the calculator, got NaN or infinity: check the model.")
    return np.where(free[:, None], -lengths * transverse(fields, spins), 0.0)


def free_moments(atoms, frozen):
    """Which moments may turn, (N,) booleans: those above zero that are not ``frozen`` (indices or N booleans).

    Raises InputError for indices out of range, a mask of another length, or when none is left.
    """
    free = get_moments(atoms).any(axis=1) & ~checks.mask("frozen_moments", frozen, len(atoms))
    if not free.any():
        raise InputError("Expected a moment above zero that may turn, got none: set moments, freeze fewer of them.")
    return free


def measured_length_scale(coordinates, gradient_at):
    """sqrt(K / 70 eV/Angstrom^2) in Angstrom per radian; 1 where the energy is flat.

    K is the root mean square curvature of the energy, from the change of its gradient along one random direction.
    (Along the gradient itself a smooth texture is soft, and a first step would be far too long for the stiff modes.)
    ``gradient_at`` maps x (N, 3) of ``coordinates`` to the gradient (N, 3) in eV.
    """
    start, step = coordinates.x, 1e-3
    direction = transverse(np.random.default_rng(SEED).normal(size=start.shape), coordinates.start)
    change = (gradient_at(start + step * direction) - gradient_at(start)) / step
    curvature = np.linalg.norm(change) / np.linalg.norm(direction)
    return float(np.sqrt(curvature / USUAL_CURVATURE)) or 1.0
