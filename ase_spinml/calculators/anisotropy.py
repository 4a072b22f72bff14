"""Single-ion anisotropy: energies that depend on the direction of each moment alone."""

import numpy as np

from ase_spinml.calculators.tensors import anisotropy_fields, moment_lengths
from ase_spinml.calculators.term import Selection, SpinTerm, direction, number
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, unit_rows


class Anisotropy(SpinTerm):
    """Uniaxial and cubic anisotropy of every atom, in eV per atom.

    E = sum_i [-K1 (e_i.a)^2 - K2 (e_i.a)^4 + K_c (e_x^2 e_y^2 + e_y^2 e_z^2 + e_z^2 e_x^2)], with e_x, e_y, e_z the
    components of e_i along the cubic axes. K1 > 0 makes a the easy axis, K1 < 0 the plane perpendicular to it the easy
    plane; K_c > 0 makes the cubic axes easy (iron), K_c < 0 the body diagonals (nickel).

    Only directions enter, so ``exchange_fields`` is transverse, H_i = -(1/m_i) dE/de_i perpendicular to e_i. The axes
    are fixed in space and turn neither with displaced atoms nor with a strained cell: forces and stress are zero.
    Terms with other axes or atoms are added up with :class:`ase.calculators.mixing.SumCalculator`.

    Parameters
    ----------
    uniaxial, quartic : float
        K1 and K2 in eV per atom.
    axis : array_like, shape (3,)
        a; only its direction counts, either sense.
    cubic : float
        K_c in eV per atom.
    axes : array_like, shape (3, 3), optional
        Rows are the cubic axes, orthonormal; x, y, z if left out.
    species : str or sequence of str, optional
        Act on atoms of these chemical symbols alone.
    indices : sequence of int, optional
        Act on these atoms alone.

    Raises
    ------
    InputError
        No constant other than zero, unusable constants or axes, as :class:`~ase_spinml.calculators.term.Selection`;
        when a frame is seen: no moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Anisotropy, set_moments
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    >>> set_moments(atoms, [[0, 0, 2], [2, 0, 0]])
    >>> atoms.calc = Anisotropy(uniaxial=0.001)                # easy axis z
    >>> round(atoms.get_potential_energy(), 6)
    -0.001
    """

    directional = True

    def __init__(self, uniaxial=0.0, axis=(0, 0, 1), quartic=0.0, cubic=0.0, axes=None, species=None, indices=None):
        super().__init__()
        named = {"uniaxial": uniaxial, "quartic": quartic, "cubic": cubic}
        self.uniaxial, self.quartic, self.cubic = (number(name, value, "eV") for name, value in named.items())
        if not (self.uniaxial or self.quartic or self.cubic):
            raise InputError("Expected uniaxial, quartic or cubic other than zero, got none: give one in eV per atom.")
        self.axis = direction("axis", axis)
        self.axes = np.eye(3) if axes is None else _orthonormal(axes)
        self._selection = Selection(species, indices)

    def terms(self, atoms, moments):
        chosen = self._selection.mask(atoms, moments)
        spins = unit_rows(moments)[chosen]
        energies, fields = np.zeros(len(atoms)), np.zeros((len(atoms), 3))
        along = spins @ self.axis
        cubic, cubic_gradient = cubic_term(spins @ self.axes.T, self.cubic)
        energies[chosen] = cubic - (self.uniaxial + self.quartic * along**2) * along**2
        slope = -2 * self.uniaxial * along - 4 * self.quartic * along**3
        gradient = cubic_gradient @ self.axes + slope[:, None] * self.axis
        fields[chosen] = -gradient / np.linalg.norm(moments[chosen], axis=1)[:, None]
        return energies, fields, np.zeros((len(atoms), 3)), np.zeros((3, 3))

    def torch_fields(self, atoms, device, dtype):
        """Fields as a function of tensors, see :mod:`ase_spinml.calculators.tensors`."""
        chosen, lengths = self._selection.mask(atoms, get_moments(atoms)), moment_lengths(atoms)
        constants = (self.axis, self.uniaxial, self.quartic, self.axes, self.cubic)
        return anisotropy_fields(chosen, *constants, lengths, device, dtype)


def cubic_term(components, constant):
    """E = K (x^2 y^2 + y^2 z^2 + z^2 x^2).

    Parameters
    ----------
    components : (N, 3) array
        Components of unit vectors along the cubic axes.
    constant : float
        K in eV.

    Returns
    -------
    energies, gradient : (N,) array, (N, 3) array
        E and its derivatives in the components, eV.
    """
    squares = components**2
    others = squares.sum(axis=1, keepdims=True) - squares
    return 0.5 * constant * np.sum(squares * others, axis=1), 2 * constant * components * others


def _orthonormal(axes):
    array = np.array(axes, dtype=float)
    if array.shape != (3, 3) or not np.abs(array @ array.T - np.eye(3)).max() < 1e-8:
        raise InputError(f"Expected axes to be three orthonormal rows, shape (3, 3), got {array.tolist()}.")
    return array
