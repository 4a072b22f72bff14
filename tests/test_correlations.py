"""Structure factors, correlation functions and local order of states whose values are known."""

import numpy as np
import pytest

from ase_spinml.analysis import (
    clusters,
    correlation,
    domain_size,
    neighbour_products,
    scalar_chirality,
    structure_factor,
    vector_chirality,
)
from ase_spinml.electrons import spin_lattice
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, set_moments

TRIANGULAR = {"FM": {(0, 0): 1.0}, "120": {(1 / 3, 2 / 3): 0.5, (2 / 3, 1 / 3): 0.5}}
TRIANGULAR["tetrahedral"] = {(0.5, 0.0): 1 / 3, (0.0, 0.5): 1 / 3, (0.5, 0.5): 1 / 3}


@pytest.mark.parametrize("state", TRIANGULAR)
def test_peaks_of_perfect_order(state):
    atoms = spin_lattice("triangular", (12, 12), state)
    peaks = TRIANGULAR[state]
    waves = np.array([(12 * a, 12 * b, 0) for a, b in peaks])
    np.testing.assert_allclose(structure_factor(atoms, waves), list(peaks.values()), atol=1e-12)
    grid = structure_factor(atoms)
    np.testing.assert_allclose([grid[tuple(np.rint(wave).astype(int))] for wave in waves], list(peaks.values()))


@pytest.mark.parametrize(("lattice", "size"), [("triangular", (9, 7)), ("chain", 96), ("cubic", (3, 4, 5))])
def test_sum_rule_and_both_ways_to_the_structure_factor(lattice, size):
    atoms = spin_lattice(lattice, size, "random", rng=0)
    grid = structure_factor(atoms)
    assert grid.sum() == pytest.approx(1.0, abs=1e-12)
    waves = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(structure_factor(atoms, waves), grid.ravel(), atol=1e-14)


def test_the_order_of_atoms_and_their_origin_do_not_matter():
    atoms = spin_lattice("triangular", (6, 9), "random", rng=1)
    mixed = atoms[np.random.default_rng(2).permutation(len(atoms))]
    mixed.positions += [0.37, -0.2, 0.0]
    mixed.wrap()
    np.testing.assert_allclose(structure_factor(mixed), structure_factor(atoms), atol=1e-14)
    np.testing.assert_allclose(correlation(mixed), correlation(atoms), atol=1e-12)


def test_correlations_are_means_over_pairs():
    atoms = spin_lattice("triangular", (6, 6), "random", rng=3)
    r, c = correlation(atoms)
    distances = atoms.get_all_distances(mic=True)
    products = get_spins(atoms) @ get_spins(atoms).T
    for distance, value in zip(r, c, strict=True):
        assert value == pytest.approx(products[np.abs(distances - distance) < 1e-6].mean(), abs=1e-12)


def test_products_at_120_degrees():
    atoms = spin_lattice("triangular", (9, 9), "120")
    r, c = correlation(atoms)
    np.testing.assert_allclose(r[:3], [0, 1, np.sqrt(3)], atol=1e-9)
    np.testing.assert_allclose(c[:3], [1, -0.5, 1], atol=1e-12)
    np.testing.assert_allclose(neighbour_products(atoms, 1.1), -0.5, atol=1e-12)
    np.testing.assert_allclose(vector_chirality(atoms), 1.0, atol=1e-12)
    np.testing.assert_allclose(scalar_chirality(atoms), 0.0, atol=1e-12)


def test_chirality_of_tetrahedral_order_and_of_its_mirror_image():
    atoms = spin_lattice("triangular", (8, 8), "tetrahedral")
    chirality = scalar_chirality(atoms)
    np.testing.assert_allclose(np.abs(chirality), 4 / (3 * np.sqrt(3)), atol=1e-12)
    set_moments(atoms, -get_spins(atoms))
    np.testing.assert_allclose(scalar_chirality(atoms), -chirality, atol=1e-12)


@pytest.mark.parametrize("width", [8, 16])
def test_size_of_stripes(width):
    atoms = spin_lattice("chain", 64)
    stripes = (-1.0) ** (atoms.positions[:, 0] // width)  # C = 1 - 2 r / width
    assert domain_size(atoms, stripes) == pytest.approx(width / 4)
    assert domain_size(atoms, np.ones(len(atoms))) == np.inf


def test_clusters_of_marked_sites():
    atoms = spin_lattice("square", (12, 12))
    x, y, _ = atoms.positions.T
    inside = np.zeros(len(atoms), bool)
    for x0, y0, width in ((-2, 0, 3), (7, 7, 4)):  # one goes across the boundary
        inside |= ((x - x0) % 12 < width) & ((y - y0) % 12 < width)
    inside[(x == 5) & (y == 5)] = True
    np.testing.assert_array_equal(clusters(atoms, inside, 1.1), [16, 9, 1])
    np.testing.assert_array_equal(clusters(atoms, ~inside, 1.1), [144 - 26])
    np.testing.assert_array_equal(clusters(atoms, np.zeros(len(atoms), bool), 1.1), [])


def test_without_magnetic_atoms_nothing_counts():
    atoms = spin_lattice("triangular", (6, 6), "tetrahedral")
    moments = get_spins(atoms)
    moments[7] = 0
    set_moments(atoms, moments)
    assert scalar_chirality(atoms)[7] == neighbour_products(atoms, 1.1)[7] == 0
    assert structure_factor(atoms, [0, 3, 0])[0] == pytest.approx(1 / 3, rel=0.1)
    with pytest.raises(InputError, match="Expected the sites of a periodic Bravais lattice, all magnetic"):
        structure_factor(atoms)


@pytest.mark.parametrize("atoms", [("honeycomb", (3, 3)), ("amorphous", (5, 5))])
def test_other_lattices_are_refused(atoms):
    frame = spin_lattice(*atoms, "random", rng=0)
    with pytest.raises(InputError, match="Expected the sites of a periodic Bravais lattice"):
        correlation(frame)


def test_open_lattices_are_refused():
    with pytest.raises(InputError, match="Expected the sites of a periodic Bravais lattice"):
        structure_factor(spin_lattice("chain", 5, pbc=False))


def test_wrong_arguments_are_named():
    atoms = spin_lattice("square", (4, 4))
    with pytest.raises(InputError, match="Expected q as rows of three numbers"):
        structure_factor(atoms, [[0, 1]])
    with pytest.raises(InputError, match=r"Expected values \(N,\) or \(N, d\) of 16 sites"):
        correlation(atoms, np.ones(5))
    with pytest.raises(InputError, match=r"Expected inside as \(16,\) bools"):
        clusters(atoms, np.ones(16), 1.1)
