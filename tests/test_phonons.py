"""Phonons at given spin states through ASE: a chain whose closed form is known, and iron learned from its frames."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.phonons import Phonons

from ase_spinml import SOSO, NonMagnetic, SpinCalculator, SpinGAP, set_moments
from ase_spinml.calculators.term import SpinTerm
from ase_spinml.demo import load_frames
from ase_spinml.moments import get_moments, get_spins
from ase_spinml.neighbors import NeighborList

SPACING, SIGMA, EPSILON = 2.5, 2.14, 0.4
EXCHANGE, DECAY = 0.05, 0.4
HBAR_SI = units._hbar * np.sqrt(units._e / units._amu) * 1e10 / units._e  # sqrt(eV/(Angstrom^2 amu)) to eV


class DistantExchange(SpinTerm):
    """E = -sum J(r) e_i.e_j over neighbours of a chain, J(r) = J exp(-(r - a)/w)."""

    def terms(self, atoms, moments):
        spins, pairs = get_spins(atoms), NeighborList(1.5 * SPACING)
        pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
        vectors = pairs.vectors(atoms.positions, atoms.cell.array)
        r = np.linalg.norm(vectors, axis=1)
        strength = EXCHANGE * np.exp(-(r - SPACING) / DECAY)
        product = np.einsum("pa,pa->p", spins[pairs.i], spins[pairs.j])
        pull = (strength * product / DECAY / r)[:, None] * vectors  # towards j, on i
        forces, fields = np.zeros((2, len(atoms), 3))
        np.add.at(forces, pairs.i, pull)
        np.add.at(forces, pairs.j, -pull)
        np.add.at(fields, pairs.i, strength[:, None] * spins[pairs.j])
        np.add.at(fields, pairs.j, strength[:, None] * spins[pairs.i])
        energies = np.zeros(len(atoms))
        np.add.at(energies, pairs.i, -strength * product)
        return energies, fields, forces, np.zeros((3, 3))


def chain(signs):
    n = len(signs)
    positions = SPACING * np.arange(n)[:, None] * np.array([1.0, 0, 0])
    atoms = Atoms(f"Fe{n}", positions, cell=[SPACING * n, 9, 9], pbc=[True, False, False])
    set_moments(atoms, 2.2 * np.array(signs, float), axis=(0, 0, 1))
    return atoms


def phonons(atoms, calculator, supercell, folder, delta=0.002):
    found = Phonons(atoms, calculator, supercell=supercell, name=str(folder), delta=delta)
    found.run()
    found.read(acoustic=False, symmetrize=0)
    return found


def closed_form(q, product):
    """Energies (3,) in eV of waves q of the chain, ascending: two across, one along, for a given e_i.e_j."""
    x = (SIGMA / SPACING) ** 6
    slope = 24 * EPSILON / SPACING * (x - 2 * x**2) + product * EXCHANGE / DECAY
    bend = 24 * EPSILON / SPACING**2 * (26 * x**2 - 7 * x) - product * EXCHANGE / DECAY**2
    springs = np.array([slope / SPACING, slope / SPACING, bend])
    mass = Atoms("Fe").get_masses()[0]
    return HBAR_SI * np.sqrt(springs * 4 / mass) * abs(np.sin(np.pi * q))


def test_chain_of_distance_dependent_exchange(tmp_path):
    """Parallel and antiparallel neighbours differ by twice J' and J''; opposite spins double the cell."""
    lattice = NonMagnetic(LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=1.5 * SPACING))
    calculator = SumCalculator([lattice, DistantExchange()])
    found = phonons(chain([1]), calculator, (6, 1, 1), tmp_path / "parallel")
    for q in (1 / 6, 1 / 3, 1 / 2):
        np.testing.assert_allclose(found.band_structure([[q, 0, 0]])[0], closed_form(q, 1), rtol=1e-3)
    found = phonons(chain([1, -1]), calculator, (4, 1, 1), tmp_path / "antiparallel")
    for q in (1 / 4, 1 / 2):
        expected = np.sort(np.concatenate([closed_form(q / 2, -1), closed_form((q + 1) / 2, -1)]))
        np.testing.assert_allclose(found.band_structure([[q, 0, 0]])[0], expected, rtol=1e-3)
    assert closed_form(0.5, 1)[2] < 0.9 * closed_form(0.5, -1)[2]


def test_supercells_and_displaced_atoms_keep_their_moments(tmp_path):
    seen = []

    class Watcher(NonMagnetic):
        def calculate(self, atoms, properties, system_changes):
            seen.append(get_moments(atoms))
            super().calculate(atoms, properties, system_changes)

    atoms = chain([1, -1])
    phonons(atoms, Watcher(LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=1.5 * SPACING)), (3, 1, 1), tmp_path / "kept")
    assert len(seen) == 1 + 6 * len(atoms)
    for moments in seen:
        np.testing.assert_array_equal(moments, np.tile(get_moments(atoms), (3, 1)))


@pytest.fixture(scope="module")
def iron():
    settings = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3, "rng": 0}
    return SpinCalculator(SpinGAP(SOSO(["Fe"], body_order=2), zeta=1, **settings).fit(load_frames()))


@pytest.mark.parametrize(("signs", "expected"), [((1, 1), 35.8), ((1, -1), 25.5)])
def test_iron_from_its_frames(iron, tmp_path, signs, expected):
    """A learned model: sum rule, real frequencies, frozen waves of the same energy; 35 meV are measured at H."""
    atoms = bulk("Fe", a=2.83, cubic=True)
    set_moments(atoms, 2.2 * np.array(signs), axis=(0, 0, 1))
    found = phonons(atoms, iron, (3, 3, 3), tmp_path / "iron", delta=0.01)
    constants = found.get_force_constant()  # of cells (27, 6, 6)
    forces = constants.sum(axis=0).reshape(2, 3, 2, 3).sum(axis=2)
    assert np.abs(forces).max() < 1e-10 * np.abs(constants).max()
    energies = found.band_structure([[0, 0, 0], [1 / 3, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    assert np.all(energies[1:] > 0.01)
    np.testing.assert_allclose(energies[0, 3:], 1e-3 * expected, rtol=5e-3)
    height = []
    for side in (-0.01, 0.0, 0.01):
        moved = atoms.copy()
        moved.calc = iron
        moved.positions += side * np.array([[1.0, 0, 0], [-1.0, 0, 0]])
        height.append(moved.get_potential_energy())
    curvature = (height[0] - 2 * height[1] + height[2]) / 0.01**2
    frozen = HBAR_SI * np.sqrt(curvature / atoms.get_masses().sum())
    assert energies[0, 5] == pytest.approx(frozen, rel=1e-3)
