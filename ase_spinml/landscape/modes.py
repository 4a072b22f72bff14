"""Curvature of the energy on the spheres: lowest modes of the projected Hessian, and pushing a state along a mode.

The Hessian acts on tangent rows v (N, 3) as the change of the gradient g = dE/de, perpendicular to the spins, when all
spins turn by v: H v = [g(exp_e(hv)) - g(exp_e(-hv))]/2h, both gradients transported back to e. On 2N tangent
coordinates it is symmetric. At a minimum all eigenvalues are positive (or zero, for symmetries); at the saddle of an
elastic band exactly one is negative.
"""

import numpy as np

from ase_spinml import checks
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import TurningCoordinates, exponential
from ase_spinml.landscape.turning import free_moments, spin_gradient
from ase_spinml.moments import get_moments, get_spins, set_moments, transverse, unit_rows


def spin_modes(atoms, n_modes=6, frozen_moments=None, step=1e-4, tolerance=1e-6):
    """Lowest eigenvalues and eigenvectors of the Hessian of the energy with respect to turns of the spins.

    Parameters
    ----------
    atoms : ase.Atoms
        N atoms with moments and a calculator that gives ``exchange_fields``. Left as they are.
    n_modes : int
        How many; all 2 n of n free spins are found densely, fewer by Lanczos iteration.
    frozen_moments : array_like, optional
        Indices of, or N booleans for, moments that stay.
    step : float
        Root mean square turn of the finite differences, in radians.
    tolerance : float
        Relative accuracy of Lanczos' eigenvalues.

    Returns
    -------
    eigenvalues : (n_modes,) array
        In eV/rad^2, ascending.
    modes : (n_modes, N, 3) array
        Tangent rows in radians, together of length one.

    Raises
    ------
    InputError
        Unusable moments, calculator or parameters.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    checks.calculator(atoms, ("exchange_fields",))
    checks.positive("step", step, "radians")
    free = free_moments(atoms, frozen_moments)
    size = 2 * int(free.sum())
    if not 1 <= n_modes <= size:
        raise InputError(f"Expected n_modes between 1 and {size}, twice the free moments, got {n_modes}.")
    moments, spins = get_moments(atoms), get_spins(atoms)
    lengths = np.linalg.norm(moments, axis=1)[:, None]
    frame = atoms.copy()
    frame.calc = atoms.calc
    first, second = _basis(spins[free])

    def tangent_rows(v):
        rows = np.zeros_like(spins)
        rows[free] = v[: size // 2, None] * first + v[size // 2 :, None] * second
        return rows

    def gradient(rows):
        coordinates = TurningCoordinates(spins)
        set_moments(frame, lengths * coordinates.move(rows))
        back = coordinates.components(spin_gradient(frame, lengths, coordinates.spins, free))[free]
        return np.concatenate([np.einsum("ia,ia->i", back, first), np.einsum("ia,ia->i", back, second)])

    def product(v):
        h = step * np.sqrt(size / 2) / np.linalg.norm(v)
        rows = h * tangent_rows(v.ravel())
        return (gradient(rows) - gradient(-rows)) / (2 * h)

    if n_modes < size // 4:
        operator = LinearOperator((size, size), matvec=product, dtype=float)
        start = np.random.default_rng(0).normal(size=size)
        kept = min(size, 4 * n_modes + 20)
        values, vectors = eigsh(operator, k=n_modes, which="SA", tol=tolerance, v0=start, ncv=kept)
    else:
        hessian = np.array([product(v) for v in np.eye(size)])
        values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    order = np.argsort(values)[:n_modes]
    return values[order], np.array([tangent_rows(vectors[:, number]) for number in order])


def pushed(atoms, mode, amplitude):
    """Copy of ``atoms``, with its calculator, whose spins are turned along ``mode`` by ``amplitude`` in all.

    Parameters
    ----------
    atoms : ase.Atoms
        N atoms with moments.
    mode : (N, 3) array
        Tangent rows, as from :func:`spin_modes`.
    amplitude : float
        Geodesic distance to go, in radians; negative, the other way.

    Raises
    ------
    InputError
        A mode of another shape, or zero.
    """
    moments, spins = get_moments(atoms), get_spins(atoms)
    mode = np.asarray(mode, float)
    if mode.shape != spins.shape or not np.linalg.norm(mode) > 0:
        raise InputError(f"Expected a mode of shape {spins.shape} other than zero, got shape {mode.shape}.")
    rows = transverse(mode, spins)
    frame = atoms.copy()
    frame.calc = atoms.calc
    lengths = np.linalg.norm(moments, axis=1)[:, None]
    set_moments(frame, lengths * exponential(spins, amplitude / np.linalg.norm(rows) * rows))
    return frame


def _basis(spins):
    """Two unit rows (n, 3) each, perpendicular to unit rows ``spins`` (n, 3) and to each other."""
    first = unit_rows(transverse(np.eye(3)[np.argmin(np.abs(spins), axis=1)], spins))
    return first, np.cross(spins, first)
