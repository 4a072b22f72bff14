"""Symmetry operations that UppASD applies to listed couplings (keyword ``Sym``)."""

import itertools

import numpy as np

from ase_spinml.errors import InputError


def operations(symmetry, vector):
    """Operations that take a vector to its different images, each image once.

    Parameters
    ----------
    symmetry : str
        "0" none, "1" cubic (48 operations), "2" square in the xy plane (8), "3" hexagonal about z (24).
    vector : (3,) array

    Returns
    -------
    list of (3, 3) array
    """
    groups = {"0": _trivial, "1": _cubic, "2": _square, "3": _hexagonal}
    if symmetry not in groups:
        raise InputError(f"Expected Sym 0, 1, 2 or 3, got {symmetry!r}: list all couplings and set Sym 0.")
    images, found = [], []
    for operation in groups[symmetry]():
        image = operation @ vector
        if not any(np.abs(image - other).max() < 1e-5 for other in images):
            images.append(image)
            found.append(operation)
    return found


def _trivial():
    return [np.eye(3)]


def _cubic():
    return [
        np.diag(signs) @ np.eye(3)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]


def _square():
    return [operation for operation in _cubic() if operation[2, 2] == 1.0]


def _hexagonal():
    turn = np.radians(60.0) * np.arange(6)
    turns = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in turn]
    mirrors = [np.diag([1.0, sign, up]) for sign in (1.0, -1.0) for up in (1.0, -1.0)]
    return [rotation @ mirror for mirror in mirrors for rotation in turns]
