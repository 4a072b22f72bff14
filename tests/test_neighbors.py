"""Neighbour list: the pairs that ASE finds, and a skin that never loses one."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from ase_spinml.errors import InputError
from ase_spinml.neighbors import NeighborList

CUTOFF = 4.3


def random_frame(pbc, n=7, seed=1):
    """Random atoms in a triclinic box of about 5 Angstrom, some outside it."""
    rng = np.random.default_rng(seed)
    cell = 5.0 * np.eye(3) + rng.uniform(-1.2, 1.2, size=(3, 3))
    return Atoms(f"Fe{n}", scaled_positions=rng.uniform(-0.7, 1.6, size=(n, 3)), cell=cell, pbc=pbc)


def updated(atoms, cutoff=CUTOFF, skin=0.0):
    pairs = NeighborList(cutoff, skin)
    pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
    return pairs


def sorted_rows(i, j, vectors):
    rows = np.column_stack([i, j, vectors])
    return rows[np.lexsort(np.round(rows, 6).T[::-1])]


def both_directions(pairs, atoms, cutoff=CUTOFF):
    """Rows i, j, r_ij of every pair within the cutoff seen from either end."""
    vectors = pairs.vectors(atoms.positions, atoms.cell.array)
    close = np.linalg.norm(vectors, axis=1) < cutoff
    i, j, vectors = pairs.i[close], pairs.j[close], vectors[close]
    return sorted_rows(np.append(i, j), np.append(j, i), np.vstack([vectors, -vectors]))


def assert_same_as_ase(pairs, atoms, cutoff=CUTOFF):
    expected = sorted_rows(*neighbor_list("ijD", atoms, cutoff))
    assert len(expected) > 0
    np.testing.assert_allclose(both_directions(pairs, atoms, cutoff), expected, atol=1e-10)


@pytest.mark.parametrize("pbc", [True, False, (True, False, False), (False, True, True)])
def test_the_pairs_of_ase_in_a_triclinic_cell_with_atoms_outside(pbc):
    atoms = random_frame(pbc)
    assert_same_as_ase(updated(atoms), atoms)


@pytest.mark.parametrize("cutoff", [2.6, 5.0, 9.0])
def test_a_cell_smaller_than_the_cutoff_has_several_images(cutoff):
    atoms = bulk("Fe", a=2.87)
    assert_same_as_ase(updated(atoms, cutoff), atoms, cutoff)


def test_the_cutoff_counts_shells_of_bcc_iron():
    atoms = bulk("Fe", a=2.87)
    pairs = updated(atoms, 5.0)
    assert 2 * len(pairs.i) == 8 + 6 + 12 + 24 + 8


def test_a_molecule_without_a_cell():
    atoms = Atoms("Fe3", positions=[[0, 0, 0], [2, 0, 0], [0, 3, 9]])
    pairs = updated(atoms)
    assert (pairs.i.tolist(), pairs.j.tolist(), pairs.shifts.tolist()) == ([0], [1], [[0, 0, 0]])


def test_a_chain_with_only_one_cell_vector():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [2, 1, 0]], cell=[3.5, 0, 0], pbc=(True, False, False))
    full = atoms.copy()
    full.set_cell([3.5, 40, 40])
    np.testing.assert_allclose(
        both_directions(updated(atoms), atoms), sorted_rows(*neighbor_list("ijD", full, CUTOFF)), atol=1e-12
    )


def test_a_slab_whose_missing_vector_is_not_the_last():
    atoms = random_frame((False, True, True))
    cell = atoms.cell.array
    cell[0] = 0.0
    atoms.set_cell(cell)
    full = atoms.copy()
    normal = np.cross(cell[1], cell[2])
    full.set_cell([60 * normal / np.linalg.norm(normal), cell[1], cell[2]])
    full.positions += 30 * normal / np.linalg.norm(normal)
    assert_same_as_ase(updated(atoms), full)


def test_a_single_atom_has_no_pairs():
    pairs = updated(Atoms("Fe"))
    assert len(pairs.i) == 0
    assert pairs.vectors(np.zeros((1, 3)), np.zeros((3, 3))).shape == (0, 3)


def test_each_unique_pair_is_listed_once_with_sorted_first_atoms():
    atoms = random_frame(True)
    pairs = updated(atoms)
    assert 2 * len(pairs.i) == len(neighbor_list("i", atoms, CUTOFF))
    assert (np.diff(pairs.i) >= 0).all()


# --- the directed table ---


def test_the_directed_table_holds_every_neighbour_of_every_atom():
    atoms = random_frame((True, True, False))
    neighbours, shifts, filled = updated(atoms).directed()
    i, slot = np.nonzero(filled)
    j, shift = neighbours[i, slot], shifts[i, slot]
    vectors = atoms.positions[j] - atoms.positions[i] + shift @ atoms.cell.array
    np.testing.assert_allclose(
        sorted_rows(i, j, vectors), sorted_rows(*neighbor_list("ijD", atoms, CUTOFF)), atol=1e-10
    )


def test_the_directed_table_is_no_wider_than_the_most_crowded_atom():
    atoms = random_frame(False)
    neighbours, _, filled = updated(atoms).directed()
    assert neighbours.shape[1] == np.bincount(neighbor_list("i", atoms, CUTOFF)).max()
    assert (neighbours[~filled] == 0).all()


def test_the_directed_table_of_a_single_atom_has_one_empty_slot():
    neighbours, shifts, filled = updated(Atoms("Fe")).directed()
    assert neighbours.shape == (1, 1)
    assert shifts.shape == (1, 1, 3)
    assert not filled.any()


# --- the Verlet skin ---


def moved(atoms, distance):
    """Every atom displaced by exactly this distance in a direction of its own."""
    directions = np.random.default_rng(5).normal(size=(len(atoms), 3))
    atoms = atoms.copy()
    atoms.positions += distance * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return atoms


@pytest.mark.parametrize(("distance", "rebuilt"), [(0.0, False), (0.249, False), (0.251, True)])
def test_pairs_are_found_anew_once_an_atom_moved_half_the_skin(distance, rebuilt):
    atoms = random_frame(True)
    pairs = updated(atoms, skin=0.5)
    after = moved(atoms, distance)
    assert pairs.update(after.positions, after.cell.array, after.pbc) is rebuilt
    assert pairs.builds == 1 + rebuilt


def test_the_distance_moved_counts_from_the_last_build_and_not_from_the_last_update():
    atoms = random_frame(True)
    pairs = updated(atoms, skin=0.5)
    for step, rebuilt in [(0.1, False), (0.2, False), (0.3, True), (0.5, False), (0.56, True)]:
        assert pairs.update(atoms.positions + np.array([step, 0, 0]), atoms.cell.array, atoms.pbc) is rebuilt


def test_pairs_within_the_cutoff_are_complete_all_along_a_walk():
    atoms = random_frame((True, True, False))
    rng = np.random.default_rng(2)
    pairs = NeighborList(CUTOFF, skin=0.6)
    for _ in range(40):
        pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
        assert_same_as_ase(pairs, atoms)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    assert 1 < pairs.builds < 40


@pytest.mark.parametrize("change", ["cell", "pbc", "atoms"])
def test_pairs_are_found_anew_for_another_cell_periodicity_or_number_of_atoms(change):
    atoms = random_frame(True)
    pairs = updated(atoms, skin=0.5)
    if change == "cell":
        atoms.set_cell(atoms.cell.array * 1.001)
    elif change == "pbc":
        atoms.pbc = (True, True, False)
    else:
        del atoms[0]
    assert pairs.update(atoms.positions, atoms.cell.array, atoms.pbc) is True
    assert_same_as_ase(pairs, atoms)


def test_without_a_skin_every_move_finds_pairs_anew():
    atoms = random_frame(True)
    pairs = updated(atoms)
    assert pairs.update(atoms.positions, atoms.cell.array, atoms.pbc) is False
    assert pairs.update(atoms.positions + 1e-9, atoms.cell.array, atoms.pbc) is True


def test_the_list_does_not_follow_the_arrays_it_was_given():
    atoms = random_frame(True)
    pairs = updated(atoms, skin=0.5)
    atoms.positions += 1.0
    assert pairs.update(atoms.positions, atoms.cell.array, atoms.pbc) is True


# --- errors ---


@pytest.mark.parametrize(("cutoff", "skin"), [(0.0, 0.0), (-1.0, 0.0), (5.0, -0.1), (np.nan, 0.0), (5.0, np.nan)])
def test_refuses_an_impossible_range(cutoff, skin):
    with pytest.raises(InputError, match=r"needs cutoff > 0 and skin >= 0 in Angstrom, got "):
        NeighborList(cutoff, skin)


@pytest.mark.parametrize("broken", ["positions", "cell"])
def test_refuses_geometry_that_is_not_finite(broken):
    atoms = random_frame(True)
    positions, cell = atoms.positions.copy(), atoms.cell.array
    (positions if broken == "positions" else cell)[1, 2] = np.nan
    with pytest.raises(InputError, match=r"positions and cell must be finite numbers in Angstrom, got NaN or infinity"):
        NeighborList(CUTOFF).update(positions, cell, True)


def test_refuses_a_periodic_direction_without_a_cell_vector():
    with pytest.raises(InputError, match=r"\[True, True, True\] need linearly independent cell vectors, got "):
        NeighborList(CUTOFF).update(np.zeros((1, 3)), np.diag([3.0, 3.0, 0.0]), True)


def test_a_refused_update_leaves_the_list_as_it_was():
    atoms = random_frame(True)
    pairs = updated(atoms)
    with pytest.raises(InputError):
        pairs.update(atoms.positions * np.nan, atoms.cell.array, True)
    assert_same_as_ase(pairs, atoms)


def test_coincident_atoms_are_refused():
    pairs = NeighborList(3.0)
    with pytest.raises(InputError, match=r"atoms must not coincide, got atoms 0 and 1 at a distance of 0 Angstrom"):
        pairs.update([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.eye(3), False)


@pytest.mark.parametrize(
    ("shape", "pbc"), [((400, 400, 1), (1, 1, 0)), ((1, 350, 350), (1, 1, 1)), ((1, 1, 120_000), (0, 0, 1))]
)
def test_large_films_and_chains_have_all_their_pairs(shape, pbc):
    """The finder would divide by zero there."""
    cell = np.where(np.array(shape) == 1, 20.0, 2.5)
    positions = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3) * cell
    neighbors = NeighborList(2.6)
    neighbors.update(positions, np.diag(cell * shape), pbc)
    assert len(neighbors.i) == len(positions) * sum(n > 1 for n in shape)
    vectors = neighbors.vectors(positions, np.diag(cell * shape))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 2.5, rtol=0, atol=1e-9)
