"""What all closed-form terms share: results, a choice of atoms, parameters that follow the time."""

import numpy as np
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress

from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, transverse, unit_rows


class SpinTerm(BaseCalculator):
    """One energy term or torque; a subclass gives ``terms(atoms, moments)``.

    That method returns energies per atom (N,) in eV, fields (N, 3) in eV/mu_B, forces (N, 3) in eV/Angstrom and the
    virial dE/d(strain) (3, 3) in eV. Beside ASE's properties the results hold ``effective_fields``
    (:mod:`ase_spinml.terms`).

    Attributes
    ----------
    directional : bool
        Whether the energy depends on directions only: ``exchange_fields`` is then the transverse part of the fields.
    conservative : bool
        Whether the fields are derivatives of the energy. False for torques, which report an energy of zero.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "exchange_fields"]
    conservative = True
    directional = False

    def calculate(self, atoms, properties, system_changes):
        moments = get_moments(atoms)
        energies, fields, forces, virial = self.terms(atoms, moments)
        energy = float(energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": forces,
            "exchange_fields": transverse(fields, unit_rows(moments)) if self.directional else fields,
            "effective_fields": fields,
        }
        if atoms.cell.rank == 3:
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial / atoms.get_volume())


class DrivenTerm(SpinTerm):
    """A term with parameters that may be functions of the time.

    A subclass keeps each as a :class:`Drive` and reads it with ``drive(self.time)``.

    Attributes
    ----------
    time : float
        Time at which the functions are taken, in ASE time units, zero at first. Setting another time drops the results
        kept from the last one; a term of constants keeps them.
    varies : bool
        Whether any parameter is a function of the time.
    """

    def __init__(self, *drives):
        super().__init__()
        self._time = 0.0
        self.varies = any(drive.varies for drive in drives)

    @property
    def time(self):
        return self._time

    @time.setter
    def time(self, time):
        time = float(time)
        if not np.isfinite(time):
            raise InputError(f"Expected a finite time in ASE time units, got {time}.")
        if self.varies and time != self._time:
            self.atoms, self.results = None, {}
        self._time = time


class Drive:
    """A parameter: constant, or a function of the time.

    Parameters
    ----------
    name : str
        Name of the parameter, for messages.
    value : array_like or callable
        The constant, or a function of the time in ASE time units.
    shape : tuple
        () for a number, (3,) for a vector.
    unit : str
        For messages.

    Raises
    ------
    InputError
        The constant, or the function's value at the time asked for, is not finite or of another shape.
    """

    def __init__(self, name, value, shape, unit):
        self.varies = callable(value)
        self._name, self._shape = name, shape
        self._kind = {(): "a finite number", (3,): "three finite numbers"}[shape] + " in " + unit
        self._value = value if self.varies else self._checked(value, "")

    def __call__(self, time):
        return self._checked(self._value(time), f" at time {time:g}") if self.varies else self._value

    def _checked(self, value, when):
        array = _numbers(value)
        if array is None or array.shape != self._shape or not np.isfinite(array).all():
            raise InputError(f"Expected {self._name} to be {self._kind}, got {_shown(value)}{when}.")
        return array


class Selection:
    """Atoms that a term acts on: those of some species, those of some indices, or all with a moment.

    Parameters
    ----------
    species : str or sequence of str, optional
        Chemical symbols.
    indices : sequence of int, optional
        Atoms, counted from zero.

    Raises
    ------
    InputError
        Both given, an unknown symbol, indices that are not whole numbers from zero; when a frame is seen: an index
        beyond its atoms.
    """

    def __init__(self, species=None, indices=None):
        if species is not None and indices is not None:
            raise InputError("Expected species or indices, got both: give one of them.")
        self._numbers = self._indices = None
        if species is not None:
            symbols = [species] if np.isscalar(species) else list(species)
            unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
            if unknown or not symbols:
                raise InputError(f"Expected species to be chemical symbols such as 'Fe', got {unknown}.")
            self._numbers = [atomic_numbers[symbol] for symbol in symbols]
        if indices is not None:
            self._indices = np.asarray(indices) if len(indices) else np.zeros(0, dtype=int)
            if self._indices.ndim != 1 or self._indices.dtype.kind not in "iu" or self._indices.min(initial=0) < 0:
                raise InputError(
                    f"Expected indices to be a list of whole numbers from zero, got {self._indices.tolist()}."
                )

    def mask(self, atoms, moments):
        """Which atoms of the frame are chosen and have a moment: boolean, (N,). ``moments`` (N, 3) in mu_B."""
        magnetic = moments.any(axis=1)
        if self._numbers is not None:
            return magnetic & np.isin(atoms.numbers, self._numbers)
        if self._indices is None:
            return magnetic
        if self._indices.max(initial=-1) >= len(atoms):
            raise InputError(
                f"Expected indices below the number of atoms, {len(atoms)}, got {self._indices.max()}: "
                "give the term the atoms of this frame."
            )
        chosen = np.zeros(len(atoms), dtype=bool)
        chosen[self._indices] = True
        return magnetic & chosen


def number(name, value, unit=None):
    """``value`` as a float; InputError if it is not one finite number. ``unit`` is for the message."""
    array = _numbers(value)
    if array is None or array.shape != () or not np.isfinite(array):
        raise InputError(f"Expected {name} to be a finite number{f' in {unit}' if unit else ''}, got {_shown(value)}.")
    return float(array)


def direction(name, value):
    """``value`` as a unit vector (3,); InputError if it is not three finite numbers, not all zero."""
    array = _numbers(value)
    if array is None or array.shape != (3,) or not np.isfinite(array).all() or not array.any():
        raise InputError(f"Expected {name} to be three finite numbers, not all zero, got {_shown(value)}.")
    return array / np.linalg.norm(array)


def _numbers(value):
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        return None


def _shown(value):
    return value.tolist() if isinstance(value, np.ndarray) else value
