"""Electrons on bare matrices: lattices and spin states, Hamiltonians, filling of levels, exact diagonalisation."""

import numpy as np
import pytest
import torch
from ase.dft.kpoints import monkhorst_pack

from ase_spinml import get_spins
from ase_spinml.analysis import topological_charge
from ase_spinml.calculators.shells import Bonds
from ase_spinml.electrons import Ensemble, Exact, SDHamiltonian, hopping_blocks, spin_lattice
from ase_spinml.electrons.ensemble import fill, find_chemical_potential, grand_potential, occupations
from ase_spinml.electrons.exact import bond_density, diagonalize, site_density
from ase_spinml.electrons.lattices import LATTICES
from ase_spinml.electrons.sd import SIGMA, matrix_bonds, spinors
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions

NEIGHBOURS = {"chain": 2, "square": 4, "triangular": 6, "honeycomb": 3, "kagome": 4, "cubic": 6}


def hamiltonian(atoms, coupling, rashba=None, onsite=None):
    """Nearest-neighbour hopping 1."""
    bonds = Bonds(atoms, np.ones(len(atoms), bool), 1, 0.05)
    blocks = hopping_blocks(np.ones(len(bonds.i)))
    if rashba is not None:
        blocks = hopping_blocks(np.ones(len(bonds.i)), np.full(len(bonds.i), rashba), bonds.vectors(atoms))
    return SDHamiltonian(len(atoms), bonds.i, bonds.j, blocks, coupling, onsite, bonds.shifts)


def levels(atoms, coupling, twist=(0, 0, 0), **options):
    return np.linalg.eigvalsh(hamiltonian(atoms, coupling, **options).dense(get_spins(atoms), [twist])[0])


# lattices


@pytest.mark.parametrize("lattice", LATTICES)
def test_neighbours_are_one_apart_and_as_many_as_they_should_be(lattice):
    size = {1: (6,), 2: (4, 5), 3: (3, 4, 5)}[len(LATTICES[lattice][0])]
    atoms = spin_lattice(lattice, size)
    bonds = Bonds(atoms, np.ones(len(atoms), bool), 1, 0.05)
    np.testing.assert_allclose(np.linalg.norm(bonds.vectors(atoms), axis=1), 1.0, atol=1e-12)
    assert np.all(np.bincount(np.concatenate([bonds.i, bonds.j])) == NEIGHBOURS[lattice])
    assert len(atoms) == np.prod(size) * len(LATTICES[lattice][1])


def angles(atoms):
    """Cosines of neighbouring spins, sorted."""
    bonds, spins = Bonds(atoms, np.ones(len(atoms), bool), 1, 0.05), get_spins(atoms)
    return np.sort(np.sum(spins[bonds.i] * spins[bonds.j], axis=1))


@pytest.mark.parametrize(
    ("lattice", "state", "cosines"),
    [
        ("chain", "AFM", [-1]),
        ("square", "FM", [1]),
        ("square", "AFM", [-1]),
        ("honeycomb", "AFM", [-1]),
        ("square", "stripe", [-1, 1]),
        ("triangular", "stripe", [-1, -1, 1]),
        ("square", "flux", [0]),
        ("triangular", "120", [-0.5]),
        ("kagome", "120", [-0.5]),
        ("triangular", "tetrahedral", [-1 / 3]),
    ],
)
def test_angles_between_neighbours(lattice, state, cosines):
    atoms = spin_lattice(lattice, 6 if lattice == "chain" else (6, 6), state)
    found = angles(atoms).reshape(len(cosines), -1)
    np.testing.assert_allclose(found, np.broadcast_to(np.array(cosines)[:, None], found.shape), atol=1e-12)


def test_cubic_neel_order():
    np.testing.assert_allclose(angles(spin_lattice("cubic", (4, 2, 2), "AFM")), -1.0, atol=1e-12)


def test_tetrahedral_order_is_chiral():
    spins = get_spins(spin_lattice("triangular", (2, 2), "tetrahedral"))
    assert abs(spins[0] @ np.cross(spins[1], spins[2])) == pytest.approx(4 / (3 * np.sqrt(3)), abs=1e-12)


def test_spiral_and_120_degrees_are_the_same_thing():
    spiral = spin_lattice("triangular", (3, 3), "spiral", q=(1 / 3, 2 / 3))
    np.testing.assert_allclose(
        get_spins(spiral), get_spins(spin_lattice("triangular", (3, 3), "120")), rtol=0, atol=1e-12
    )


def test_wall_has_its_width_and_no_seam():
    open_end = get_spins(spin_lattice("chain", 40, "wall", pbc=False, width=3.0))[:, 2]
    np.testing.assert_allclose(open_end, -np.tanh((np.arange(40) - 19.5) / 3.0), atol=1e-12)
    ring = get_spins(spin_lattice("square", (40, 2), "wall", width=3.0)).reshape(40, 2, 3)[:, 0, 2]
    assert abs(np.diff(ring, append=ring[:1])).max() < 0.35
    assert np.count_nonzero(np.diff(np.sign(ring), append=np.sign(ring[:1]))) == 2


@pytest.mark.parametrize("lattice", ["square", "triangular", "honeycomb"])
def test_skyrmion_has_charge_minus_one(lattice):
    atoms = spin_lattice(lattice, (24, 24), "skyrmion", radius=5.0)
    assert topological_charge(atoms) == pytest.approx(-1, abs=1e-10)


def test_skyrmion_lattice_has_one_per_period():
    atoms = spin_lattice("triangular", (24, 16), "skyrmion lattice", period=8)
    assert topological_charge(atoms) == pytest.approx(-6, abs=1e-10)


def test_amorphous_sites_keep_their_distance():
    atoms = spin_lattice("amorphous", (4, 4, 4), "random", rng=1)
    distances = atoms.get_all_distances(mic=True)[np.triu_indices(64, 1)]
    assert len(atoms) == 64
    assert distances.min() >= 0.7
    assert len(spin_lattice("amorphous", (5, 5), rng=1)) == 25


def test_random_states_follow_the_seed():
    first, second = (get_spins(spin_lattice("square", (4, 4), "random", rng=seed)) for seed in (1, 1))
    np.testing.assert_array_equal(first, second)
    assert abs(first - get_spins(spin_lattice("square", (4, 4), "random", rng=2))).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hexagonal", (4, 4)), "Expected lattice to be one of chain, square, .*amorphous, got 'hexagonal'"),
        (("square", (4, 4), "neel"), "Expected state to be one of FM, AFM, .* got 'neel'"),
        (("triangular", (4, 4), "AFM"), "Expected a lattice of chain, square, honeycomb, cubic for the state 'AFM'"),
        (("triangular", (4, 4), "120"), r"Expected a size that is a multiple of 3 .* got \[4, 4\]"),
        (("square", (3, 4), "AFM"), r"Expected a size that is a multiple of 2 .* got \[3, 4\]"),
        (("square", (4, 4, 4)), "Expected size to be 2 whole numbers above zero for this lattice"),
        (("amorphous", 4), "Expected size to be 2 or 3 whole numbers"),
        (("square", (4, 4), "wall"), "Expected the options of the state 'wall', got {}: missing a required argument"),
    ],
)
def test_messages_of_lattices(arguments, message):
    with pytest.raises(InputError, match=message):
        spin_lattice(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": "spiral", "q": (0.5,)}, r"Expected q to be 2 numbers for this lattice, got \[0.5\]"),
        ({"state": "skyrmion", "radius": -1.0}, "Expected radius > 0 in Angstrom, got -1.0"),
        ({"state": "skyrmion lattice", "period": 5}, "Expected a whole number for period that divides the size"),
        ({"pbc": (True, False, True)}, "Expected pbc to be one bool or 2 for this lattice"),
    ],
)
def test_messages_of_options(options, message):
    with pytest.raises(InputError, match=message):
        spin_lattice("triangular", (4, 4), **options)


# Hamiltonian


@pytest.mark.parametrize("twist", [0.0, 0.25, 0.1])
def test_ferromagnetic_ring(twist):
    k = 2 * np.pi * (np.arange(8) + twist) / 8
    expected = np.sort(np.concatenate([-2 * np.cos(k) - 1.5, -2 * np.cos(k) + 1.5]))
    np.testing.assert_allclose(levels(spin_lattice("chain", 8), 1.5, (twist, 0, 0)), expected, atol=1e-12)


def test_neel_order_opens_a_gap():
    kx, ky = np.meshgrid(*[2 * np.pi * (np.arange(6) + shift) / 6 for shift in (0.2, 0.4)])
    bands = np.hypot(2 * np.cos(kx) + 2 * np.cos(ky), 3.0).ravel()
    found = levels(spin_lattice("square", (6, 6), "AFM"), 3.0, (0.2, 0.4, 0))
    np.testing.assert_allclose(found, np.sort(np.concatenate([-bands, bands])), atol=1e-12)


def test_spiral_in_its_own_frame():
    n, turns, coupling = 12, 2, 1.3
    k, half = 2 * np.pi * (np.arange(n) + turns / 2) / n, np.pi * turns / n  # half a spiral's wave vector
    middle, split = -2 * np.cos(k) * np.cos(half), np.hypot(2 * np.sin(k) * np.sin(half), coupling)
    found = levels(spin_lattice("chain", n, "spiral", q=(turns / n,)), coupling)
    np.testing.assert_allclose(found, np.sort(np.concatenate([middle - split, middle + split])), atol=1e-12)


def test_rashba_bands():
    kx, ky = np.meshgrid(*[2 * np.pi * (np.arange(4) + 0.1) / 4] * 2)
    band, split = -2 * (np.cos(kx) + np.cos(ky)), 2 * 0.3 * np.hypot(np.sin(kx), np.sin(ky))
    found = levels(spin_lattice("square", (4, 4)), 0.0, (0.1, 0.1, 0), rashba=0.3)
    np.testing.assert_allclose(found, np.sort(np.concatenate([band - split, band + split], None)), atol=1e-12)


def test_rashba_hopping_has_its_handedness():
    """On a square lattice at long waves 2 alpha (sigma x k)_z: with k along x the lower level has its spin along +y."""
    atoms = spin_lattice("square", (4, 4))
    matrix = hamiltonian(atoms, 0.0, rashba=0.3).dense(get_spins(atoms), [(0.02, 0, 0)])[0]
    values, vectors = np.linalg.eigh(matrix)
    k = 2 * np.pi * 0.02 / 4
    assert values[1] - values[0] == pytest.approx(4 * 0.3 * np.sin(k), abs=1e-12)
    spin = np.einsum("na,sab,nb->s", vectors[:, 0].reshape(-1, 2).conj(), SIGMA, vectors[:, 0].reshape(-1, 2)).real
    np.testing.assert_allclose(spin, [0, 1, 0], atol=1e-9)


def test_two_sites_of_double_exchange():
    for angle in (0.0, 0.7, 2.0, np.pi):
        spins = np.array([[0, 0, 1.0], [np.sin(angle), 0, np.cos(angle)]])
        two = SDHamiltonian(2, [0], [1], hopping_blocks([1.0]), np.inf)
        found = np.linalg.eigvalsh(two.dense(spins))
        np.testing.assert_allclose(found, [-np.cos(angle / 2), np.cos(angle / 2)], atol=1e-12)


def test_double_exchange_is_the_limit_of_strong_coupling():
    atoms = spin_lattice("square", (3, 4), "random", rng=3)
    limit = levels(atoms, np.inf, rashba=0.2)
    strong = levels(atoms, 1e6, rashba=0.2)[:12] + 1e6
    np.testing.assert_allclose(strong, limit, atol=2e-5)


@pytest.mark.parametrize("coupling", [2.0, np.inf])
def test_turning_all_spins_changes_nothing_without_rashba(coupling):
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    turned = atoms.copy()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned.arrays["initial_magmoms"] = get_spins(atoms) @ (rotation * np.linalg.det(rotation)).T
    np.testing.assert_allclose(levels(turned, coupling), levels(atoms, coupling), atol=1e-12)


def test_spinors_point_along_their_spins():
    spins = np.concatenate([random_directions(20, 0), [[0, 0, 1], [0, 0, -1], [1e-9, 0, -1]]])
    chi = spinors(spins)
    np.testing.assert_allclose(np.einsum("na,sab,nb->ns", chi.conj(), SIGMA, chi).real, spins, atol=1e-9)


@pytest.mark.parametrize("coupling", [2.0, np.inf])
def test_sparse_dense_and_batches_agree(coupling):
    atoms = spin_lattice("triangular", (2, 3), "random", rng=0)  # so small that sites have several bonds
    model = hamiltonian(atoms, coupling, rashba=0.2, onsite=np.linspace(-1, 1, 6))
    frames = np.array([random_directions(6, seed) for seed in range(3)])
    twists = monkhorst_pack((2, 2, 1))
    dense = model.dense(frames, twists)
    assert dense.shape == (3, 4, model.size, model.size)
    np.testing.assert_allclose(dense, dense.conj().swapaxes(-1, -2), atol=1e-15)
    for frame, row in zip(frames, dense, strict=True):
        for twist, matrix in zip(twists, row, strict=True):
            np.testing.assert_array_equal(model.sparse(frame, twist).toarray(), matrix)
    np.testing.assert_array_equal(model.dense(frames), model.dense(frames, np.zeros((1, 3)))[:, 0])


@pytest.mark.parametrize("coupling", [2.0, np.inf])
def test_bounds_hold_for_all_spins(coupling):
    atoms = spin_lattice("triangular", (4, 4))
    model = hamiltonian(atoms, coupling, rashba=0.2, onsite=np.linspace(-1, 1, 16))
    low, high = model.bounds(monkhorst_pack((3, 3, 1)))
    for spins in (get_spins(atoms), random_directions(16, 0)):
        found = np.linalg.eigvalsh(model.dense(spins, monkhorst_pack((3, 3, 1))))
        assert low < found.min() < found.max() < high
    assert high - low < 9.0 * 1.3 + 2.0 + (4.0 if np.isfinite(coupling) else 0.0)


def test_a_hopping_matrix_gives_the_same_levels():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(5, 5)) + 1j * rng.normal(size=(5, 5))
    matrix = matrix + matrix.conj().T
    np.fill_diagonal(matrix, 0)
    i, j, blocks = matrix_bonds(matrix)
    spins = np.zeros((5, 3))
    found = np.linalg.eigvalsh(SDHamiltonian(5, i, j, blocks, 1.0).dense(spins))
    np.testing.assert_allclose(found[::2], np.linalg.eigvalsh(-matrix), atol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0, 1.0], [0.5, 0]], "Expected a Hermitian hopping matrix, got one that differs from its adjoint by 0.5"),
        ([[0, 1j], [1j, 0]], "Expected a Hermitian hopping matrix, got one that differs from its adjoint by 2"),
        ([[1.0, 0], [0, 0]], "Expected a hopping matrix with a diagonal of zeros: give on-site energies as disorder"),
        (np.zeros((2, 3)), r"Expected a hopping matrix of shape \(N, N\), all finite, got shape \(2, 3\)"),
        ([[0, np.nan], [np.nan, 0]], "Expected a hopping matrix of shape"),
    ],
)
def test_messages_of_hopping_matrices(matrix, message):
    with pytest.raises(InputError, match=message):
        matrix_bonds(matrix)


# filling of levels


def test_occupations_and_potential_far_from_the_fermi_level():
    energies = np.array([-1e4, -1.0, 0.0, 1.0, 1e4])
    np.testing.assert_allclose(occupations(energies, 0.0, 0.5)[1:4], 1 / (1 + np.exp(energies[1:4] / 0.5)), rtol=1e-14)
    np.testing.assert_array_equal(occupations(energies, 0.0, 0.5)[[0, 4]], [1, 0])
    expected = [-1e4, -0.5 * np.log1p(np.exp(2.0)), -0.5 * np.log(2.0), -0.5 * np.log1p(np.exp(-2.0)), 0.0]
    np.testing.assert_allclose(grand_potential(energies, 0.0, 0.5), expected, rtol=1e-14)
    np.testing.assert_array_equal(grand_potential(energies, 0.0, 0.0), np.minimum(energies, 0.0))
    np.testing.assert_array_equal(occupations(energies, 0.0, 0.0), [1, 1, 0.5, 0, 0])


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("number", [0.01, 3.0, 7.7, 15.999])
def test_the_chemical_potential_gives_the_number(temperature, number):
    energies = np.random.default_rng(0).normal(size=(2, 16))
    mu, filled = fill(energies, Ensemble(temperature, n_electrons=number))
    assert filled.sum() / 2 == pytest.approx(number, abs=1e-8)
    np.testing.assert_allclose(filled, occupations(energies, mu, temperature), atol=1e-15)


def test_the_chemical_potential_of_an_insulator_lies_in_the_middle_of_its_gap():
    energies = np.array([[-3.0, -2.0, 4.0, 5.0]])
    for temperature in (0.0, 1e-3, 0.05):
        assert fill(energies, Ensemble(temperature, n_electrons=2.0))[0] == pytest.approx(1.0, abs=1e-12)


def test_degenerate_levels_share_electrons_at_zero_temperature():
    energies = np.array([[-1.0, 0.0, 0.0, 0.0, 2.0]])
    mu, filled = fill(energies, Ensemble(0.0, n_electrons=2.0))
    np.testing.assert_allclose(filled, [[1, 1 / 3, 1 / 3, 1 / 3, 0]], atol=1e-12)
    assert mu == pytest.approx(0.0, abs=1e-12)


def test_temperature_zero_is_the_limit():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=1)
    model, spins = hamiltonian(atoms, 2.0), get_spins(atoms)
    cold, colder = (Exact()(model, spins, Ensemble(T, n_electrons=8.0)) for T in (1e-3, 0.0))
    assert cold.energy == pytest.approx(colder.energy, abs=1e-10)
    np.testing.assert_allclose(cold.site, colder.site, atol=1e-8)


def test_free_energy_is_energy_less_entropy():
    levels_, temperature = np.array([[-1.0, 0.2, 0.3, 2.0]]), 0.4
    mu, f = fill(levels_, Ensemble(temperature, n_electrons=1.5))
    entropy = -np.sum(f * np.log(f) + (1 - f) * np.log(1 - f))
    free = grand_potential(levels_, mu, temperature).sum() + 1.5 * mu
    assert free == pytest.approx(float(np.sum(f * levels_)) - temperature * entropy, abs=1e-13)


def test_a_number_that_no_chemical_potential_gives():
    with pytest.raises(InputError, match=r"Expected a chemical potential that gives 1.5 electrons, got [12] at best"):
        find_chemical_potential(lambda mu: 1.0 if mu < 0 else 2.0, 1.5, 4, (-1.0, 1.0), 0.0)
    with pytest.raises(InputError, match="Expected a chemical potential that gives 3 electrons, got 1 at best: raise"):
        find_chemical_potential(lambda mu: 1.0, 3.0, 4, (-1.0, 1.0), 0.1)


# exact diagonalisation


@pytest.mark.parametrize("coupling", [2.0, np.inf])
def test_density_matrix_by_another_way(coupling):
    """rho = (1 + exp((H - mu)/T))^-1 by a matrix function; bonds with their phases."""
    from scipy.linalg import expm, inv

    atoms = spin_lattice("triangular", (2, 3), "random", rng=0)
    model = hamiltonian(atoms, coupling, rashba=0.2, onsite=np.linspace(-1, 1, 6))
    twist, spins = np.array([0.2, 0.3, 0.0]), get_spins(atoms)
    matrix = model.dense(spins, twist[None])[0]
    rho = inv(np.eye(len(matrix)) + expm((matrix - 0.4 * np.eye(len(matrix))) / 0.5))
    solution = Exact()(model, spins, Ensemble(0.5, chemical_potential=0.4), twist[None], "bond")
    o = model.orbitals
    blocks = rho.reshape(6, o, 6, o).swapaxes(1, 2)
    np.testing.assert_allclose(solution.site, blocks[np.arange(6), np.arange(6)], atol=1e-12)
    phases = np.exp(2j * np.pi * model.shifts @ twist)[:, None, None]
    np.testing.assert_allclose(solution.bond, blocks[model.j, model.i] * phases, atol=1e-12)
    pattern = model.sparse(spins)
    rows = np.repeat(np.arange(model.size), np.diff(pattern.indptr))
    site, bond = model.density(rho[rows, pattern.indices], twist)
    np.testing.assert_allclose(site, solution.site, atol=1e-12)
    np.testing.assert_allclose(bond, solution.bond, atol=1e-12)


@pytest.mark.parametrize("coupling", [2.0, np.inf])
def test_sum_rules(coupling):
    atoms = spin_lattice("square", (4, 4), "random", rng=2)
    onsite = np.random.default_rng(0).normal(size=16)
    model, spins = hamiltonian(atoms, coupling, rashba=0.1, onsite=onsite), get_spins(atoms)
    solution = Exact()(model, spins, Ensemble(0.0, n_electrons=9.0), monkhorst_pack((2, 2, 1)), "bond")
    density = np.einsum("naa->n", solution.site).real
    assert density.sum() == pytest.approx(9.0, abs=1e-10)
    assert density.min() > 0
    assert density.max() < model.orbitals
    eigenvalues = np.linalg.eigvalsh(solution.site)
    assert eigenvalues.min() > -1e-12
    assert eigenvalues.max() < 1 + 1e-12
    energy = model.bond_slopes(spins, solution.bond, model.blocks).sum() + onsite @ density
    if model.orbitals == 2:
        energy -= np.sum(spins * model.fields(spins, solution.site))
    assert energy == pytest.approx(solution.energy, abs=1e-10)


def test_frames_at_once_are_frames_one_by_one():
    atoms = spin_lattice("square", (3, 3))
    model = hamiltonian(atoms, 2.0)
    frames = np.array([random_directions(9, seed) for seed in range(3)])
    ensemble = Ensemble(0.1, n_electrons=7.0)
    together = Exact()(model, frames, ensemble, density="bond")
    assert together.energy.shape == (3,)
    assert together.bond.shape == (3, len(model.i), 2, 2)
    for k, frame in enumerate(frames):
        alone = Exact()(model, frame, ensemble, density="bond")
        np.testing.assert_array_equal(together.site[k], alone.site)
        np.testing.assert_array_equal(together.bond[k], alone.bond)
        assert together.chemical_potential[k] == alone.chemical_potential
    fields = model.fields(frames, together.site)
    np.testing.assert_array_equal(fields[1], model.fields(frames[1], together.site[1]))


def test_the_energy_alone_is_the_same():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    model, ensemble = hamiltonian(atoms, 2.0), Ensemble(0.1, n_electrons=7.0)
    with_fields, alone = (Exact()(model, get_spins(atoms), ensemble, density=name) for name in ("site", None))
    assert alone.site is None
    assert with_fields.energy == pytest.approx(alone.energy, abs=1e-12)


def test_twists_share_one_chemical_potential():
    """Nine twists of a 2 x 2 cell are the plain 6 x 6 lattice of a ferromagnet."""
    twists = np.array([(i / 3, j / 3, 0) for i in range(3) for j in range(3)])
    small, large = spin_lattice("triangular", (2, 2)), spin_lattice("triangular", (6, 6))
    few = Exact()(hamiltonian(small, 1.0), get_spins(small), Ensemble(0.1, n_electrons=2.3), twists)
    many = Exact()(hamiltonian(large, 1.0), get_spins(large), Ensemble(0.1, n_electrons=9 * 2.3))
    assert 9 * few.energy == pytest.approx(many.energy, abs=1e-11)
    np.testing.assert_allclose(few.site[0], many.site[0], atol=1e-12)


def test_density_of_states_counts_levels():
    atoms = spin_lattice("square", (4, 4), "AFM")
    solution = Exact()(hamiltonian(atoms, 3.0), get_spins(atoms), Ensemble(0.1, n_electrons=16.0), density=None)
    energies, density = Exact.density_of_states(solution, 16, 0.1, 800)
    assert np.trapezoid(density, energies) == pytest.approx(2.0, abs=1e-6)
    assert density[np.abs(energies) < 2.0].max() < 1e-8  # the gap


def test_devices():
    with pytest.raises(InputError, match="Expected device to be one that torch knows, 'cpu' or 'cuda', got 'gpu'"):
        Exact(device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="Expected a CUDA device for device='cuda', got none: use device='cpu'"):
            Exact(device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same():
    atoms = spin_lattice("triangular", (4, 4))
    frames = np.array([random_directions(16, seed) for seed in range(5)])
    arguments = (hamiltonian(atoms, 2.0), frames, Ensemble(0.05, n_electrons=13.0), monkhorst_pack((2, 1, 1)), "bond")
    there, here = Exact("cuda")(*arguments), Exact()(*arguments)
    np.testing.assert_allclose(there.energy, here.energy, atol=1e-10)
    np.testing.assert_allclose(there.site, here.site, atol=1e-9)
    np.testing.assert_allclose(there.bond, here.bond, atol=1e-9)


def test_densities_work_on_tensors_of_any_batch():
    matrices = np.random.default_rng(0).normal(size=(2, 6, 6))
    values, states = diagonalize(matrices + matrices.swapaxes(-1, -2) + 0j)
    filled = occupations(values, 0.1, 0.7)
    full = np.einsum("kan,kn,kbn->ab", states.numpy(), filled, states.numpy().conj()) / 2
    np.testing.assert_allclose(site_density(states, filled, 2)[1], full[2:4, 2:4], atol=1e-14)
    bond = bond_density(states, filled, 2, np.array([0]), np.array([2]), np.ones((2, 1)))
    np.testing.assert_allclose(bond[0], full[4:6, 0:2], atol=1e-14)
