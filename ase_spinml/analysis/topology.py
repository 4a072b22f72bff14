"""Topological charge of planar spin textures.

The plane is cut into triangles with the magnetic atoms at their corners (B. Berg and M. Luscher, Nucl. Phys. B 190, 412
(1981)). The spins of a triangle, counter-clockwise seen from +z, span the solid angle Omega,

    tan(Omega/2) = e1.(e2 x e3) / (1 + e1.e2 + e2.e3 + e3.e1),    Q = sum Omega / 4 pi,

the lattice form of Q = (1/4 pi) int e.(d_x e x d_y e) dx dy. A skyrmion whose core points down in a background that
points up has Q = -1, whatever its helicity (Bloch or Neel); core up in a background down, Q = +1; the antiskyrmion of
either has the opposite sign. On a plane that is periodic both ways Q is a whole number; elsewhere it need not be.
"""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask

PLANAR = 0.1
"""Atoms may stand out of the common plane by this much, in Angstrom, before they are taken for another layer."""


SHEAR = np.array([[1.0, 1.3e-4], [0.7e-4, 1.0 + 1.9e-4]])
"""Breaks the ties of Delaunay's triangles, the same way in every cell: square or hexagon, corners lie on one circle."""
DIRECTION = np.array([1.0, (np.sqrt(5.0) - 1.0) / 2])
"""Along it no two corners of a triangle stand level; the lowest says to which cell a triangle belongs."""
MARGIN = 6.0
"""Width of the frame of periodic images around the cell, in units of the mean spacing of atoms."""


def topological_charge(atoms):
    """Topological charge Q of a layer of magnetic atoms in the xy plane.

    The triangles are those of Delaunay, so any planar lattice will do (square, triangular, honeycomb, with vacancies);
    other atoms do not count. Where the layer is not periodic, they fill the convex hull of the atoms.

    Parameters
    ----------
    atoms : ase.Atoms
        Frame with moments.

    Returns
    -------
    float
        Q; a whole number to rounding where the layer is periodic both ways.

    Raises
    ------
    InputError
        No moments, magnetic atoms that do not lie in one xy plane, span no area or are too unevenly spread, a triangle
        of spins whose solid angle is undefined (opposite neighbours: the texture changes too fast for its lattice).

    Examples
    --------
    >>> from ase_spinml.analysis import topological_charge
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (16, 16), "skyrmion", radius=3.0)
    >>> print(round(topological_charge(atoms), 6))
    -1.0
    """
    triangles = triangulate(atoms)
    return float(solid_angles(get_spins(atoms)[magnetic_mask(atoms)], triangles).sum() / (4 * np.pi))


def solid_angles(spins, triangles):
    """Signed solid angles in (-2 pi, 2 pi) spanned by the spins of triangles.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows.
    triangles : (T, 3) integers
        Corners, counter-clockwise.

    Returns
    -------
    (T,) array
        Omega in steradian.

    Raises
    ------
    InputError
        A triangle whose solid angle is undefined.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import solid_angles
    >>> print(solid_angles(np.eye(3), [[0, 1, 2]])[0] / np.pi)  # an eighth of the sphere
    0.5
    """
    a, b, c = (spins[corner] for corner in np.transpose(triangles))
    volume = np.einsum("ia,ia->i", a, np.cross(b, c))
    cosines = 1.0 + sum(np.einsum("ia,ia->i", x, y) for x, y in ((a, b), (b, c), (c, a)))
    if np.any((np.abs(volume) < 1e-12) & (cosines < 1e-12)):
        raise InputError(
            "Expected neighbouring spins that span a solid angle, got opposite ones or three in a plane all round: "
            "turn one of them a little, or use a finer lattice."
        )
    return 2 * np.arctan2(volume, cosines)


def triangulate(atoms):
    """Delaunay triangles of the magnetic atoms of a layer in the xy plane.

    Parameters
    ----------
    atoms : ase.Atoms
        As for :func:`topological_charge`.

    Returns
    -------
    (T, 3) int array
        Numbers of the corners among the n magnetic atoms, counter-clockwise; with periodic directions, the triangles of
        one cell.

    Raises
    ------
    InputError
        As :func:`topological_charge`, for the geometry.
    """
    from scipy.spatial import Delaunay, QhullError

    points, cell, periodic = _layer(atoms)
    atom, shift, many = _with_images(points, cell, periodic)
    try:
        mesh = Delaunay(many @ SHEAR)
    except (QhullError, ValueError):
        raise InputError(
            f"Expected magnetic atoms that span a plane, got {len(points)} that do not: Q needs two dimensions."
        ) from None
    corners = mesh.simplices
    area = _area(many[corners])
    corners, area = corners[np.abs(area) > 1e-9 * np.abs(area).max()], area[np.abs(area) > 1e-9 * np.abs(area).max()]
    corners = np.where(area[:, None] > 0, corners, corners[:, ::-1])
    lowest = np.argmin(many[corners] @ DIRECTION, axis=1)
    home = ~shift[corners[np.arange(len(corners)), lowest]].any(axis=1)
    triangles = atom[corners[home]]
    if len(mesh.coplanar) or (periodic.all() and len(triangles) != 2 * len(points)):
        raise InputError(
            "Expected magnetic atoms spread evenly enough to be joined by triangles, got holes wider than "
            f"{MARGIN:.0f} spacings or atoms on top of each other: select one layer."
        )
    return triangles


def _layer(atoms):
    """Points (n, 2) of the magnetic atoms, wrapped into the cell (2, 2) of the layer, and its periodic directions."""
    positions = atoms.get_positions()[magnetic_mask(atoms)]
    cell, periodic = atoms.cell.array, np.array(atoms.pbc[:2])
    flat = len(positions) > 0 and np.ptp(positions[:, 2]) <= PLANAR
    if not flat or np.abs(cell[:2][periodic, 2]).any():
        raise InputError(
            f"Expected magnetic atoms in one plane of constant z, with the first two cell vectors in it, got "
            f"{len(positions)} that are not: select one layer and turn it into the xy plane."
        )
    points, vectors = positions[:, :2], cell[:2, :2].copy()
    extent = np.ptp(points, axis=0).max() + 1.0
    for axis in np.flatnonzero(~periodic):  # any vector off the other one will do
        other = vectors[1 - axis] if periodic[1 - axis] else np.array([1.0, 0.0]) if axis else np.array([0.0, 1.0])
        vectors[axis] = extent * np.array([-other[1], other[0]]) / np.linalg.norm(other)
    fractions = points @ np.linalg.inv(vectors)
    return np.where(periodic, fractions % 1.0, fractions) @ vectors, vectors, periodic


def _with_images(points, cell, periodic):
    """Atom (M,), lattice translation (M, 2) and position (M, 2) of the points and their images in a frame around."""
    area = abs(np.linalg.det(cell))
    heights = area / np.linalg.norm(cell[::-1], axis=1)
    margin = np.where(periodic, MARGIN * np.sqrt(area / len(points)) / heights, 0.0)
    counts = np.ceil(margin).astype(int)
    shifts = np.array([(i, j) for i in range(-counts[0], counts[0] + 1) for j in range(-counts[1], counts[1] + 1)])
    fractions = (points @ np.linalg.inv(cell) + shifts[:, None]).reshape(-1, 2)
    inside = np.all(~periodic | ((fractions >= -margin) & (fractions <= 1.0 + margin)), axis=1)
    atom, shift = np.tile(np.arange(len(points)), len(shifts)), np.repeat(shifts, len(points), axis=0)
    return atom[inside], shift[inside], fractions[inside] @ cell


def _area(corners):
    """Signed areas (T,) of triangles (T, 3, 2), positive if counter-clockwise."""
    (x1, y1), (x2, y2) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    return 0.5 * (x1 * y2 - x2 * y1)
