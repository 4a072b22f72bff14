"""Geometry of N unit spheres: geodesics, distances, and coordinates in which a straight step turns every spin.

Spins are unit rows (N, 3); the zero row of a non-magnetic atom stays zero everywhere. A tangent row v_i is
perpendicular to its spin, and its length is an angle in radians.

| symbol | name | meaning |
|---|---|---|
| exp_e(v) | ``exponential`` | the spin e turned by the angle |v| towards v |
| log_e(f) | ``logarithm`` | the tangent row at e that leads to f: exp_e(log_e(f)) = f |
| d(e, f) | ``distance`` | sqrt(sum_i |log_e(f)_i|^2), length of the geodesic between two states |
"""

import numpy as np

from ase_spinml.moments import transverse, unit_rows


def exponential(spins, tangents):
    """Spins (..., 3) turned along geodesics by tangent rows (..., 3) in radians: cos|v| e + sin|v| v/|v|."""
    angle = np.linalg.norm(tangents, axis=-1, keepdims=True)
    turned = np.cos(angle) * spins + np.sinc(angle / np.pi) * tangents
    length = np.linalg.norm(turned, axis=-1, keepdims=True)
    return turned / np.where(length > 0, length, 1.0)


def angles(first, second):
    """Angle in radians between the rows of two arrays (..., 3) of spins, accurate near 0 and pi; 0 for zero rows."""
    along = np.einsum("...a,...a->...", first, second)
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1), along)


def distance(first, second):
    """Geodesic distance sqrt(sum_i angle_i^2) in radians between two states (N, 3)."""
    return float(np.linalg.norm(angles(first, second)))


def logarithm(first, second):
    """Tangent rows at ``first`` (N, 3) that lead to ``second`` (N, 3) along the shortest geodesics, in radians.

    Between opposite spins every direction is shortest and none is known here: their row is zero.
    """
    direction = unit_rows(transverse(second, first))
    return angles(first, second)[:, None] * direction


def rotation_matrices(spins, tangents):
    """Rotations (N, 3, 3) about e x v by |v|: they take e to exp_e(v) and transport tangent rows in parallel."""
    angle = np.linalg.norm(tangents, axis=1)[:, None, None]
    axis = np.cross(spins, tangents)  # of length |v|
    x, y, z = axis.T
    zero = np.zeros_like(x)
    generator = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    half = np.sinc(0.5 * angle / np.pi)
    return np.eye(3) + np.sinc(angle / np.pi) * generator + 0.5 * half**2 * (generator @ generator)


class TurningCoordinates:
    """Coordinates (N, 3) of N spins for optimizers that step by ``x + dx``.

    Every spin carries a rotation R_i, at first the identity, with e_i = R_i e_i(0). A step dx_i, perpendicular to
    e_i(0), turns the spin by the tangent row R_i dx_i, and R_i is multiplied by that rotation. A gradient g_i is
    handed out as R_i^T g_i. Steps and gradients of earlier iterations, as an optimizer stores them, are thereby
    transported in parallel to the present state; a line search runs along geodesics; a step taken back leads back.

    Parameters
    ----------
    spins : (N, 3) array
        Unit or zero rows.
    """

    def __init__(self, spins):
        self.start = spins
        self.spins = spins
        self.x = np.zeros_like(spins)
        self.frames = np.tile(np.eye(3), (len(spins), 1, 1))

    def move(self, x):
        """Go to the coordinates ``x`` (N, 3), in radians; returns the new spins."""
        step = np.einsum("iab,ib->ia", self.frames, transverse(x - self.x, self.start))
        turns = rotation_matrices(self.spins, step)
        self.frames = turns @ self.frames
        self.spins = exponential(self.spins, step)
        self.x = x
        return self.spins

    def components(self, tangents):
        """Tangent rows (N, 3) at the present spins in the coordinates: R_i^T t_i."""
        return np.einsum("iba,ib->ia", self.frames, tangents)
