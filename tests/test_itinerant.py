"""SDModel: energies of known phases, derivatives, dynamics, what it refuses."""

import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.mixing import SumCalculator
from ase.io import read

from ase_spinml import Heisenberg, SDModel, SpinDynamics, SpinLatticeDynamics, get_moments, get_spins, set_moments
from ase_spinml.electrons import Exact, spin_lattice
from ase_spinml.electrons.leads import SemiInfiniteLead
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, store_results
from ase_spinml.sampling import generate, perturbed_states

# energy per site above the first state, whose own energy comes first; in units of t, six by six twists
PHASES = {
    ("triangular", 1.0, 6.0): [-6.3502, ("120", 0), ("tetrahedral", 0.0317), ("stripe", 0.0351), ("FM", 0.350)],
    ("triangular", 0.5, 3.0): [-2.6238, ("tetrahedral", 0), ("stripe", 0.0300), ("120", 0.0895), ("FM", 0.1234)],
    ("triangular", 1.5, 0.5): [-1.2988, ("tetrahedral", 0), ("FM", 0.0019), ("stripe", 0.0080), ("120", 0.0412)],
    ("square", 1.0, 7.0): [-7.2739, ("AFM", 0), ("flux", 0.1314), ("stripe", 0.1331), ("FM", 0.2739)],
}


def energy_per_site(lattice, state, filling, coupling):
    atoms = spin_lattice(lattice, (6, 6), state)
    atoms.calc = SDModel(coupling=coupling, filling=filling, temperature=0.005, kpts=(6, 6, 1))
    return atoms.get_potential_energy() / len(atoms)


@pytest.mark.parametrize("case", PHASES, ids=lambda case: f"{case[0]}-{case[1]:g}-{case[2]:g}")
def test_energies_of_phases(case):
    lattice, filling, coupling = case
    lowest, *states = PHASES[case]
    found = [energy_per_site(lattice, state, filling, coupling) for state, _ in states]
    assert found[0] == pytest.approx(lowest, abs=5.1e-5)
    for energy, (_, above) in zip(found, states, strict=True):
        assert energy - found[0] == pytest.approx(above, abs=5.1e-4 if above == 0.350 else 5.1e-5)


def test_holes_make_the_square_lattice_ferromagnetic():
    ferromagnet = energy_per_site("square", "FM", 0.9, 7.0)
    assert ferromagnet == pytest.approx(-6.6402, abs=5.1e-5)
    assert ferromagnet < energy_per_site("square", "AFM", 0.9, 7.0)


def decaying(r):
    """Hopping that falls smoothly to zero at 2.4."""
    return np.where(r < 2.4, np.exp(-2.0 * (r - 1.0)) * np.cos(np.pi * np.minimum(r, 2.4) / 4.8) ** 4, 0.0)


def weaker(r):
    return 0.3 * decaying(r)


EVERYTHING = {
    "hopping": decaying,
    "rashba": weaker,
    "superexchange": weaker,
    "cutoff": 2.4,
    "anisotropy": 0.1,
    "axis": (1, 0, 1),
    "magnetic_field": (0.1, 0.2, 0.3),
    "disorder": np.linspace(-1, 1, 12),
    "temperature": 0.1,
}
MODELS = {
    "fixed filling": {},
    "fixed chemical potential": {"chemical_potential": 0.3},
    "twists": {"filling": 0.7, "kpts": (2, 2, 1)},
    "zero temperature": {"filling": 0.7, "temperature": 0.0, "kpts": (3, 1, 1)},
    "further shells and Rashba": {"hopping": [1, -0.3], "rashba": [0.4, 0.1], "kpts": (3, 1, 1)},
    "classical terms": {"superexchange": [0.1, 0.05], "anisotropy": -0.2, "magnetic_field": 0.3},
    "double exchange": {"coupling": np.inf, "filling": 0.6, "temperature": 0.05},
    "double exchange, fixed potential": {"coupling": np.inf, "chemical_potential": -0.5, "rashba": 0.3},
    "functions": {**EVERYTHING, "filling": 0.8},
    "functions, double exchange": {**EVERYTHING, "coupling": np.inf, "filling": 0.4, "kpts": (2, 2, 1)},
}


def disturbed(**options):
    """Twelve sites of a triangular lattice, displaced, with random moments of unequal lengths."""
    ideal = spin_lattice("triangular", (4, 3), "random", rng=1)
    atoms, rng = ideal.copy(), np.random.default_rng(0)
    set_moments(atoms, get_moments(ideal) * rng.uniform(0.5, 2.0, size=(12, 1)))
    atoms.positions += rng.normal(scale=0.05, size=(12, 3))
    atoms.calc = SDModel(**options, **({} if "cutoff" in options else {"reference": ideal}))
    return atoms


def slope(energy, step):
    """Central difference of fourth order."""
    near = [energy(n * step) for n in (-2, -1, 1, 2)]
    return (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * step)


@pytest.mark.parametrize("name", MODELS)
def test_fields_and_forces_are_derivatives(name):
    atoms = disturbed(**MODELS[name])
    fields = atoms.calc.get_property("exchange_fields", atoms)
    forces = atoms.get_forces()
    for site, axis in ((0, 0), (3, 1), (7, 2)):

        def with_moment(change, site=site, axis=axis):
            other = atoms.copy()
            other.arrays["initial_magmoms"][site, axis] += change
            return atoms.calc.get_property("energy", other)

        def displaced(change, site=site, axis=axis):
            other = atoms.copy()
            other.positions[site, axis] += change
            return atoms.calc.get_property("energy", other)

        assert fields[site, axis] == pytest.approx(-slope(with_moment, 1e-3), abs=1e-7)
        assert forces[site, axis] == pytest.approx(-slope(displaced, 1e-3), abs=1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)
    assert abs(fields).max() > 0.05
    assert (abs(forces).max() > 0.05) == ("cutoff" in MODELS[name] or "rashba" in MODELS[name])


@pytest.mark.parametrize("name", ["functions", "functions, double exchange", "further shells and Rashba"])
def test_stress_is_the_derivative_by_strain(name):
    atoms = disturbed(**MODELS[name])
    stress = atoms.get_stress(voigt=False)

    for row, column in ((0, 0), (1, 0), (1, 1)):

        def strained(change, row=row, column=column):
            deformation = np.eye(3)
            deformation[row, column] += 0.5 * change
            deformation[column, row] += 0.5 * change
            other = atoms.copy()
            other.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            return atoms.calc.get_property("energy", other)

        assert stress[row, column] * atoms.get_volume() == pytest.approx(slope(strained, 1e-3), abs=1e-7)


def test_only_directions_count():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    atoms.calc = SDModel()
    energy, fields = atoms.get_potential_energy(), atoms.calc.get_property("exchange_fields", atoms)
    set_moments(atoms, 2.5 * get_moments(atoms))
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)
    np.testing.assert_allclose(atoms.calc.get_property("exchange_fields", atoms), fields / 2.5, atol=1e-12)
    np.testing.assert_allclose(np.sum(fields * get_spins(atoms), axis=1), 0, atol=1e-12)


def test_sites_without_a_moment_hop_and_have_no_field():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    moments = get_moments(atoms)
    moments[[2, 5]] = 0.0
    set_moments(atoms, moments)
    atoms.calc = SDModel(superexchange=0.1, magnetic_field=0.2)
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert not fields[[2, 5]].any()
    assert fields[0].any()
    assert atoms.calc.get_property("site_density", atoms)[2] > 0.1


def test_without_hopping_every_site_is_by_itself():
    """Half filling: one electron along each spin, F = -J - T ln(...) in closed form."""
    atoms = spin_lattice("chain", 4, "random", rng=0)
    atoms.calc = SDModel(hopping=0.0, coupling=1.5, temperature=0.7)
    expected = -0.7 * (np.log1p(np.exp(1.5 / 0.7)) + np.log1p(np.exp(-1.5 / 0.7)))
    assert atoms.get_potential_energy() / 4 == pytest.approx(expected, abs=1e-12)


def test_classical_terms_are_those_of_heisenberg():
    """Superexchange is minus the constants of Heisenberg; their fields add up in a sum of calculators."""
    atoms = spin_lattice("square", (4, 4), "random", rng=0)
    together = SDModel(superexchange=[0.2, 0.1])
    parts = SumCalculator([SDModel(), Heisenberg([-0.2, -0.1])])
    assert together.get_property("energy", atoms) == pytest.approx(parts.get_property("energy", atoms), abs=1e-12)
    np.testing.assert_allclose(
        together.get_property("exchange_fields", atoms), parts.get_property("exchange_fields", atoms), atol=1e-12
    )


def test_the_energy_says_what_it_is():
    assert SDModel().potential == "free energy"
    assert SDModel(chemical_potential=0.0).potential == "grand potential"
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    free = SDModel(filling=0.8, temperature=0.2)
    energy, mu = (free.get_property(name, atoms) for name in ("energy", "chemical_potential"))
    grand = SDModel(chemical_potential=mu, temperature=0.2)
    assert grand.get_property("energy", atoms) == pytest.approx(energy - mu * 0.8 * 9, abs=1e-10)
    np.testing.assert_allclose(
        grand.get_property("exchange_fields", atoms), free.get_property("exchange_fields", atoms), atol=1e-9
    )
    assert free.get_property("free_energy", atoms) == pytest.approx(energy, abs=1e-12)


def test_only_what_is_asked_for_is_computed():
    asked = []

    class Watching(Exact):
        def __call__(self, hamiltonian, spins, ensemble, twists=None, density="site"):
            asked.append(density)
            return super().__call__(hamiltonian, spins, ensemble, twists, density)

    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    atoms.calc = SDModel(solver=Watching())
    for name in ("energy", "exchange_fields", "energy", "site_density", "forces", "stress"):
        atoms.calc.get_property(name, atoms)
    assert asked == [None, "site", "bond"]


def test_bond_energies_and_density_of_states():
    atoms = spin_lattice("square", (4, 4), "AFM")
    atoms.calc = SDModel(coupling=3.0)
    i, j, vectors, energies = atoms.calc.bond_energies(atoms)
    assert len(i) == len(j) == 32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0)
    site = atoms.calc.solve(atoms).site.real
    along = get_spins(atoms)[:, 2] @ (site[:, 0, 0] - site[:, 1, 1])
    assert energies.sum() - 3.0 * along == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    levels, density = atoms.calc.density_of_states(atoms, width=0.05)
    assert np.trapezoid(density, levels) == pytest.approx(2.0, abs=1e-6)
    filled = levels < 0
    band_energy = 16 * np.trapezoid((density * levels)[filled], levels[filled])
    assert band_energy == pytest.approx(atoms.get_potential_energy(), abs=1e-2)


def test_results_are_stored_with_the_frame():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=0)
    atoms.calc = SDModel()
    frame = store_results(atoms)
    np.testing.assert_array_equal(frame.arrays["exchange_fields"], atoms.calc.get_property("exchange_fields", atoms))
    assert frame.arrays["site_density"].sum() == pytest.approx(9.0, abs=1e-9)
    assert frame.info["chemical_potential"] == atoms.calc.get_property("chemical_potential", atoms)


def test_a_hopping_matrix_is_the_same_as_its_bonds():
    atoms = spin_lattice("chain", 6, "random", rng=0)
    matrix = np.roll(np.eye(6), 1, axis=0)
    by_matrix, by_shell = SDModel(matrix + matrix.T), SDModel(1.0)
    assert by_matrix.get_property("energy", atoms) == pytest.approx(by_shell.get_property("energy", atoms), abs=1e-12)
    assert not by_matrix.get_property("forces", atoms).any()


def test_an_amorphous_magnet():
    atoms = spin_lattice("amorphous", (3, 3, 3), "random", rng=0)
    atoms.calc = SDModel(decaying, coupling=2.0, filling=0.7, temperature=0.05, cutoff=2.4)
    assert np.isfinite(atoms.get_forces()).all()
    assert abs(atoms.calc.get_property("exchange_fields", atoms)).max() > 0.01


# dynamics


@pytest.mark.parametrize(
    "options",
    [{"coupling": 6.0}, {"coupling": 3.0, "filling": 0.5, "temperature": 0.05}, {"coupling": np.inf, "filling": 0.4}],
)
def test_dynamics_keeps_the_electronic_free_energy(options):
    atoms = spin_lattice("triangular", (4, 4), "tetrahedral")
    set_moments(atoms, cone(get_spins(atoms), 25.0, 0, filled=True))
    atoms.calc = SDModel(**options)
    start, total = atoms.get_potential_energy(), get_moments(atoms).sum(axis=0)
    dynamics = SpinDynamics(atoms, 0.05, gyromagnetic_ratio=1.0)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_potential_energy() - start))
    dynamics.run(100)
    assert abs(np.array(energies)).max() < 1e-6 * len(atoms)
    np.testing.assert_allclose(get_moments(atoms).sum(axis=0), total, atol=1e-9)


def test_damping_lowers_the_free_energy():
    atoms = spin_lattice("triangular", (3, 3), "random", rng=1)
    atoms.calc = SDModel()
    energies = []
    dynamics = SpinDynamics(atoms, 0.3, damping=0.3, gyromagnetic_ratio=1.0)
    dynamics.attach(lambda: energies.append(atoms.get_potential_energy()))
    dynamics.run(100)
    assert np.diff(energies).max() < 1e-9
    assert energies[-1] < energies[0] - 0.5


def test_a_spin_precesses_in_its_exchange_field():
    """Two sites: de/dt = -gamma e x H, about the sum of both spins, at the rate of the closed form."""
    atoms = spin_lattice("chain", 2, pbc=False)
    set_moments(atoms, [[0.3, 0, np.sqrt(1 - 0.09)], [-0.3, 0, np.sqrt(1 - 0.09)]])
    atoms.calc = SDModel(coupling=np.inf, filling=0.5, temperature=0.0)  # E = -cos(angle / 2), one electron
    start = get_spins(atoms)
    dynamics = SpinDynamics(atoms, 0.01, gyromagnetic_ratio=1.0)
    dynamics.run(100)
    cosine = start[0] @ start[1]
    exchange = 1 / (4 * np.sqrt(0.5 * (1 + cosine)))  # -dE/d(e1.e2), as E = -sqrt((1 + e1.e2)/2)
    turned = exchange * np.linalg.norm(start.sum(axis=0)) * 1.0  # H_1 = exchange e_2; e_1 turns about e_1 + e_2
    found = get_spins(atoms)
    expected = 0.3 * np.array([np.cos(turned), np.sin(turned)])
    np.testing.assert_allclose(found[0, :2], expected, atol=1e-5)
    np.testing.assert_allclose(found[0, 2], start[0, 2], atol=1e-9)


def test_atoms_and_spins_together_keep_the_total_energy():
    atoms = spin_lattice("triangular", (4, 4), "120", pbc=False)
    set_moments(atoms, cone(get_spins(atoms), 20.0, 0, filled=True))
    atoms.calc = SDModel(decaying, coupling=2.0, temperature=0.1, superexchange=weaker, cutoff=2.4)
    energies = []
    dynamics = SpinLatticeDynamics(atoms, 0.005, gyromagnetic_ratio=1.0)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(50)
    assert atoms.get_kinetic_energy() > 1e-2
    assert np.ptp(energies) < 1e-3 * atoms.get_kinetic_energy()


@pytest.mark.parametrize("coupling", [6.0, np.inf])
def test_spins_on_a_device_move_as_through_ase(coupling):
    results = []
    for device in (None, "cpu"):
        atoms = spin_lattice("triangular", (3, 3), "random", rng=1)
        set_moments(atoms, 1.7 * get_moments(atoms))
        atoms.calc = SDModel(coupling=coupling, filling=0.4, superexchange=0.1, magnetic_field=0.1)
        SpinDynamics(atoms, 0.1, damping=0.1, gyromagnetic_ratio=1.0, device=device).run(5)
        results.append(get_moments(atoms))
    np.testing.assert_allclose(results[0], results[1], atol=1e-9)


# currents


def test_driven_electrons_have_fields_and_no_energy(tmp_path):
    atoms = spin_lattice("chain", 6, "random", pbc=False, rng=0)
    leads = (SemiInfiniteLead(), SemiInfiniteLead())
    options = {"coupling": 1.0, "chemical_potential": 0.3, "temperature": 0.05, "solver": "negf", "leads": leads}
    still, driven = SDModel(**options), SDModel(**options, voltage=0.5)
    assert still.conservative
    assert not driven.conservative
    fields = [calc.get_property("exchange_fields", atoms) for calc in (still, driven)]
    assert abs(fields[0] - fields[1]).max() > 1e-3
    assert "energy" not in driven.implemented_properties
    assert "energy" in SDModel().implemented_properties
    with pytest.raises(PropertyNotImplementedError):
        driven.get_property("energy", atoms)
    generate(tmp_path / "train.xyz", perturbed_states(atoms, 10.0, rng=0), driven)
    [frame] = read(tmp_path / "train.xyz", ":")
    assert frame.calc is None
    assert frame.arrays["exchange_fields"].any()


# refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filling": 2.0}, "Expected a filling between 0 and 2 electrons per site, got 2"),
        ({"filling": -0.1}, "Expected a filling between 0 and 2 electrons per site, got -0.1"),
        ({"filling": 1.2, "coupling": np.inf}, "Expected a filling between 0 and 1 electrons per site, got 1.2"),
        ({"filling": 1.0, "chemical_potential": 0.0}, "Expected filling or chemical_potential, got both: give one"),
        ({"coupling": -np.inf}, "Expected coupling to be a number, or numpy.inf for double exchange, got -inf"),
        ({"temperature": -0.1}, "Expected temperature >= 0, got -0.1"),
        ({"hopping": "big"}, "Expected hopping to be a finite real number, a list of them by neighbour shell, or a"),
        ({"hopping": 1j}, "Expected hopping to be a finite real number"),
        ({"hopping": [[0, 1], [0.5, 0]]}, "Expected a Hermitian hopping matrix, got one that differs"),
        ({"hopping": np.eye(2)[::-1], "rashba": 0.1}, "Expected hopping by shell or as a function with rashba, got a"),
        ({"hopping": decaying}, "Expected cutoff > 0 in Angstrom with functions of the distance, got None"),
        ({"cutoff": 2.0}, "Expected a cutoff with functions of the distance, got hopping by shell: leave it out"),
        ({"hopping": decaying, "rashba": 0.1, "cutoff": 2.0}, "Expected all couplings by shell or all as functions"),
        ({"kpts": (0, 1, 1)}, r"Expected kpts to be three whole numbers above zero or k-points \(K, 3\), got \[0, 1"),
        ({"magnetic_field": (0, 1)}, r"Expected magnetic_field to be one or three finite numbers, got \[0.0, 1.0\]"),
        ({"solver": "magic"}, "Expected solver to be one of exact, kpm, negf, got 'magic'"),
        ({"solver": "negf"}, r"Expected leads=\(left, right\) for solver 'negf', got none"),
        ({"solver": "exact", "voltage": 0.5}, "Expected no voltage with the equilibrium solver 'exact', got voltage="),
        ({"solver": "kpm", "voltage": 0.5}, "Expected no voltage with the equilibrium solver 'kpm', got voltage=0.5"),
        ({"solver": "exact", "moments": 5}, "Expected the options of solver 'exact', got {'moments': 5}: got an"),
        ({"solver": Exact(), "device": "cpu"}, "Expected a solver by name with options of its own, got both an"),
    ],
)
def test_messages_of_parameters(options, message):
    with pytest.raises(InputError, match=message):
        SDModel(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kpts": (2, 2, 2)},
            r"Expected k-points of zero along directions that are not periodic, got kpts along \[2\]",
        ),
        ({"disorder": [1.0]}, r"Expected disorder of shape \(9,\), one energy per site, got shape \(1,\)"),
        ({"hopping": np.eye(2)[::-1]}, "Expected 2 sites, as the hopping matrix has, got 9 atoms"),
        ({"hopping": lambda r: 1j * r, "cutoff": 1.5}, "Expected hopping as a function to give one finite real number"),
    ],
)
def test_messages_of_frames(options, message):
    atoms = spin_lattice("triangular", (3, 3))
    with pytest.raises(InputError, match=message):
        SDModel(**options).get_property("energy", atoms)


def test_double_exchange_needs_a_spin_everywhere():
    atoms = spin_lattice("triangular", (3, 3))
    atoms.arrays["initial_magmoms"][3] = 0
    with pytest.raises(InputError, match="Expected a moment on every site for double exchange, got zeros: use a"):
        SDModel(coupling=np.inf).get_property("energy", atoms)


def test_a_reference_has_to_fit():
    model = SDModel(reference=spin_lattice("triangular", (3, 3)))
    with pytest.raises(
        InputError, match=r"Expected a frame that fits the reference X9 .* got X16 that does not: give it"
    ):
        model.get_property("energy", spin_lattice("triangular", (4, 4)))
