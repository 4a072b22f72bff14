"""What recipes are: plain dictionaries that say how a frame is made, as a manifest keeps them.

A recipe has a ``kind`` and numbers. Its builder makes the thing from the reference, the recipe and a random generator,
and from nothing else, so that the same recipe and seed give the same frame again.
"""

import numbers

import numpy as np

from ase_spinml.errors import InputError


def build(what, builders, recipe, *arguments):
    """Call the builder of a recipe.

    Parameters
    ----------
    what : str
        What the recipe is of, for messages.
    builders : dict of kind -> function
        Called with ``arguments`` and the numbers of the recipe by name.
    recipe : dict

    Raises
    ------
    InputError
        No recipe, an unknown kind, numbers that this kind does not have.
    """
    if not isinstance(recipe, dict) or recipe.get("kind") not in builders:
        raise InputError(
            f"Expected a recipe of a {what} with kind {', '.join(builders)}, got {recipe!r}: use the functions of "
            "ase_spinml.sampling, such as random_spins(10)."
        )
    options = {name: value for name, value in recipe.items() if name != "kind"}
    try:
        return builders[recipe["kind"]](*arguments, **options)
    except TypeError as error:
        raise InputError(
            f"Expected the numbers of a {what} of kind {recipe['kind']}, got {recipe!r}: {error}."
        ) from None


def values(name, given, low=-np.inf, high=np.inf, unit=""):
    """A list of floats from one number or several, within bounds; InputError otherwise."""
    given = [given] if isinstance(given, numbers.Real) else list(given)
    array = np.array(given, dtype=float)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all() or array.min() < low or array.max() > high:
        bounds = f" between {low:g} and {high:g}" if np.isfinite(high) else f" of at least {low:g}"
        bounds = "" if np.isinf(low) and np.isinf(high) else bounds
        raise InputError(f"Expected {name} to be numbers{bounds}{unit and f' {unit}'}, got {given}.")
    return array.tolist()


def vector(name, given):
    """Three finite floats, not all zero; InputError otherwise."""
    array = np.array(given, dtype=float)
    if array.shape != (3,) or not np.isfinite(array).all() or not array.any():
        raise InputError(f"Expected {name} to be one non-zero vector of shape (3,), got {array.tolist()}.")
    return array.tolist()


def whole(name, given, least=1):
    """An int of at least ``least``; InputError otherwise."""
    if not isinstance(given, numbers.Integral) or given < least:
        raise InputError(f"Expected {name} to be a whole number of at least {least}, got {given!r}.")
    return int(given)
