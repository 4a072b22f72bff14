"""Vectors that stand for a trace: random phases, or phases on sites of one colour that are far apart.

Tr A is the mean of v^+ A v over random vectors. Where elements of A fall off with the distance of the sites, vectors on
sites that are all far apart leave out the large ones (J. M. Tang and Y. Saad, Numer. Linear Algebra Appl. 19, 485
(2012)). Distances are counted in hops.
"""

import numpy as np
from scipy.sparse import csr_array, identity


def neighbourhoods(n_sites, i, j, hops):
    """Which sites are within a number of hops, the site itself included: csr_array (N, N) of bool."""
    ones = np.ones(2 * len(i), dtype=bool)
    step = csr_array((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n_sites, n_sites))
    step = (step + csr_array(identity(n_sites, dtype=bool))).astype(bool)
    reached = csr_array(identity(n_sites, dtype=bool))
    for _ in range(hops):
        reached = (reached @ step).astype(bool)
    reached.sort_indices()
    return reached


def colour(near):
    """Colours (N,) from zero such that no two sites that are ``near`` (csr_array (N, N)) share one.

    Colour by colour, and next the free site with most neighbours that are out of the question already (F. T. Leighton,
    J. Res. Natl. Bur. Stand. 84, 489 (1979)), which packs the sites of a colour as densely as they may be.
    """
    n = near.shape[0]
    rows = [near.indices[start:stop] for start, stop in zip(near.indptr, near.indptr[1:], strict=False)]
    colours, current = np.full(n, -1), 0
    while (colours < 0).any():
        free = colours < 0
        lost = np.where(free, 0, -1)  # neighbours out of the question; -1 for sites that are so themselves
        site = int(np.argmax(free))
        while lost[site] >= 0:
            colours[site] = current
            newly = rows[site][free[rows[site]]]
            free[newly] = False
            np.add.at(lost, np.concatenate([rows[other] for other in newly]), 1)
            lost[~free] = -1
            site = int(np.argmax(lost))
        current += 1
    return colours


def probing_vectors(colours, orbitals, rng):
    """One vector for each colour and orbital, (o N, o C) complex: random phases on its sites, zero elsewhere.

    ``v^+ A v`` summed over all vectors is the trace plus elements between sites of one colour with random phases.
    """
    n = len(colours)
    vectors = np.zeros((n, orbitals, colours.max() + 1, orbitals), complex)
    for orbital in range(orbitals):
        vectors[np.arange(n), orbital, colours, orbital] = np.exp(2j * np.pi * rng.uniform(size=n))
    return vectors.reshape(n * orbitals, -1)


def random_vectors(size, count, rng):
    """Random phases over all orbitals, (size, count) complex, scaled so that the sum of v^+ A v is the trace."""
    return np.exp(2j * np.pi * rng.uniform(size=(size, count))) / np.sqrt(count)
