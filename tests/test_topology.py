"""Topological charge of planar textures."""

import numpy as np
import pytest
from ase import Atoms

from ase_spinml import get_moments, set_moments
from ase_spinml.analysis import solid_angles, topological_charge
from ase_spinml.analysis.topology import triangulate
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions

CELLS = {
    "square": ([[1, 0, 0], [0, 1, 0], [0, 0, 9]], [[0, 0, 0]]),
    "triangular": ([[1, 0, 0], [0.5, np.sqrt(0.75), 0], [0, 0, 9]], [[0, 0, 0]]),
    "honeycomb": ([[np.sqrt(3), 0, 0], [np.sqrt(0.75), 1.5, 0], [0, 0, 9]], [[0, 0, 0], [np.sqrt(0.75), 0.5, 0]]),
}


def layer(lattice, n=24):
    cell, basis = CELLS[lattice]
    return Atoms("Fe" * len(basis), positions=basis, cell=cell, pbc=(1, 1, 0)).repeat((n, n, 1))


def texture(atoms, winding=1, helicity=90.0, centre=(0.13, 0.07), radius=4.0):
    """Core down, background up: e = (sin t cos f, sin t sin f, cos t), f = winding * azimuth + helicity."""
    x, y = (atoms.positions - atoms.cell.array.sum(axis=0) / 2)[:, :2].T - np.array(centre)[:, None]
    polar = np.pi * np.exp(-(x**2 + y**2) / radius**2)
    azimuth = winding * np.arctan2(y, x) + np.radians(helicity)
    directions = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    set_moments(atoms, 1.7 * np.stack(directions, axis=1))
    return atoms


@pytest.mark.parametrize("lattice", CELLS)
@pytest.mark.parametrize(("winding", "charge"), [(1, -1), (-1, 1), (2, -2)])
def test_core_down_is_minus_the_winding(lattice, winding, charge):
    assert topological_charge(texture(layer(lattice), winding)) == pytest.approx(charge, abs=1e-10)


@pytest.mark.parametrize("helicity", [0.0, 90.0, 180.0, 33.0])
def test_helicity_does_not_matter(helicity):
    assert topological_charge(texture(layer("square"), helicity=helicity)) == pytest.approx(-1, abs=1e-10)


def test_time_reversal_changes_the_sign():
    atoms = texture(layer("triangular"))
    set_moments(atoms, -get_moments(atoms))
    assert topological_charge(atoms) == pytest.approx(1, abs=1e-10)


def test_a_mirror_of_the_lattice_changes_the_sign():
    atoms = texture(layer("square"))
    moments = get_moments(atoms).reshape(24, 24, 3)[::-1] * [1, -1, -1]  # axial vectors in the mirror x -> -x
    set_moments(atoms, moments.reshape(-1, 3))
    assert topological_charge(atoms) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("shift", [(7, 13), (12, 0), (0, 11)])
def test_lattice_translations_change_nothing(shift):
    atoms = texture(layer("square"))
    before = topological_charge(atoms)
    moments = np.roll(get_moments(atoms).reshape(24, 24, 3), shift, (0, 1))
    set_moments(atoms, moments.reshape(-1, 3))
    assert topological_charge(atoms) == pytest.approx(before, abs=1e-12)


def test_positions_outside_the_cell_are_wrapped():
    atoms = texture(layer("honeycomb", 16))
    atoms.positions += [3.3, -120.7, 5.0]
    atoms.positions[::7] += atoms.cell[0] * 3 - atoms.cell[1]
    assert topological_charge(atoms) == pytest.approx(-1, abs=1e-10)


def test_vibrations_vacancies_and_other_atoms_do_no_harm():
    atoms = texture(layer("triangular"))
    atoms.positions[:, :2] += np.random.default_rng(1).normal(scale=0.1, size=(len(atoms), 2))
    moments = get_moments(atoms)
    moments[[5, 80, 301]] = 0.0
    set_moments(atoms, moments)
    substrate = Atoms("Pt", positions=[[0.5, 0.5, -2.0]])
    set_moments(substrate, [[0.0, 0.0, 0.0]])
    assert topological_charge(atoms + substrate) == pytest.approx(-1, abs=1e-10)


def test_random_spins_have_a_whole_charge_too():
    atoms = layer("square", 10)
    set_moments(atoms, random_directions(100, 3))
    charge = topological_charge(atoms)
    assert charge == pytest.approx(round(charge), abs=1e-10)


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (0, 1, 0)])
def test_open_edges_leave_nearly_a_whole_charge(pbc):
    atoms = texture(layer("square"))
    atoms.pbc = pbc
    assert topological_charge(atoms) == pytest.approx(-1, abs=1e-3)


def test_an_open_flake_without_a_cell():
    atoms = texture(layer("triangular"))
    flake = Atoms(atoms.symbols, positions=atoms.positions)
    set_moments(flake, get_moments(atoms))
    assert topological_charge(flake) == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_small_cells_have_two_triangles_per_atom(n):
    atoms = layer("square", n)
    set_moments(atoms, random_directions(len(atoms), n))
    assert len(triangulate(atoms)) == 2 * len(atoms)


def test_the_octant_spans_an_eighth_of_the_sphere():
    octant = np.eye(3)
    assert solid_angles(octant, [[0, 1, 2]]) == pytest.approx([np.pi / 2], abs=1e-15)
    assert solid_angles(octant, [[0, 2, 1]]) == pytest.approx([-np.pi / 2], abs=1e-15)


def test_messages():
    atoms = layer("square", 4)
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (16, 1)))
    tilted = atoms.copy()
    tilted.rotate(20, "x", rotate_cell=True)
    with pytest.raises(InputError, match="Expected magnetic atoms in one plane of constant z"):
        topological_charge(tilted)
    none = atoms.copy()
    set_moments(none, np.zeros((16, 3)))
    with pytest.raises(InputError, match="got 0 that are not"):
        topological_charge(none)
    row = Atoms("Fe4", positions=[[i, 0, 0] for i in range(4)])
    set_moments(row, np.ones((4, 3)))
    with pytest.raises(InputError, match="Expected magnetic atoms that span a plane, got 4 that do not"):
        topological_charge(row)
    twice = atoms + atoms
    with pytest.raises(InputError, match="Expected magnetic atoms spread evenly enough"):
        topological_charge(twice)
    antiferromagnet = atoms.copy()
    set_moments(antiferromagnet, [[0, 0, (-1) ** (i // 4 + i)] for i in range(16)])
    with pytest.raises(InputError, match="Expected neighbouring spins that span a solid angle"):
        topological_charge(antiferromagnet)
