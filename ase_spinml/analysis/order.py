"""Local order of planar magnets: chiralities of triangles, products of neighbours, clusters.

The triangles are those of Delaunay between neighbouring sites (:mod:`ase_spinml.analysis.topology`), counter-clockwise
seen from +z.
"""

import numpy as np

from ase_spinml.analysis.topology import triangulate
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask
from ase_spinml.neighbors import NeighborList


def scalar_chirality(atoms):
    """Scalar chirality e_1.(e_2 x e_3) about every site.

    Parameters
    ----------
    atoms : ase.Atoms
        Magnetic atoms in one xy plane.

    Returns
    -------
    (N,) array
        Mean over the triangles that meet at the site: +-4/(3 sqrt 3) in tetrahedral order, 0 wherever spins lie in a
        plane. Zero for non-magnetic atoms.

    Raises
    ------
    InputError
        As :func:`~ase_spinml.analysis.topological_charge`, for the geometry.

    Examples
    --------
    >>> from ase_spinml.analysis import scalar_chirality
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("triangular", (6, 6), "tetrahedral")
    >>> print(abs(scalar_chirality(atoms)).mean().round(4))    # 4/(3 sqrt 3)
    0.7698
    """
    first, second, third, triangles = _corners(atoms)
    return _at_sites(atoms, triangles, np.einsum("ia,ia->i", first, np.cross(second, third)))


def vector_chirality(atoms):
    """Length of the vector chirality (2/(3 sqrt 3)) (e_1 x e_2 + e_2 x e_3 + e_3 x e_1) about every site.

    Parameters
    ----------
    atoms : ase.Atoms
        Magnetic atoms in one xy plane.

    Returns
    -------
    (N,) array
        Mean over the triangles that meet at the site: 1 in 120 degree order, whatever its plane. Zero for non-magnetic
        atoms.

    Raises
    ------
    InputError
        As :func:`~ase_spinml.analysis.topological_charge`, for the geometry.

    Examples
    --------
    >>> from ase_spinml.analysis import vector_chirality
    >>> from ase_spinml.electrons import spin_lattice
    >>> print(vector_chirality(spin_lattice("triangular", (6, 6), "120")).mean().round(6))
    1.0
    """
    first, second, third, triangles = _corners(atoms)
    kappa = np.cross(first, second) + np.cross(second, third) + np.cross(third, first)
    return _at_sites(atoms, triangles, np.linalg.norm(kappa, axis=1) * 2 / (3 * np.sqrt(3)))


def neighbour_products(atoms, cutoff):
    """Mean e_i.e_j of every site with its neighbours.

    Parameters
    ----------
    atoms : ase.Atoms
    cutoff : float
        Range of neighbours in Angstrom.

    Returns
    -------
    (N,) array
        1 where all are parallel, -1 where all are opposite; 0 for atoms without magnetic neighbours.

    Raises
    ------
    InputError
        A cutoff that is not positive.

    Examples
    --------
    >>> from ase_spinml.analysis import neighbour_products
    >>> from ase_spinml.electrons import spin_lattice
    >>> print(neighbour_products(spin_lattice("square", (4, 4), "AFM"), cutoff=1.1).mean().round(6))
    -1.0
    """
    i, j = _magnetic_pairs(atoms, cutoff)
    spins = get_spins(atoms)
    products, size = np.einsum("ia,ia->i", spins[i], spins[j]), len(atoms)
    counts = np.bincount(i, minlength=size) + np.bincount(j, minlength=size)
    return (np.bincount(i, products, size) + np.bincount(j, products, size)) / np.maximum(counts, 1)


def clusters(atoms, inside, cutoff):
    """Sizes of connected groups of sites.

    Parameters
    ----------
    atoms : ase.Atoms
    inside : (N,) bool array
        Sites that belong to groups, such as ``neighbour_products(atoms, 1.1) > 0.5``.
    cutoff : float
        Sites closer than this, in Angstrom, are connected.

    Returns
    -------
    (C,) int array
        Sites of every group, the largest first.

    Raises
    ------
    InputError
        ``inside`` is not one bool per site; a cutoff that is not positive.

    Examples
    --------
    >>> from ase_spinml.analysis import clusters
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (4, 4), "FM")
    >>> clusters(atoms, atoms.positions[:, 0] < 1.5, cutoff=1.1).tolist()   # two rows of four
    [8]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    inside = np.asarray(inside)
    if inside.shape != (len(atoms),) or inside.dtype != bool:
        raise InputError(
            f"Expected inside as ({len(atoms)},) bools, got an array of {inside.dtype} of shape {inside.shape}."
        )
    i, j = _magnetic_pairs(atoms, cutoff)
    joined = inside[i] & inside[j]
    graph = coo_array((np.ones(joined.sum()), (i[joined], j[joined])), shape=(len(atoms),) * 2)
    labels = connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels[inside])
    return np.sort(sizes[sizes > 0])[::-1]


def _corners(atoms):
    """Spins (T, 3) at the three corners of all triangles, and the atoms (T, 3) there."""
    triangles = np.flatnonzero(magnetic_mask(atoms))[triangulate(atoms)]
    return (*get_spins(atoms)[triangles].transpose(1, 0, 2), triangles)


def _at_sites(atoms, triangles, values):
    """Means (N,) of values of triangles (T,) at their corners."""
    size = len(atoms)
    counts = np.bincount(triangles.ravel(), minlength=size)
    return np.bincount(triangles.ravel(), np.repeat(values, 3), size) / np.maximum(counts, 1)


def _magnetic_pairs(atoms, cutoff):
    pairs = NeighborList(cutoff)
    pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
    magnetic = magnetic_mask(atoms)
    both = magnetic[pairs.i] & magnetic[pairs.j]
    return pairs.i[both], pairs.j[both]
