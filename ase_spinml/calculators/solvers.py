"""The parameters of models with electrons, checked, and their solvers by name."""

import importlib
import inspect
import numbers

import numpy as np
from ase.dft.kpoints import monkhorst_pack

from ase_spinml import checks
from ase_spinml.calculators.term import number
from ase_spinml.errors import InputError

SOLVERS = {
    "exact": ("ase_spinml.electrons.exact", "Exact"),
    "kpm": ("ase_spinml.electrons.kpm", "KPM"),
    "negf": ("ase_spinml.electrons.driven", "NEGF"),
}
"""Module and class of every solver, loaded when asked for."""


def checked_coupling(value):
    """J as a float; InputError if it is not a number, or infinity for double exchange."""
    if not isinstance(value, numbers.Real) or np.isnan(value) or value == -np.inf:
        raise InputError(f"Expected coupling to be a number, or numpy.inf for double exchange, got {value!r}.")
    return float(value)


def checked_filling(filling, chemical_potential, most):
    """Filling and chemical potential, one of them None; InputError for both or a filling that is not below ``most``."""
    if chemical_potential is not None:
        if filling is not None:
            raise InputError("Expected filling or chemical_potential, got both: give one of them.")
        return None, number("chemical_potential", chemical_potential)
    filling = 0.5 * most if filling is None else number("filling", filling)
    if not 0.0 < filling < most:
        raise InputError(f"Expected a filling between 0 and {most:.0f} electrons per site, got {filling:g}.")
    return filling, None


def checked_mesh(kpts):
    """K-points (K, 3) from three whole numbers or k-points; InputError for anything else."""
    kpts = np.array(kpts)
    if kpts.shape == (3,) and kpts.dtype.kind in "iu" and (kpts > 0).all():
        return monkhorst_pack(kpts)
    if kpts.ndim != 2 or kpts.shape[1] != 3 or not len(kpts) or not np.isfinite(kpts).all():
        raise InputError(f"Expected kpts to be three whole numbers above zero or k-points (K, 3), got {kpts.tolist()}.")
    return kpts.astype(float)


def checked_solver(solver, device, options):
    """A solver from its name, a device and its options, or the one given; InputError where they do not go together."""
    if callable(solver):
        if options or device is not None:
            raise InputError("Expected a solver by name with options of its own, got both an object and options.")
        return solver
    checks.choice("solver", solver, SOLVERS)
    if solver != "negf" and "voltage" in options:
        raise InputError(
            f"Expected no voltage with the equilibrium solver {solver!r}, got voltage={options['voltage']!r}: use "
            "solver='negf'."
        )
    module, name = SOLVERS[solver]
    build = getattr(importlib.import_module(module), name)
    try:
        inspect.signature(build).bind(device=device, **options)
    except TypeError as error:
        raise InputError(f"Expected the options of solver {solver!r}, got {options}: {error}.") from None
    return build(device=device, **options)
