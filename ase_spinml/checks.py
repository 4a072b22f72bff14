"""Checks of what users give to dynamics, relaxation and paths: one sentence for each mistake."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.terms import terms_of


def positive(name, value, unit):
    """Refuse what is not a finite number > 0."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"Expected {name} > 0 in {unit}, got {value}.")


def not_negative(name, value, unit=None):
    """Refuse what is not a finite number >= 0."""
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"Expected {name} >= 0{f' in {unit}' if unit else ''}, got {value}.")


def choice(name, value, choices):
    """Refuse what is not among the choices."""
    if value not in choices:
        raise InputError(f"Expected {name} to be one of {', '.join(choices)}, got {value!r}.")


def temperature(name, value):
    """Refuse a temperature that is neither a function of the time, None, nor a number >= 0."""
    if value is not None and not callable(value):
        not_negative(name, value)


def mask(name, chosen, n):
    """(n,) bool from indices, n booleans or None."""
    result = np.zeros(n, bool)
    if chosen is None or len(chosen) == 0:
        return result
    try:
        result[np.asarray(chosen)] = True
    except IndexError:
        raise InputError(f"Expected {name} as indices below {n} or {n} booleans, got {list(chosen)}.") from None
    return result


def calculator(atoms, needs):
    """Refuse atoms without a calculator that gives all of ``needs``."""
    if atoms.calc is None:
        raise InputError("Expected atoms with a calculator, got none: set atoms.calc, a SpinCalculator for instance.")
    missing = [name for name in needs if name not in atoms.calc.implemented_properties]
    if missing:
        raise InputError(
            f"Expected a calculator that gives {' and '.join(needs)}, got {type(atoms.calc).__name__} without "
            f"{' and '.join(missing)}: use SpinCalculator, or NonMagnetic(calc) for a term without moments."
        )


def lattice(atoms):
    """Refuse a calculator whose forces come from undisplaced frames alone."""
    terms = [term for term, _ in terms_of(atoms.calc)]
    fitted = [term for term in terms if getattr(term, "lattice_fitted", True)]
    if len(fitted) == len(terms):
        return
    displaced = atoms.copy()
    displaced.positions += np.random.default_rng(0).normal(scale=0.02, size=displaced.positions.shape)
    if not any(term.get_property("forces", displaced).any() for term in fitted):
        raise InputError(
            "Expected a model that knows the lattice, got one fitted on undisplaced frames only, whose forces mean "
            "nothing: fit it to displaced frames with forces, add a calculator of the lattice, or use SpinDynamics."
        )
