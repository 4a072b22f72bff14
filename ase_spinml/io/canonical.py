"""The one form of a frame that every format is read into and written from.

A frame is an :class:`ase.Atoms` with ``arrays["initial_magmoms"]`` (N, 3) in mu_B, ``arrays["exchange_fields"]``
(N, 3), -dE/dm in eV/mu_B, and energy, forces and stress in a single-point calculator. Where a field of an atom is
unknown its row is NaN; a label that a whole frame lacks is absent. Moments given as one number per atom are kept in
``arrays["collinear_magmoms"]`` and never taken for vectors.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from ase_spinml.errors import InputError
from ase_spinml.moments import FIELDS, MOMENTS, get_moments, set_moments, transverse, unit_rows

COLLINEAR = "collinear_magmoms"
"""Column of moments known only as one number per atom, mu_B."""

COLLINEAR_FIELDS = "collinear_fields"
"""Column of -dE/dm along the axis of collinear moments, eV/mu_B."""


@dataclass
class Contents:
    """What a frame says, for writers; None where it says nothing.

    Attributes
    ----------
    moments : (N, 3), mu_B
    fields : (N, 3), eV/mu_B
        NaN rows are unknown.
    energy : float, eV
        The free energy where the frame has one: the one that forces and fields derive from.
    forces : (N, 3), eV/A
    stress : (6,), eV/A^3, ASE's sign and Voigt order
    """

    moments: np.ndarray | None
    fields: np.ndarray | None
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None


def contents(atoms):
    """The :class:`Contents` of a frame. No calculation is started: only stored results count.

    Raises
    ------
    InputError
        Collinear moments, labels of a wrong shape.
    """
    results = getattr(atoms.calc, "results", None) or {}
    fields = atoms.arrays.get(FIELDS, results.get(FIELDS))
    energy = results.get("free_energy", results.get("energy"))
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (3, 3):
        stress = full_3x3_to_voigt_6_stress(stress)
    return Contents(
        moments=get_moments(atoms) if MOMENTS in atoms.arrays else None,
        fields=_shaped(fields, (len(atoms), 3), FIELDS),
        energy=None if energy is None else float(energy),
        forces=_shaped(results.get("forces"), (len(atoms), 3), "forces"),
        stress=_shaped(stress, (6,), "stress"),
    )


def known_fields(found, what):
    """Fields (N, 3) for a format that has no sign for "unknown"; None where the frame has none.

    A zero moment has a zero field, whatever the frame says of it.

    Raises
    ------
    InputError
        Fields of some magnetic atoms are unknown.
    """
    if found.fields is None:
        return None
    zero = np.zeros(len(found.fields), dtype=bool) if found.moments is None else ~found.moments.any(axis=1)
    fields = np.where(zero[:, None], 0.0, found.fields)
    unknown = ~np.isfinite(fields).all(axis=1)
    if unknown.all() or (unknown | zero).all():
        return None
    if unknown.any():
        raise InputError(
            f"Expected a field on every magnetic atom, as {what} has no sign for an unknown one, got {unknown.sum()} "
            f"unknown rows: write extended XYZ, or leave out the frame or its column {FIELDS}."
        )
    return fields


def make_frame(
    symbols,
    positions,
    cell=None,
    pbc=None,
    *,
    moments=None,
    fields=None,
    energy=None,
    free_energy=None,
    forces=None,
    stress=None,
    info=None,
    axis=None,
):
    """A frame in canonical form.

    Parameters
    ----------
    symbols : sequence of str or int, or str
        Chemical species, N of them.
    positions : (N, 3), Angstrom
    cell : (3, 3), Angstrom, optional
    pbc : bool or (3,) of bool, optional
        Default: periodic where there is a cell.
    moments : (N, 3) or (N,), mu_B, optional
        One number per atom is laid along ``axis``, or kept in :data:`COLLINEAR` without one.
    fields : (N, 3) or (N,), eV/mu_B, optional
        As ``moments``.
    energy, free_energy : float, eV, optional
    forces : (N, 3), eV/A, optional
    stress : (6,) or (3, 3), eV/A^3, ASE's sign, optional
    info : dict, optional
    axis : (3,), optional

    Returns
    -------
    ase.Atoms
    """
    if pbc is None:
        pbc = cell is not None
    atoms = Atoms(symbols, positions=positions, cell=cell, pbc=pbc, info=dict(info or {}))
    if moments is not None:
        _set_vectors(atoms, MOMENTS, COLLINEAR, moments, axis)
    if fields is not None:
        _set_vectors(atoms, FIELDS, COLLINEAR_FIELDS, fields, axis)
    if stress is not None and np.shape(stress) == (3, 3):
        stress = full_3x3_to_voigt_6_stress(np.asarray(stress))
    results = {"energy": energy, "free_energy": free_energy, "forces": forces, "stress": stress}
    results = {name: value for name, value in results.items() if value is not None}
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def lift(atoms, axis):
    """Turn the collinear columns of a frame into vectors along ``axis``, in place; returns the frame."""
    for name, column in ((MOMENTS, COLLINEAR), (FIELDS, COLLINEAR_FIELDS)):
        if column in atoms.arrays:
            _set_vectors(atoms, name, column, atoms.arrays.pop(column), axis)
    return atoms


def transverse_only(atoms):
    """Copy of a frame without the part of its fields along the moments.

    Constraints of the whole moment (ABACUS, DeltaSpin) print the full -dE/dm. Models of directions predict its
    transverse part, and errors of fields compare with the column as it is.
    """
    frame = atoms.copy()
    frame.calc = atoms.calc
    if FIELDS in frame.arrays:
        frame.arrays[FIELDS] = transverse(frame.arrays[FIELDS], unit_rows(get_moments(frame)))
    return frame


def stress_from_virial(virial, cell):
    """Stress (6,), eV/A^3, from an extensive virial (3, 3), eV: minus the symmetric part over the volume."""
    volume = abs(np.linalg.det(cell))
    if not volume > 0:
        raise InputError("Expected a cell with a volume beside a virial, got none: the file is damaged.")
    return -full_3x3_to_voigt_6_stress(np.reshape(virial, (3, 3))) / volume


def virial_from_stress(stress, atoms):
    """Virial (3, 3), eV, from ASE's stress (6,): minus stress times volume."""
    return -voigt_6_to_full_3x3_stress(stress) * atoms.get_volume()


def as_frames(frames):
    """A list of frames from one or several."""
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("Expected at least one frame to write, got none.")
    return frames


def _set_vectors(atoms, name, column, values, axis):
    values = np.asarray(values, dtype=float)
    if values.shape == (len(atoms),) and axis is None:
        atoms.set_array(column, values, float)
        return
    if values.shape == (len(atoms),):
        axis = np.asarray(axis, dtype=float)
        if axis.shape != (3,) or not np.linalg.norm(axis) > 0:
            raise InputError(f"Expected axis to be one non-zero vector of shape (3,), got {axis.tolist()}.")
        values = values[:, None] * axis / np.linalg.norm(axis)
    if name == MOMENTS:
        set_moments(atoms, values)
        return
    atoms.set_array(name, None)
    atoms.set_array(name, values, float, (3,))


def _shaped(value, shape, name):
    if value is None:
        return None
    value = np.array(value, dtype=float)
    if value.shape != shape:
        raise InputError(f"Expected {name} of shape {shape}, got {value.shape}.")
    return value
