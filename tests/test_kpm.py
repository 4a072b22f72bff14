"""The kernel polynomial method: series, vectors, recursion, energies and fields beside exact diagonalisation."""

import time

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import eval_chebyt

from ase_spinml import SDModel, SpinDynamics, get_moments, get_spins, set_moments
from ase_spinml.calculators.shells import Bonds
from ase_spinml.electrons import KPM, Ensemble, Exact, SDHamiltonian, hopping_blocks, spin_lattice
from ase_spinml.electrons.chebyshev import Series, jackson_kernel, step_coefficients
from ase_spinml.electrons.ensemble import grand_potential, occupations
from ase_spinml.electrons.probing import colour, neighbourhoods, probing_vectors, random_vectors
from ase_spinml.errors import InputError
from ase_spinml.moments import cone


def hamiltonian(atoms, coupling, rashba=None):
    bonds = Bonds(atoms, np.ones(len(atoms), bool), 1, 0.05)
    rashba = None if rashba is None else np.full(len(bonds.i), rashba)
    blocks = hopping_blocks(np.ones(len(bonds.i)), rashba, bonds.vectors(atoms))
    return SDHamiltonian(len(atoms), bonds.i, bonds.j, blocks, coupling, None, bonds.shifts)


def relative_error(found, exact):
    return np.linalg.norm(found - exact, axis=1).mean() / np.linalg.norm(exact, axis=1).mean()


# series


@pytest.mark.parametrize("potential", [True, False])
def test_series_of_the_step_in_closed_form(potential):
    x = 0.3
    found = step_coefficients(x, 8, potential)
    for m in range(8):

        def integrand(angle, m=m):
            below = np.cos(angle) - x if potential else 1.0
            return below * np.cos(m * angle)

        expected = quad(integrand, np.arccos(x), np.pi)[0] * (1 if m == 0 else 2) / np.pi
        assert found[m] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("potential", [True, False])
def test_series_of_fermi_functions_converges(potential):
    series = Series(400, -3.0, 5.0, 0.1, "dirichlet")
    energies = np.linspace(-2.9, 4.9, 50)
    terms = eval_chebyt(np.arange(400)[:, None], (energies - 1.0) / 4.0)
    expected = (grand_potential if potential else occupations)(energies, 0.4, 0.1)
    np.testing.assert_allclose(series.weights(0.4, potential) @ terms, expected, atol=1e-11)


def test_cold_series_approach_the_step():
    for potential in (True, False):
        warm = Series(64, -3.0, 5.0, 1e-4, "dirichlet").weights(0.4, potential)
        cold = Series(64, -3.0, 5.0, 0.0, "dirichlet").weights(0.4, potential)
        np.testing.assert_allclose(warm, cold, atol=1e-6)


def test_jacksons_kernel_gives_a_positive_density_of_the_stated_width():
    n = 200
    moments = eval_chebyt(np.arange(n), 0.0)  # one level in the middle
    energies, density = Series(n, -1.0, 1.0, 0.0).density_of_states(moments, 4000)
    assert density.min() > -1e-12
    assert np.trapezoid(density, energies) == pytest.approx(1.0, abs=1e-6)
    width = np.sqrt(np.trapezoid(density * energies**2, energies))
    assert width == pytest.approx(np.pi / n, rel=0.02)
    assert jackson_kernel(n)[0] == pytest.approx(1.0)


def test_the_kernel_follows_the_temperature():
    assert np.all(Series(512, -10.0, 10.0, 0.1).damping == 1.0)
    np.testing.assert_array_equal(Series(512, -10.0, 10.0, 0.001).damping, jackson_kernel(512))


# vectors


def test_sites_of_one_colour_are_far_apart():
    atoms = spin_lattice("triangular", (12, 12))
    model = hamiltonian(atoms, 1.0)
    near = neighbourhoods(144, model.i, model.j, 3)
    assert np.all(np.diff(near.indptr) == 37)  # a hexagon of three rings
    colours = colour(near)
    for site in range(144):
        same = colours[near.indices[near.indptr[site] : near.indptr[site + 1]]] == colours[site]
        assert np.count_nonzero(same) == 1
    assert colours.max() + 1 <= 16  # the densest packing has 12 and fits here; one site at a time comes close


def test_vectors_resolve_the_identity():
    colours = np.array([0, 1, 0, 2])
    vectors = probing_vectors(colours, 2, np.random.default_rng(0))
    assert vectors.shape == (8, 6)
    np.testing.assert_allclose(np.sum(abs(vectors) ** 2, axis=1), 1.0, atol=1e-14)
    overlap = vectors @ vectors.conj().T
    assert abs(overlap[0, 2]) == 0.0  # sites of different colours
    assert abs(overlap[0, 1]) == 0.0  # orbitals
    assert abs(overlap[0, 4]) == pytest.approx(1.0)  # what probing lets through
    np.testing.assert_allclose(np.sum(abs(random_vectors(8, 5, np.random.default_rng(0))) ** 2), 8.0, atol=1e-12)


# the solver


@pytest.mark.parametrize(
    ("coupling", "ensemble"),
    [
        (2.0, Ensemble(0.2, n_electrons=14.0)),
        (2.0, Ensemble(0.2, chemical_potential=-1.0)),
        (np.inf, Ensemble(0.2, n_electrons=7.0)),
    ],
)
def test_complete_vectors_and_a_converged_series_are_exact(coupling, ensemble):
    atoms = spin_lattice("triangular", (4, 4), "random", rng=0)
    model, spins = hamiltonian(atoms, coupling, rashba=0.2), get_spins(atoms)
    twists = np.array([[0.1, 0.2, 0], [0.3, -0.4, 0]])
    exact = Exact()(model, spins, ensemble, twists, "bond")
    found = KPM(600, probing=4)(model, spins, ensemble, twists, "bond")  # all sites near all others
    assert found.energy == pytest.approx(exact.energy, abs=1e-9)
    assert found.chemical_potential == pytest.approx(exact.chemical_potential, abs=1e-9)
    assert found.n_electrons == pytest.approx(exact.n_electrons, abs=1e-9)
    np.testing.assert_allclose(found.site, exact.site, atol=1e-8)
    np.testing.assert_allclose(found.bond, exact.bond, atol=1e-8)


def test_one_region_of_all_sites_is_exact_too():
    atoms = spin_lattice("triangular", (4, 4), "random", rng=0)
    model, spins, ensemble = hamiltonian(atoms, 2.0), get_spins(atoms), Ensemble(0.2, n_electrons=14.0)
    exact = Exact()(model, spins, ensemble, density="bond")
    found = KPM(600, truncation=4)(model, spins, ensemble, density="bond")
    assert found.energy == pytest.approx(exact.energy, abs=1e-9)
    np.testing.assert_allclose(found.site, exact.site, atol=1e-8)
    np.testing.assert_allclose(found.bond, exact.bond, atol=1e-8)


@pytest.mark.parametrize("kind", [{"random": 3}, {"probing": 2}, {"truncation": 1}])
@pytest.mark.parametrize("fixed", [{"filling": 0.8}, {"chemical_potential": 0.3}])
@pytest.mark.parametrize("kernel", ["jackson", "dirichlet"])
def test_fields_are_derivatives_of_the_estimated_energy(kind, fixed, kernel):
    """However rough the estimate."""
    atoms = spin_lattice("triangular", (6, 6), "random", rng=0)
    options = {"coupling": 2.0, "rashba": 0.3, "temperature": 0.1, "kpts": (2, 1, 1)}
    calc = SDModel(solver="kpm", moments=32, kernel=kernel, **kind, **fixed, **options)
    fields = calc.get_property("exchange_fields", atoms)

    def energy(change):
        other = atoms.copy()
        other.arrays["initial_magmoms"][5, 1] += change
        return calc.get_property("energy", other)

    near = [energy(n * 1e-3) for n in (-2, -1, 1, 2)]
    assert fields[5, 1] == pytest.approx(-(near[0] - 8 * near[1] + 8 * near[2] - near[3]) / 0.012, abs=1e-7)


def test_forces_are_derivatives_of_the_estimated_energy():
    atoms = spin_lattice("amorphous", (5, 5), "random", rng=0)

    def hopping(r):
        return np.where(r < 1.8, np.cos(np.pi * np.minimum(r, 1.8) / 3.6) ** 4, 0.0)

    solver = KPM(32, truncation=2, bounds=(-8, 8))
    calc = SDModel(hopping, 2.0, filling=0.8, temperature=0.1, cutoff=1.8, solver=solver)
    forces = calc.get_property("forces", atoms)

    def energy(change):
        other = atoms.copy()
        other.positions[3, 0] += change
        return calc.get_property("energy", other)

    near = [energy(n * 1e-3) for n in (-2, -1, 1, 2)]
    assert forces[3, 0] == pytest.approx(-(near[0] - 8 * near[1] + 8 * near[2] - near[3]) / 0.012, abs=1e-7)


def test_the_density_matrix_falls_short_of_nothing():
    """Levels of rho_ii between 0 and 1, and as many electrons as there are, to the resolution."""
    atoms = spin_lattice("triangular", (12, 12), "random", rng=0)
    calc = SDModel(solver="kpm")
    site = calc.solve(atoms).site
    filled = np.linalg.eigvalsh(site)
    assert filled.min() > -1e-4
    assert filled.max() < 1 + 1e-4
    assert np.einsum("naa->", site).real == pytest.approx(144.0, abs=1e-2)


@pytest.fixture(scope="module")
def large():
    """Triangular lattice of 24 x 24 random spins, n = 1, J = 6, and its exact fields and free energy."""
    atoms = spin_lattice("triangular", (24, 24), "random", rng=0)
    calc = SDModel()
    return atoms, calc.get_property("exchange_fields", atoms), calc.get_property("energy", atoms)


def test_fields_on_24x24(large):
    atoms, exact, energy = large
    calc = SDModel(solver="kpm")
    assert relative_error(calc.get_property("exchange_fields", atoms), exact) < 1e-3
    assert calc.get_property("energy", atoms) == pytest.approx(energy, abs=2e-4 * 576)


def test_truncation_on_24x24(large):
    atoms, exact, _ = large
    calc = SDModel(solver="kpm", moments=256, truncation=4)
    assert relative_error(calc.get_property("exchange_fields", atoms), exact) < 1e-3


def test_random_vectors_are_right_on_average():
    atoms = spin_lattice("square", (8, 8), "random", rng=0)
    exact = SDModel(temperature=0.2).get_property("exchange_fields", atoms)
    found = [
        SDModel(temperature=0.2, solver=KPM(256, random=64, rng=seed)).get_property("exchange_fields", atoms)
        for seed in range(20)
    ]
    error = np.std(found, axis=0).mean() / np.sqrt(20)
    assert abs(np.mean(found, axis=0) - exact).mean() < 1.5 * error


def test_a_doped_metal_needs_more_vectors_and_gets_better_with_them():
    atoms = spin_lattice("square", (12, 12), "AFM")
    set_moments(atoms, cone(get_spins(atoms), 40.0, 0, filled=True))
    options = {"coupling": 2.0, "filling": 0.9, "temperature": 0.1}
    exact = SDModel(**options).get_property("exchange_fields", atoms)
    errors = [
        relative_error(SDModel(solver=KPM(256, probing), **options).get_property("exchange_fields", atoms), exact)
        for probing in (2, 4, 12)
    ]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 1e-4  # every site a colour of its own


def test_dynamics_keeps_the_estimated_energy():
    atoms = spin_lattice("triangular", (6, 6), "120")
    set_moments(atoms, cone(get_spins(atoms), 25.0, 0, filled=True))
    atoms.calc = SDModel(solver="kpm", moments=64, probing=2)
    start, energies = atoms.get_potential_energy(), []
    dynamics = SpinDynamics(atoms, 0.1, gyromagnetic_ratio=1.0)
    dynamics.attach(lambda: energies.append(atoms.get_potential_energy() - start))
    dynamics.run(30)
    assert abs(np.array(energies)).max() < 1e-6 * len(atoms)


def test_vectors_stay_the_same_while_atoms_vibrate():
    atoms = spin_lattice("triangular", (6, 6), "random", rng=0)
    calc = SDModel(solver=KPM(32, random=4, bounds=(-20, 20)), reference=atoms)
    first = calc.get_property("energy", atoms)
    moved = atoms.copy()
    moved.positions[0, 0] += 0.1
    assert calc.get_property("energy", moved) == pytest.approx(first, abs=1e-9)
    other = SDModel(solver=KPM(32, random=4, bounds=(-20, 20), rng=1)).get_property("energy", atoms)
    assert abs(other - first) > 1e-3


def test_density_of_states_has_the_gap():
    atoms = spin_lattice("square", (12, 12), "AFM")
    calc = SDModel(coupling=3.0, solver=KPM(256, probing=6))
    energies, density = calc.density_of_states(atoms, points=2000)
    assert np.trapezoid(density, energies) == pytest.approx(2.0, abs=1e-3)
    assert density[abs(energies) < 2.5].max() < 1e-3
    assert density.max() > 0.3


def test_get_moments_are_left_alone():
    atoms = spin_lattice("triangular", (4, 4), "random", rng=0)
    before = get_moments(atoms)
    SDModel(solver="kpm", moments=16).get_property("exchange_fields", atoms)
    np.testing.assert_array_equal(get_moments(atoms), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moments": 2.5}, "Expected moments to be a whole number of at least 4, got 2.5"),
        ({"probing": 0}, "Expected probing to be a whole number of at least 1, got 0"),
        ({"random": -3}, "Expected random to be a whole number of at least 1, got -3"),
        ({"random": 3, "truncation": 2}, "Expected random vectors or a truncation, got both: give one of them"),
        ({"kernel": "lorentz"}, "Expected kernel to be 'jackson', 'dirichlet' or None, got 'lorentz'"),
        ({"bounds": (1, -1)}, r"Expected bounds to be two energies, the lower one first, got \(1, -1\)"),
    ],
)
def test_messages_of_parameters(options, message):
    with pytest.raises(InputError, match=message):
        SDModel(solver="kpm", **options)


@pytest.mark.parametrize("moments", [32, 512])
def test_levels_outside_the_bounds_are_refused(moments):
    atoms = spin_lattice("triangular", (4, 4))
    calc = SDModel(solver="kpm", moments=moments, bounds=(-9.0, 9.0))  # the lowest level is at -12
    with pytest.raises(InputError, match="Expected all levels between the bounds -9 and 9, got Chebyshev moments that"):
        calc.get_property("energy", atoms)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", [{"probing": 4}, {"truncation": 3}])
def test_a_cuda_device_gives_the_same(kind):
    atoms = spin_lattice("triangular", (8, 8), "random", rng=0)
    there, here = (
        SDModel(solver="kpm", device=device, moments=64, **kind).get_property("exchange_fields", atoms)
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(there, here, atol=1e-10)


@pytest.mark.physical
def test_time_is_linear_in_the_number_of_sites():
    seconds = []
    for side in (50, 100, 200):
        atoms = spin_lattice("triangular", (side, side), "random", rng=0)
        calc = SDModel(solver="kpm", moments=64, random=16)
        calc.get_property("energy", atoms)
        start = time.process_time()
        calc.get_property("exchange_fields", atoms)
        seconds.append(time.process_time() - start)
    assert seconds[2] < 1.5 * 4 * seconds[1]
    assert seconds[2] < 2.0 * 16 * seconds[0]
