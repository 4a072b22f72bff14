"""Heisenberg, Zeeman and NonMagnetic: closed forms, derivatives, shells that stay with their atoms, sums of terms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.mixing import SumCalculator
from ase.calculators.tip3p import TIP3P

from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.calculators.shells import find_shells
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins, random_directions, rotate, set_moments, spin_spiral
from ase_spinml.units import MU_B


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def crystal(structure="bcc", repeat=2, a=2.87, lengths=2.2):
    """Crystal with one species and ferromagnetic moments of the given lengths along z."""
    atoms = bulk("Fe", structure, a=a, cubic=structure != "sc") * repeat
    set_moments(atoms, np.broadcast_to(lengths, len(atoms)), axis=(0, 0, 1))
    return atoms


def chain(n, directions, lengths=1.0, a=2.5):
    atoms = Atoms(
        f"Fe{n}", positions=a * np.outer(np.arange(n), [1, 0, 0]), cell=[n * a, 20, 20], pbc=(True, False, False)
    )
    set_moments(atoms, np.reshape(lengths, (-1, 1)) * np.broadcast_to(directions, (n, 3)))
    return atoms


def disordered(rng, structure="bcc", repeat=2):
    """Vibrating, strained crystal with random directions, unequal lengths and one non-magnetic atom."""
    ideal = crystal(structure, repeat)
    n = len(ideal)
    moments = rng.uniform(0.5, 2.5, n)[:, None] * random_directions(n, rng)
    moments[1] = 0
    set_moments(ideal, moments)
    atoms = ideal.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.08, rng=rng)
    return ideal, atoms


def numerical_fields(atoms, calc, eps=2e-3):
    """Five-point differences of the energy in the moment components."""
    moments, fields = get_moments(atoms), np.zeros((len(atoms), 3))
    for index in np.ndindex(moments.shape):
        for step, weight in [(1, 8), (-1, -8), (2, -1), (-2, 1)]:
            trial = moments.copy()
            trial[index] += step * eps
            shifted = atoms.copy()
            set_moments(shifted, trial)
            fields[index] -= weight * calc.get_property("energy", shifted) / (12 * eps)
    return fields


def assert_relative(value, expected, tolerance):
    assert np.abs(value - expected).max() <= tolerance * np.abs(expected).max()


# --- closed forms ---


@pytest.mark.parametrize(
    ("structure", "counts"),
    [("sc", [6, 12, 8, 6, 24]), ("bcc", [8, 6, 12, 24, 8]), ("fcc", [12, 6, 24, 12, 24])],
)
@pytest.mark.parametrize("repeat", [1, 2, 3])
def test_shells_of_the_cubic_lattices(structure, counts, repeat):
    atoms = crystal(structure, repeat)
    for shell, count in enumerate(counts):
        exchange = np.zeros(5)
        exchange[shell] = 0.01
        energy = Heisenberg(exchange).get_property("energy", atoms)
        assert energy == pytest.approx(-0.01 * count / 2 * len(atoms), rel=1e-13)


def test_a_bond_is_listed_once_and_bonds_to_the_own_image_count():
    i, j, shifts, shell, shortest = find_shells(np.zeros((1, 3)), 2.5 * np.eye(3), [True] * 3, 1, 0.05)
    assert i.tolist() == j.tolist() == [0, 0, 0]
    assert len({tuple(np.abs(s)) for s in shifts}) == 3
    assert shell.tolist() == [0, 0, 0]
    assert shortest == 2.5


def test_ferromagnet_antiferromagnet_and_their_order():
    up = chain(4, (0, 0, 1))
    staggered = chain(4, [(0, 0, 1), (0, 0, -1)] * 2)
    calc = Heisenberg([0.02])
    assert calc.get_property("energy", up) == pytest.approx(-0.08)
    assert calc.get_property("energy", staggered) == pytest.approx(0.08)
    np.testing.assert_allclose(calc.get_property("exchange_fields", staggered), 0, atol=1e-18)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("axis", [(1, 0, 0), (-1, 0, 0)])
def test_spiral_energy_of_a_chain(turns, axis):
    n, j1, j2, d1, d2, b1 = 12, 0.013, -0.004, 0.003, 0.001, 0.002
    atoms = chain(n, (0, 0, 1))
    set_moments(atoms, spin_spiral(atoms, (turns, 0, 0), axis=axis))
    k = 2 * np.pi * turns / n
    # neighbours turn by k about the axis: e_i x e_j = sin(k) axis, and D_ij points along +x
    expected = -n * (
        j1 * np.cos(k) + j2 * np.cos(2 * k) + axis[0] * (d1 * np.sin(k) + d2 * np.sin(2 * k)) + b1 * np.cos(k) ** 2
    )
    energy = Heisenberg([j1, j2], dmi=[d1, d2], biquadratic=[b1]).get_property("energy", atoms)
    assert energy == pytest.approx(expected, rel=1e-12)


def test_sign_of_the_dmi():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2]])
    set_moments(atoms, [[1, 0, 0], [0, 3, 0]])  # e_1 x e_2 = +z = direction of the bond
    calc = Heisenberg(dmi=[0.05])
    assert calc.get_property("energy", atoms) == pytest.approx(-0.05)
    atoms = atoms[::-1]
    assert calc.get_property("energy", atoms) == pytest.approx(-0.05)
    atoms.positions[:, 2] *= -1
    assert Heisenberg(dmi=[0.05]).get_property("energy", atoms) == pytest.approx(0.05)


def test_field_pulls_neighbours_parallel_and_shrinks_with_the_own_moment():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2]])
    set_moments(atoms, [[2, 0, 0], [0, 0, 0.5]])
    fields = Heisenberg([0.1]).get_property("exchange_fields", atoms)
    np.testing.assert_allclose(fields, [[0, 0, 0.1 / 2], [0.1 / 0.5, 0, 0]], rtol=1e-15)


def test_zeeman_is_lowest_along_the_field_and_reports_the_full_field():
    field = np.array([0, 3.0, 4.0])
    atoms = chain(3, [(0, 3, 4), (0, 4, -3), (0, 0, 0)], lengths=[[0.4], [0.2], [1]])
    calc = Zeeman(field)
    assert calc.get_property("energy", atoms) == pytest.approx(-2 * 5 * MU_B, rel=1e-14)
    np.testing.assert_allclose(calc.get_property("energies", atoms), [-10 * MU_B, 0, 0], rtol=1e-14, atol=1e-18)
    expected = np.array([MU_B * field, MU_B * field, np.zeros(3)])
    np.testing.assert_array_equal(calc.get_property("exchange_fields", atoms), expected)
    assert pytest.approx(5.7883818e-5, rel=1e-7) == MU_B
    rotate(atoms, np.diag([-1.0, -1.0, 1.0]))
    set_moments(atoms, -get_moments(atoms))
    assert calc.get_property("energy", atoms) > -10 * MU_B


# --- derivatives and symmetries ---


TERMS = {
    "exchange": {"exchange": [0.012, -0.005, 0.002]},
    "dmi": {"dmi": [0.004, 0.007]},
    "biquadratic": {"biquadratic": [0.003, 0.001]},
    "all": {"exchange": [0.012, -0.005, 0.002], "dmi": [0.004, 0.007], "biquadratic": [0.003]},
}


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize(("structure", "repeat"), [("bcc", 2), ("bcc", 1), ("sc", (2, 2, 1))])
def test_fields_are_minus_the_derivative_in_the_moments(terms, structure, repeat, rng):
    ideal, atoms = disordered(rng, structure, repeat)
    if repeat == 1:
        set_moments(ideal, random_directions(2, rng))
    set_moments(atoms, get_moments(ideal))
    calc = Heisenberg(**terms, reference=ideal)
    fields = calc.get_property("exchange_fields", atoms)
    magnetic = get_moments(atoms).any(axis=1)
    numerical = numerical_fields(atoms[magnetic], Heisenberg(**terms, reference=ideal[magnetic]))
    assert_relative(fields[magnetic], numerical, 1e-8)
    assert not fields[~magnetic].any()
    np.testing.assert_allclose(np.sum(fields * get_spins(atoms), axis=1), 0, atol=1e-16)


def test_zeeman_field_is_minus_the_derivative_in_the_moments(rng):
    atoms = chain(3, random_directions(3, rng), lengths=[[1.5], [0.3], [2]])
    calc = Zeeman((100, -200, 300))
    assert_relative(calc.get_property("exchange_fields", atoms), numerical_fields(atoms, calc), 1e-8)


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_forces_and_stress_are_derivatives_in_positions_and_strain(terms, rng):
    ideal, atoms = disordered(rng)
    atoms.calc = Heisenberg(**terms, reference=ideal)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-4), atol=1e-8)
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, eps=1e-5), atol=1e-9)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-15)
    assert np.abs(forces).max() > 1e-4 if "dmi" in terms else not forces.any()


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_energy_is_the_sum_of_the_energies_of_the_atoms(terms, rng):
    ideal, atoms = disordered(rng)
    calc = Heisenberg(**terms, reference=ideal)
    energies = calc.get_property("energies", atoms)
    assert energies.sum() == pytest.approx(calc.get_property("energy", atoms), rel=1e-13)
    assert calc.get_property("free_energy", atoms) == calc.get_property("energy", atoms)
    assert energies[1] == 0


def test_symmetries_of_the_terms(rng):
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    ideal, atoms = disordered(rng)

    def energy(terms, rotation, positions):
        turned, reference = atoms.copy(), ideal.copy()
        rotate(turned, rotation, positions=positions)
        rotate(reference, rotation, positions=positions)
        return Heisenberg(**terms, reference=reference).get_property("energy", turned)

    for name, terms in TERMS.items():
        start = energy(terms, np.eye(3), False)
        proper = np.linalg.det(matrix) * matrix
        assert energy(terms, proper, True) == pytest.approx(start, rel=1e-12)  # joint rotation
        if name in ("exchange", "biquadratic"):
            assert energy(terms, proper, False) == pytest.approx(start, rel=1e-12)  # spins alone
            assert energy(terms, -proper, True) == pytest.approx(start, rel=1e-12)  # mirror image
    start = energy(TERMS["dmi"], np.eye(3), False)
    assert energy(TERMS["dmi"], -np.eye(3), True) == pytest.approx(-start, rel=1e-12)  # the other enantiomer
    assert abs(energy(TERMS["dmi"], proper, False) - start) > 1e-4


def test_time_reversal_and_permutation(rng):
    ideal, atoms = disordered(rng)
    order = rng.permutation(len(atoms))
    calc = Heisenberg(**TERMS["all"], reference=ideal)
    energy, fields = calc.get_property("energy", atoms), calc.get_property("exchange_fields", atoms)
    other = Heisenberg(**TERMS["all"], reference=ideal[order])
    assert other.get_property("energy", atoms[order]) == pytest.approx(energy, rel=1e-13)
    np.testing.assert_allclose(other.get_property("exchange_fields", atoms[order]), fields[order], atol=1e-15)
    set_moments(atoms, -get_moments(atoms))
    assert calc.get_property("energy", atoms) == pytest.approx(energy, rel=1e-13)
    np.testing.assert_allclose(calc.get_property("exchange_fields", atoms), -fields, atol=1e-15)


def test_exchange_exerts_no_torque_on_the_total_spin(rng):
    ideal, atoms = disordered(rng)
    for terms in (TERMS["exchange"], TERMS["biquadratic"]):
        fields = Heisenberg(**terms, reference=ideal).get_property("exchange_fields", atoms)
        np.testing.assert_allclose(np.cross(get_moments(atoms), fields).sum(axis=0), 0, atol=1e-15)


# --- shells and frames ---


def test_vibrating_atoms_keep_their_shells(rng):
    atoms = crystal(repeat=3)
    calc = Heisenberg([0.01, 0.02])
    energy = calc.get_property("energy", atoms)
    atoms.rattle(0.15, rng=rng)
    atoms.set_cell(atoms.cell * [1.05, 0.97, 1.0], scale_atoms=True)
    assert calc.get_property("energy", atoms) == pytest.approx(energy, rel=1e-13)


def test_wrapping_and_drifting_change_nothing(rng):
    ideal, atoms = disordered(rng)
    calc = Heisenberg(**TERMS["all"], reference=ideal)
    energy, forces = calc.get_property("energy", atoms), calc.get_property("forces", atoms)
    for shift in ([0, 0, 0], [3.1, -1.2, 0.7], [2.87, 2.87, 2.87]):
        moved = atoms.copy()
        moved.positions += shift
        moved.wrap()
        assert calc.get_property("energy", moved) == pytest.approx(energy, rel=1e-12)
        np.testing.assert_allclose(calc.get_property("forces", moved), forces, atol=1e-14)


@pytest.mark.parametrize("change", ["size", "species", "sites", "pbc", "cell", "order"])
def test_another_structure_gets_its_own_shells(change, rng):
    atoms = crystal(repeat=(3, 2, 2))
    moments = get_moments(atoms)
    moments[0] = 0
    set_moments(atoms, moments)
    calc = Heisenberg([0.01, 0.003])
    calc.get_property("energy", atoms)
    other = {
        "size": lambda: crystal(repeat=2),
        "species": lambda: crystal("fcc", repeat=(3, 2, 1), a=3.6),
        "sites": lambda: crystal(repeat=(3, 2, 2)),
        "pbc": lambda: atoms,
        "cell": lambda: crystal(repeat=(2, 3, 2)),
        "order": lambda: atoms[rng.permutation(len(atoms))],
    }[change]()
    if change == "species":
        other.symbols[:] = "Ni"
    if change == "pbc":
        other.pbc = (True, True, False)
    fresh = Heisenberg([0.01, 0.003]).get_property("energy", other)
    assert calc.get_property("energy", other) == fresh


def test_only_magnetic_atoms_are_sites():
    atoms = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    set_moments(atoms, np.where(atoms.symbols == "Ni", 1.7, 0.0), axis=(1, 0, 0))
    assert Heisenberg([0.01]).get_property("energy", atoms) == pytest.approx(-0.01 * 6 * 4)


def test_a_restart_from_a_vibrating_frame_needs_the_reference(rng):
    ideal = crystal()
    hot = ideal.copy()
    hot.rattle(0.1, rng=rng)
    with pytest.raises(
        InputError, match=r"Expected neighbour shells that stand apart, got shell 1 with .*reference="
    ):
        Heisenberg([0.01]).get_property("energy", hot)
    calc = Heisenberg([0.01], reference=ideal)
    assert calc.get_property("energy", hot) == pytest.approx(-0.01 * 4 * len(hot))


def test_mixed_boundaries_and_missing_cell_vectors():
    for pbc in ((True, False, False), (True, True, False)):
        atoms = crystal("sc", (3, 3, 1), a=2.5)
        atoms.pbc = pbc
        bonds = {1: 15, 2: 18}[sum(pbc)]
        assert Heisenberg([0.01]).get_property("energy", atoms) == pytest.approx(-0.01 * bonds)
    wire = Atoms("Fe", cell=[2.5, 0, 0], pbc=(True, False, False))
    set_moments(wire, [[0, 0, 1]])
    calc = Heisenberg([0.01, 0.002])
    assert calc.get_property("energy", wire) == pytest.approx(-0.012)
    with pytest.raises(PropertyNotImplementedError):
        calc.get_property("stress", wire)


def test_frames_that_do_not_fit_the_reference_are_refused():
    calc = Heisenberg([0.01], reference=crystal())
    with pytest.raises(
        InputError, match=r"Expected a frame that fits the reference Fe16 .* got Fe54 that does not: give it"
    ):
        calc.get_property("energy", crystal(repeat=3))


def test_a_refused_frame_is_refused_again(rng):
    ideal = crystal()
    molten = ideal[rng.permutation(16)]
    molten.rattle(0.1, rng=rng)
    for calc in (Heisenberg([0.01], reference=ideal), Heisenberg([0.01])):
        calc.get_property("energy", ideal)
        for _ in range(2):
            with pytest.raises(InputError, match=r"Expected (a frame that fits|neighbour shells that stand apart)"):
                calc.get_property("energy", molten)
        assert calc.get_property("energy", ideal) == pytest.approx(-0.01 * 4 * 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected exchange, dmi or biquadratic constants by shell, got none: give a list of eV"),
        ({"exchange": 0.01}, "Expected exchange to be a list of finite numbers in eV, one per shell, got 0.01"),
        (
            {"dmi": [[0, 0, 1]]},
            r"Expected dmi to be a list of finite numbers in eV, one per shell, got \[\[0.0, 0.0, 1.0\]\]",
        ),
        ({"biquadratic": [np.nan]}, r"Expected biquadratic to be a list of finite numbers .* got \[nan\]"),
        ({"exchange": [0.01], "tolerance": 0}, "Expected a tolerance above zero in Angstrom, got 0"),
        ({"exchange": [0.01], "reference": Atoms("Cu")}, "Expected a frame with moments .* got Cu without"),
    ],
)
def test_unusable_constants_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Heisenberg(**arguments)


def test_more_constants_than_shells_are_refused():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2]])
    set_moments(atoms, [1, 1], axis=(0, 0, 1))
    with pytest.raises(
        InputError, match="Expected 2 neighbour shells, one per constant, got 2 magnetic sites with 1: give fewer"
    ):
        Heisenberg([0.01, 0.01]).get_property("energy", atoms)
    set_moments(atoms, np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"Expected 1 neighbour shells, .* got 0 magnetic sites with 0"):
        Heisenberg([0.01]).get_property("energy", atoms)


@pytest.mark.parametrize("field", [5.0, (0, 1), (0, 0, np.inf)])
def test_a_field_that_is_no_vector_is_refused(field):
    with pytest.raises(InputError, match="Expected field_T to be three finite numbers in tesla, got"):
        Zeeman(field)


@pytest.mark.parametrize("calc", [Heisenberg([0.01]), Zeeman((0, 0, 1))])
def test_frames_without_vectors_are_refused(calc):
    with pytest.raises(InputError, match="got collinear moments"):
        calc.get_property("energy", bulk("Fe"))


# --- sums, and ordinary calculators ---


@pytest.fixture
def copper(rng):
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    set_moments(atoms, 1.3 * random_directions(len(atoms), rng))
    return atoms


def test_terms_add_up_with_the_sum_calculator(copper):
    terms = [Heisenberg([0.01, 0.002], dmi=[0.003]), Zeeman((1, 2, 30)), NonMagnetic(EMT())]
    names = ["energy", "free_energy", "energies", "forces", "stress", "exchange_fields"]
    expected = {name: sum(term.get_property(name, copper) for term in terms) for name in names}
    copper.calc = SumCalculator(terms)
    assert set(copper.calc.implemented_properties) == set(names)
    start = copper.positions.copy()
    copper.rattle(0.05, seed=1)
    copper.get_forces()
    copper.positions = start
    for name in names:
        np.testing.assert_allclose(copper.calc.get_property(name, copper), expected[name], atol=1e-12)
    assert copper.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-12)


def test_only_the_ml_calculator_reports_magmoms(copper):
    """SumCalculator adds whatever all its terms implement, and a sum of moments means nothing."""
    assert "magmoms" in EMT.implemented_properties
    for calc in (Heisenberg([0.01]), Zeeman((0, 0, 1)), NonMagnetic(EMT())):
        assert not {"magmom", "magmoms"} & set(calc.implemented_properties)


def test_an_ordinary_calculator_passes_through_without_seeing_the_moments(copper):
    class Guarded(EMT):
        calls = 0

        def calculate(self, atoms, properties, system_changes):
            assert not atoms.has("initial_magmoms")
            Guarded.calls += 1
            super().calculate(atoms, properties, system_changes)

    calc = NonMagnetic(Guarded())
    bare = copper.copy()
    bare.set_array("initial_magmoms", None)
    bare.calc = EMT()
    assert calc.get_property("energy", copper) == bare.get_potential_energy()
    np.testing.assert_array_equal(calc.get_property("forces", copper), bare.get_forces())
    np.testing.assert_array_equal(calc.get_property("stress", copper), bare.get_stress())
    set_moments(copper, -get_moments(copper))
    calc.get_property("exchange_fields", copper)
    assert {"energy", "forces", "stress"} < set(calc.results)  # at hand for whoever writes the frame to a file
    calc.get_property("energy", copper)
    np.testing.assert_array_equal(calc.get_property("exchange_fields", copper), np.zeros((8, 3)))
    assert Guarded.calls == 1  # turning moments costs the ordinary calculator nothing


def test_what_the_ordinary_calculator_lacks_stays_missing(copper):
    calc = NonMagnetic(TIP3P())
    assert calc.implemented_properties == ["energy", "forces", "exchange_fields"]
    with pytest.raises(PropertyNotImplementedError):
        calc.get_property("stress", copper)


def test_lists_of_properties_belong_to_the_class_and_stay_unshared():
    before = list(EMT.implemented_properties), list(NonMagnetic.implemented_properties)
    NonMagnetic(TIP3P()).implemented_properties.append("nonsense")
    assert (EMT.implemented_properties, NonMagnetic.implemented_properties) == before
    assert Heisenberg.implemented_properties is Heisenberg([0.01]).implemented_properties
    assert "exchange_fields" in Heisenberg.implemented_properties
