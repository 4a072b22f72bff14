"""Planar point groups C_n and D_n: their operations, irreducible representations and adapted bases.

Representations are real. C_n has A, B (n even) and two-dimensional E_k; D_n has A1, A2, B1, B2 (n even) and E_k, with k
from 1 to below n / 2. A rotation by an angle t is a rotation by k t in E_k.
"""

import itertools
import re
from dataclasses import dataclass

import numpy as np

from ase_spinml.errors import InputError

TOLERANCE = 1e-6
ORDERS = (6, 4, 3, 2, 1)
"""Rotations of a lattice, highest first."""


@dataclass(frozen=True)
class PointGroup:
    """A planar point group.

    Attributes
    ----------
    name : str
        "C1" .. "C6", "D1" .. "D6".
    axis : float
        Angle of a mirror line with x, radian.
    matrices : (G, 2, 2) array
        Rotations, then reflections.
    irreps : dict of str -> (G, d, d) array
        Real representation matrices by name, the invariant one first.
    """

    name: str
    axis: float
    matrices: np.ndarray
    irreps: dict

    def __len__(self):
        return len(self.matrices)


def point_group(name, axis=0.0):
    """The group of that name with a mirror line at the angle ``axis`` (radian) from x.

    Raises InputError for any other name than C1, C2, C3, C4, C6 and D1, D2, D3, D4, D6.
    """
    match = re.fullmatch(r"([CD])([12346])", str(name))
    if match is None:
        raise InputError(f"Expected group to be 'auto', C1, C2, C3, C4, C6, D1, D2, D3, D4 or D6, got {name!r}.")
    kind, n = match[1], int(match[2])
    turns = np.arange(n)
    angles = 2 * np.pi * turns / n
    matrices = [_rotation(t) for t in angles]
    ones, alternating = np.ones(n), (-1.0) ** turns
    two_dimensional = {f"E{k}": np.array([_rotation(k * t) for t in angles]) for k in range(1, (n + 1) // 2)}
    if kind == "C":
        irreps = {"A": ones} | ({"B": alternating} if n % 2 == 0 else {})
        return PointGroup(str(name), axis, np.array(matrices), _matrices(irreps) | two_dimensional)
    mirror = np.diag([1.0, -1.0])
    matrices += [_rotation(t + 2 * axis) @ mirror for t in angles]  # mirror line at axis + t / 2
    irreps = {"A1": np.r_[ones, ones], "A2": np.r_[ones, -ones]}
    if n % 2 == 0:
        irreps |= {"B1": np.r_[alternating, alternating], "B2": np.r_[alternating, -alternating]}
    two_dimensional = {
        irrep: np.concatenate([turned, turned @ mirror]) for irrep, turned in two_dimensional.items()
    }  # in the frame of the mirror line
    return PointGroup(str(name), axis, np.array(matrices), _matrices(irreps) | two_dimensional)


def find_group(points):
    """The largest group that maps the points (K, 2) on themselves.

    A mirror line is taken at the smallest angle from x.
    """
    for n in ORDERS:
        if permutation(points, _rotation(2 * np.pi / n)) is None:
            continue
        for axis in _mirror_angles(points):
            if permutation(points, _rotation(2 * axis) @ np.diag([1.0, -1.0])) is not None:
                return point_group(f"D{n}", axis)
        return point_group(f"C{n}")


def permutation(points, matrix):
    """Where the matrix takes each of the points (K, 2): (K,) indices, or None if it does not map them on themselves."""
    moved = points @ np.asarray(matrix).T
    distance = np.linalg.norm(moved[:, None] - points[None], axis=2)
    nearest = distance.argmin(1)
    scale = max(np.abs(points).max(initial=0.0), 1.0)
    return nearest if (distance.min(1) < 1e-3 * scale).all() else None


def adapted_basis(group, permutations, signs, start):
    """Orthonormal basis of a signed permutation representation that transforms like the irreps.

    Parameters
    ----------
    group : PointGroup
    permutations : (G, V) int array
        Variable v goes to permutations[g, v].
    signs : (G, V) array
        With this sign.
    start : (V,) array
        The first vector of each irrep is made from this one where it can be, which fixes the signs that relate orbits.

    Returns
    -------
    dict of str -> (m, d, V) array
        m copies of every irrep of dimension d; their number together is V.
    """
    size = permutations.shape[1]
    operations = np.zeros((len(group), size, size))
    rows = np.arange(len(group))[:, None]
    operations[rows, permutations, np.arange(size)] = signs
    basis = {}
    for name, matrices in group.irreps.items():
        d = matrices.shape[1]
        # P_ab = d / G sum_g D_ab(g) g maps partner b of a copy to partner a
        project = d / len(group) * np.einsum("gab,gvw->abvw", matrices, operations)
        candidates, copies = np.column_stack([start, np.eye(size)]), []
        for candidate in candidates.T:
            vector = project[0, 0] @ candidate
            for copy in copies:
                vector = vector - copy.T @ (copy @ vector)
            norm = np.linalg.norm(vector)
            if norm < TOLERANCE * max(np.linalg.norm(candidate), 1.0):
                continue
            copy = np.array([project[a, 0] @ vector for a in range(d)])
            copy /= np.linalg.norm(copy, axis=1, keepdims=True)
            copies.append(copy)
        basis[name] = np.array(copies).reshape(-1, d, size)
    return basis


def couplings(group, first, second, third):
    """Invariant tensors C_abc of three irreps: (n, d1, d2, d3), orthonormal, their number that of invariants.

    sum C_abc x_a y_b z_c is unchanged when x, y and z transform like the irreps (Clebsch-Gordan coefficients).
    """
    matrices = [group.irreps[name] for name in (first, second, third)]
    shape = [m.shape[1] for m in matrices]
    product = np.einsum("gax,gby,gcz->abcxyz", *matrices) / len(group)
    size = int(np.prod(shape))
    values, vectors = np.linalg.eigh(product.reshape(size, size))
    return vectors.T[values > 0.5].reshape(-1, *shape)


def orbits(permutations):
    """Sets of variables that the operations (G, V) mix: a list of index arrays."""
    left, found = set(range(permutations.shape[1])), []
    while left:
        members = np.unique(permutations[:, min(left)])
        found.append(members)
        left -= set(members.tolist())
    return found


def _rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _matrices(characters):
    return {name: values.reshape(-1, 1, 1) for name, values in characters.items()}


def _mirror_angles(points):
    """Angles in [0, pi) at which a mirror line may be: through points and between them."""
    angles = np.unique(np.round(np.arctan2(points[:, 1], points[:, 0]), 9))
    middles = [0.5 * (a + b) for a, b in itertools.product(angles, angles)]
    folded = np.mod(np.r_[0.0, np.pi / 2, angles, middles], np.pi)
    folded[np.pi - folded < 1e-6] = 0.0
    return np.unique(np.round(folded, 7))
