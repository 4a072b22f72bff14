"""Magnetic dipole-dipole interaction of point moments at the atoms."""

import numpy as np
from ase import units
from ase.stress import full_3x3_to_voigt_6_stress

from ase_spinml.calculators.ewald import MARGIN, DipoleSum
from ase_spinml.calculators.term import SpinTerm
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments
from ase_spinml.units import MU_B

DIPOLAR = units._mu0 / (4 * np.pi) * MU_B**2 * units._e * 1e30
"""mu_0 mu_B^2 / (4 pi) in eV Angstrom^3: 5.368e-5."""


class DipoleDipole(SpinTerm):
    """Dipole-dipole energy of point moments, E = -(mu_0/8 pi) sum_{i != j} [3 (m_i.r)(m_j.r)/r^2 - m_i.m_j] / r^3.

    ``exchange_fields`` is the full field -dE/dm_i; forces and stress are those at fixed moments. What is summed follows
    the periodic directions of the frame. None: all pairs. Three: the crystal, by Ewald's method, to which a finite
    sample adds its demagnetising energy mu_0 V/2 M.N.M with M = sum_i m_i / V. Two: a film between half-spaces of
    vacuum, infinite in its plane, with the full shape energy of a film. One periodic direction is refused.

    At fixed positions the interaction is kept, and new moments cost one product with it.

    Parameters
    ----------
    demagnetisation : float, or array_like of shape (3,) or (3, 3), optional
        Demagnetising tensor N of the sample that a crystal periodic in three directions is cut into: 1/3 for a sphere,
        (0, 0, 1) for a film normal to z, or a symmetric matrix; the trace of an ellipsoid in vacuum is 1. Left out,
        there is no demagnetising field (tin-foil boundaries), as deep in a sample whose flux closes. V is the volume of
        the cell, so that a slab in a periodic cell with vacuum becomes a film with (0, 0, 1).
    accuracy : float
        Error relative to the field of the nearest neighbours, 1e-15 to 1e-3.

    Raises
    ------
    InputError
        Unusable parameters; when a frame is seen: no moments, one periodic direction, demagnetisation without three,
        coinciding atoms, an open system of more than 3000 moments.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import DipoleDipole, set_moments
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2.5]])
    >>> atoms.calc = DipoleDipole()
    >>> for first in (2, -2):                                  # head to tail, head to head
    ...     set_moments(atoms, [[0, 0, first], [0, 0, 2]])
    ...     print(f"{1e6 * atoms.get_potential_energy():.2f} micro-eV")
    -27.48 micro-eV
    27.48 micro-eV
    """

    def __init__(self, demagnetisation=None, accuracy=1e-8):
        super().__init__()
        if not 1e-15 <= accuracy <= 1e-3:
            raise InputError(f"Expected an accuracy between 1e-15 and 1e-3, got {accuracy}.")
        self.demagnetisation = None if demagnetisation is None else _tensor(demagnetisation)
        self.accuracy = accuracy
        self._geometry = None

    def calculate(self, atoms, properties, system_changes):
        moments = get_moments(atoms)
        magnetic = moments.any(axis=1)
        self._look_at(atoms, magnetic)
        chosen, fields = moments[magnetic], np.zeros((len(atoms), 3))
        fields[magnetic] = -DIPOLAR * (self._sum.gradient(chosen) + self._shape @ chosen.sum(axis=0))
        energies = -0.5 * np.einsum("ia,ia->i", moments, fields)
        energy = float(energies.sum())
        self.results |= {"energy": energy, "free_energy": energy, "energies": energies, "exchange_fields": fields}
        if {"forces", "stress"} & set(properties):
            forces, virial = self._sum.mechanics(chosen)
            self.results["forces"] = np.zeros((len(atoms), 3))
            self.results["forces"][magnetic] = DIPOLAR * forces
            if atoms.cell.rank == 3:
                stress = DIPOLAR * (virial + self._shape_virial(chosen.sum(axis=0))) / atoms.get_volume()
                self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

    def _look_at(self, atoms, magnetic):
        """Prepare the sum for the places of this frame, if they are others than before."""
        geometry = atoms.positions[magnetic], atoms.cell.array, atoms.pbc
        if self._geometry is not None and all(map(np.array_equal, geometry, self._geometry)):
            return
        self._geometry = None
        positions, cell, pbc = (np.array(part) for part in geometry)
        periodic = int(pbc.sum())
        if periodic == 1:
            raise InputError(
                "Expected none, two or three periodic directions for a dipole sum, got one: put the wire into a wide "
                "cell that is periodic in three."
            )
        if periodic < 3 and self.demagnetisation is not None:
            raise InputError(
                f"Expected demagnetisation with three periodic directions, got {periodic}: leave it out, the shape is "
                "that of the frame."
            )
        if periodic == 0:
            cell = None
        elif np.linalg.matrix_rank(cell[pbc]) < periodic:
            raise InputError(
                f"Expected independent cell vectors along the periodic directions, got {cell[pbc].tolist()}: give the "
                "frame a cell."
            )
        tensor = np.zeros((3, 3)) if self.demagnetisation is None else self.demagnetisation
        self._normal = None
        if periodic == 2:
            cell, self._normal = film_cell(positions, cell, pbc, self.accuracy)
            tensor = np.outer(self._normal, self._normal)
        self._shape = 0 * tensor if cell is None else 4 * np.pi / abs(np.linalg.det(cell)) * tensor
        self._sum = DipoleSum(positions, cell, self.accuracy)
        self._geometry = positions, np.array(atoms.cell.array), pbc

    def _shape_virial(self, total):
        """dE/d(strain), (3, 3), of the shape energy E = M.S.M/2: S goes with 1/V, and a film's normal turns."""
        field = self._shape @ total
        virial = -0.5 * (total @ field) * np.eye(3)
        if self._normal is None:
            return virial
        return virial - np.outer(self._normal, (total - (total @ self._normal) * self._normal) * (field @ self._normal))


def film_cell(positions, cell, pbc, accuracy):
    """Cell periodic in three directions in which copies of a film no longer feel each other.

    Fields of a film's Fourier components G decay outside as exp(-G z); the mean magnetisation makes no field outside,
    once the crystal is given the demagnetising tensor of a film (Yeh and Berkowitz, J. Chem. Phys. 111, 3155 (1999)).

    Parameters
    ----------
    positions : (n, 3) array
        In Angstrom.
    cell : (3, 3) array
        Rows are lattice vectors.
    pbc : (3,) bool array
        Two periodic directions.
    accuracy : float
        Fields of the copies relative to those inside.

    Returns
    -------
    cell : (3, 3) array
        With the third vector along the normal, as long as the film is thick plus the gap.
    normal : (3,) array
        Unit vector normal to the film.
    """
    plane = cell[pbc]
    normal = np.cross(*plane)
    area = np.linalg.norm(normal)
    normal /= area
    first, second = plane
    second = second - np.round(first @ second / (first @ first)) * first
    shortest = 2 * np.pi / area * min(np.linalg.norm(v) for v in (first, second, first + second, first - second))
    thickness = np.ptp(positions @ normal) if len(positions) else 0.0
    return np.array([*plane, normal * (thickness + (MARGIN - np.log(accuracy)) / shortest)]), normal


def _tensor(value):
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    tensor = array if array.shape == (3, 3) else np.eye(3) * array if array.shape in [(), (3,)] else None
    if tensor is None or not np.isfinite(tensor).all() or np.abs(tensor - tensor.T).max() > 1e-10:
        raise InputError(
            f"Expected demagnetisation to be a number, three numbers or a symmetric (3, 3) matrix, got {value}."
        )
    if np.linalg.eigvalsh(tensor).min() < -1e-8 or np.trace(tensor) > 1 + 1e-8:
        raise InputError(
            f"Expected demagnetising factors from 0 that add up to 1 at most, got {np.diag(tensor).tolist()}: give 1/3 "
            "for a sphere, (0, 0, 1) for a film."
        )
    return tensor
