"""DipoleDipole: known lattice sums, other splittings, direct sums, films, derivatives."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from test_analytic import assert_relative, numerical_fields

from ase_spinml import DipoleDipole
from ase_spinml.calculators import ewald
from ase_spinml.calculators.dipole import DIPOLAR
from ase_spinml.calculators.ewald import DipoleSum
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, random_directions, rotate, set_moments
from ase_spinml.units import MU_B

TRICLINIC = np.array([[4.1, 0.2, 0.1], [0.9, 4.6, -0.3], [-1.1, 0.6, 5.2]])


def triclinic(pbc=True, seed=3):
    """Five atoms well apart in a skewed cell, random moments, one of them zero."""
    rng = np.random.default_rng(seed)
    scaled = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.55, 0.5, 0.52]])
    atoms = Atoms("Fe5", scaled_positions=scaled, cell=TRICLINIC, pbc=pbc)
    atoms.rattle(0.1, rng=rng)
    moments = rng.uniform(0.5, 2.5, (5, 1)) * random_directions(5, rng)
    moments[4] = 0
    set_moments(atoms, moments)
    return atoms


def window(distance, radius):
    """One inside, falling smoothly to zero from 0.4 of the radius to the radius."""
    edge = np.clip((distance / radius - 0.4) / 0.6, 0, 1)
    return 1 - edge**3 * (10 - 15 * edge + 6 * edge**2)


def direct_sum(atoms, reach, radius):
    """dE/dm_i, (N, 3), in mu_B/Angstrom^3, from cells shifted by up to ``reach`` vectors, inside a soft sphere."""
    moments, gradient = get_moments(atoms), np.zeros((len(atoms), 3))
    steps = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    for i, j in np.ndindex(len(atoms), len(atoms)):
        vectors = atoms.positions[j] - atoms.positions[i] + steps @ atoms.cell.array
        distance = np.linalg.norm(vectors, axis=1)
        inside = (distance > 1e-6) & (distance < radius)
        vectors, distance = vectors[inside], distance[inside]
        weight = window(distance, radius)
        along = 3 * weight * (vectors @ moments[j]) / distance**5
        gradient[i] += moments[j] * np.sum(weight / distance**3) - along @ vectors
    return gradient


# --- lattice sums that are known ---


def test_the_unit():
    """mu_0 mu_B^2 / (4 pi Angstrom^3) is 0.6228 K times k_B, i.e. 0.9274 T times mu_B."""
    assert pytest.approx(0.92740101 * MU_B, rel=1e-7) == DIPOLAR
    pair = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2.0]])
    for directions, factor in [([[0, 0, 1]] * 2, -2), ([[1, 0, 0]] * 2, 1), ([[1, 0, 0], [-1, 0, 0]], -1)]:
        set_moments(pair, 1.5 * np.array(directions))
        energy = DipoleDipole().get_property("energy", pair)
        assert energy == pytest.approx(factor * DIPOLAR * 1.5**2 / 2.0**3, rel=1e-14)


@pytest.mark.parametrize("structure", ["sc", "bcc", "fcc"])
@pytest.mark.parametrize(
    ("demagnetisation", "factor"), [(None, 1 / 3), (1 / 3, 0), ((0, 0, 1), -2 / 3), ((0.5, 0.5, 0), 1 / 3)]
)
def test_a_cubic_ferromagnet_feels_the_lorentz_field_less_the_demagnetising_field(structure, demagnetisation, factor):
    """The dipoles inside Lorentz's sphere cancel by symmetry; its surface gives mu_0 M/3, the sample's -mu_0 N M."""
    atoms = bulk("Fe", structure, a=2.9, cubic=structure != "sc")
    set_moments(atoms, np.full(len(atoms), 2.2), axis=(0, 0, 1))
    fields = DipoleDipole(demagnetisation, accuracy=1e-14).get_property("exchange_fields", atoms)
    magnetisation = 4 * np.pi * DIPOLAR * 2.2 * len(atoms) / atoms.get_volume()  # mu_0 M in eV/mu_B
    np.testing.assert_allclose(fields / magnetisation, [[0, 0, factor]] * len(atoms), atol=1e-12)


def test_the_ground_state_of_luttinger_and_tisza():
    """Columns along z, up and down like a checkerboard, on a simple cubic lattice: E = -2.676 m^2/a^3 per moment."""
    atoms = bulk("Fe", "sc", a=2.5) * 2
    signs = 1 - 2 * (np.round(atoms.positions[:, :2].sum(axis=1) / 2.5) % 2)
    set_moments(atoms, 1.3 * signs, axis=(0, 0, 1))
    unit = DIPOLAR * 1.3**2 / 2.5**3 * len(atoms)
    for demagnetisation in (None, 1 / 3):
        energy = DipoleDipole(demagnetisation).get_property("energy", atoms)
        assert energy / unit == pytest.approx(-2.676, abs=1e-3)  # as printed in Phys. Rev. 70, 954 (1946)
    exact = DipoleSum(atoms.positions, atoms.cell.array).gradient(get_moments(atoms))
    assert_relative(direct_sum(atoms, (9, 9, 9), 40.0), exact, 3e-6)


def test_a_square_film():
    """Sum of 1/r^3 over the square lattice: 9.03362."""
    atoms = Atoms("Fe", cell=[2.5, 2.5, 0], pbc=(True, True, False))
    unit = DIPOLAR * 1.3**2 / 2.5**3
    for axis, factor in [((0, 0, 1), 9.0336216831 / 2), ((1, 0, 0), -9.0336216831 / 4)]:
        set_moments(atoms, [1.3], axis=axis)
        assert DipoleDipole().get_property("energy", atoms) / unit == pytest.approx(factor, rel=1e-7)


# --- against other ways of summing ---


def test_the_sum_does_not_depend_on_the_splitting():
    atoms = triclinic()
    places, moments = atoms.positions[:4], get_moments(atoms)[:4]
    sums = [DipoleSum(places, TRICLINIC, 1e-15, splitting) for splitting in (None, 0.5, 0.8, 1.1)]
    for other in sums[1:]:
        assert_relative(other.gradient(moments), sums[0].gradient(moments), 1e-12)
        for value, expected in zip(other.mechanics(moments), sums[0].mechanics(moments), strict=True):
            assert_relative(value, expected, 1e-11)


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-8, 1e-10])
def test_the_accuracy_is_kept(accuracy):
    atoms = triclinic() * (2, 1, 1)
    exact = DipoleDipole(accuracy=1e-15).get_property("exchange_fields", atoms)
    assert_relative(DipoleDipole(accuracy=accuracy).get_property("exchange_fields", atoms), exact, 5 * accuracy)


def test_a_crystal_is_the_limit_of_a_large_sphere():
    atoms = triclinic()
    expected = -DIPOLAR * direct_sum(atoms, (16, 15, 13), 60.0)
    expected[4] = 0
    assert_relative(DipoleDipole(1 / 3).get_property("exchange_fields", atoms), expected, 1e-5)


def test_a_film_is_the_limit_of_a_large_disc():
    """Beyond the soft edge the film is uniform: 1/r^3 out of plane, -1/(2 r^3) in plane."""
    atoms, radius = triclinic((True, True, False)), 230.0
    gradient = direct_sum(atoms, (60, 60, 0), radius)
    normal = np.cross(*TRICLINIC[:2])
    area = np.linalg.norm(normal)
    normal /= area
    distance = np.linspace(1, radius, 100_000)
    missing = 2 * np.pi / area * (np.trapezoid((1 - window(distance, radius)) / distance**2, distance) + 1 / radius)
    total = get_moments(atoms).sum(axis=0)
    out = (total @ normal) * normal
    gradient += missing * (out - 0.5 * (total - out))
    gradient[4] = 0
    assert_relative(DipoleDipole().get_property("exchange_fields", atoms), -DIPOLAR * gradient, 2e-5)


def test_a_film_is_a_slab_with_vacuum_and_the_demagnetising_tensor_of_a_film():
    atoms = triclinic((True, False, True))
    slab = atoms.copy()
    normal = np.cross(TRICLINIC[0], TRICLINIC[2])
    normal /= np.linalg.norm(normal)
    slab.set_cell([TRICLINIC[0], 40 * normal + 0.3 * TRICLINIC[0], TRICLINIC[2]])
    slab.pbc = True
    for name in ("energy", "exchange_fields", "forces"):
        film = DipoleDipole().get_property(name, atoms)
        assert_relative(DipoleDipole(np.outer(normal, normal)).get_property(name, slab), film, 1e-6)


def test_waves_found_anew_for_every_sum_give_the_same(monkeypatch):
    atoms = triclinic() * 2
    names = ("exchange_fields", "forces", "stress")
    kept = [DipoleDipole().get_property(name, atoms) for name in names]
    monkeypatch.setattr(ewald, "STORED", 0)
    monkeypatch.setattr(ewald, "CHUNK", 2**14)
    for name, expected in zip(names, kept, strict=True):
        assert_relative(DipoleDipole().get_property(name, atoms), expected, 1e-12)


# --- derivatives and symmetries ---

SHAPES = {
    "open": (False, None),
    "crystal": (True, None),
    "sample": (True, [[0.1, 0.05, 0], [0.05, 0.2, 0], [0, 0, 0.7]]),
    "film": ((True, True, False), None),
    "tilted film": ((False, True, True), None),
}


@pytest.mark.parametrize(("pbc", "demagnetisation"), SHAPES.values(), ids=SHAPES)
def test_fields_forces_and_stress_are_derivatives(pbc, demagnetisation):
    atoms = triclinic(pbc)
    atoms.calc = DipoleDipole(demagnetisation, accuracy=1e-14)
    magnetic = get_moments(atoms).any(axis=1)
    fields = atoms.calc.get_property("exchange_fields", atoms)
    assert_relative(fields[magnetic], numerical_fields(atoms[magnetic], atoms.calc), 1e-9)
    assert not fields[~magnetic].any()
    forces, stress = atoms.get_forces(), atoms.get_stress()
    assert_relative(forces, calculate_numerical_forces(atoms, eps=1e-4), 1e-7)
    assert_relative(stress, calculate_numerical_stress(atoms, eps=1e-5), 1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12 * np.abs(forces).max())
    energies = atoms.calc.get_property("energies", atoms)
    assert energies.sum() == pytest.approx(atoms.get_potential_energy(), rel=1e-13)
    np.testing.assert_allclose(energies, -0.5 * np.sum(get_moments(atoms) * fields, axis=1), rtol=1e-12)


@pytest.mark.parametrize("pbc", [False, True, (True, True, False)])
def test_symmetries(pbc):
    """Joint rotations, proper or not, of moments (axial) and lattice; shifts and wrapping; a larger cell."""
    atoms = triclinic(pbc)
    calc = DipoleDipole(accuracy=1e-13)
    energy = calc.get_property("energy", atoms)
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for rotation in (matrix, -matrix):
        turned = atoms.copy()
        rotate(turned, rotation, positions=True)
        assert calc.get_property("energy", turned) == pytest.approx(energy, rel=1e-11)
    moved = atoms.copy()
    moved.positions += [3.0, -2.0, 1.0]
    moved.wrap()
    assert calc.get_property("energy", moved) == pytest.approx(energy, rel=1e-11)
    larger = atoms * [2 if periodic else 1 for periodic in atoms.pbc]
    assert calc.get_property("energy", larger) / len(larger) == pytest.approx(energy / 5, rel=1e-11)


def test_moments_turn_without_a_new_sum_and_positions_ask_for_one():
    atoms = triclinic()
    calc = DipoleDipole()
    energy = calc.get_property("energy", atoms)
    first = calc._sum
    set_moments(atoms, -get_moments(atoms))
    assert calc.get_property("energy", atoms) == energy
    assert calc._sum is first
    for change in ("positions", "cell", "pbc", "moments"):
        other = atoms.copy()
        if change == "positions":
            other.positions[0] += 0.01
        elif change == "cell":
            other.set_cell(other.cell * 1.01)
        elif change == "pbc":
            other.pbc = False
        else:
            set_moments(other, get_moments(other) * [[1], [1], [0], [1], [1]])
        assert calc.get_property("energy", other) == DipoleDipole().get_property("energy", other)
        assert calc._sum is not first


def test_a_frame_without_moments_or_volume():
    atoms = triclinic()
    set_moments(atoms, np.zeros((5, 3)))
    for name in DipoleDipole.implemented_properties:
        assert not np.any(DipoleDipole().get_property(name, atoms))
    cluster = Atoms("Fe2", positions=[[0, 0, 0], [0, 0, 2.0]])
    set_moments(cluster, [1, 1], axis=(0, 0, 1))
    with pytest.raises(PropertyNotImplementedError):
        DipoleDipole().get_property("stress", cluster)


# --- refusals ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accuracy": 0}, "Expected an accuracy between 1e-15 and 1e-3, got 0"),
        ({"demagnetisation": (1, 0)}, r"a number, three numbers or a symmetric \(3, 3\) matrix, got \(1, 0\)"),
        ({"demagnetisation": "sphere"}, "Expected demagnetisation to be a number, .* got sphere"),
        ({"demagnetisation": np.arange(9).reshape(3, 3)}, "Expected demagnetisation to be a number, .* got"),
        ({"demagnetisation": 1}, r"factors from 0 that add up to 1 at most, got \[1.0, 1.0, 1.0\]: give 1/3 for a"),
        ({"demagnetisation": (-0.1, 0, 1)}, "Expected demagnetising factors from 0 that add up to 1 at most, got"),
    ],
)
def test_unusable_parameters_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        DipoleDipole(**arguments)


def test_frames_that_cannot_be_summed_are_refused(monkeypatch):
    with pytest.raises(InputError, match=r"Expected none, two or three periodic directions .* got one: put the wire"):
        DipoleDipole().get_property("energy", triclinic((True, False, False)))
    with pytest.raises(InputError, match="Expected demagnetisation with three periodic directions, got 2: leave it"):
        DipoleDipole(1 / 3).get_property("energy", triclinic((True, True, False)))
    atoms = triclinic(False)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(InputError, match="atoms must not coincide, got magnetic atoms 0 and 1 at a distance of 0 Ang"):
        DipoleDipole().get_property("energy", atoms)
    atoms = triclinic()
    atoms.cell = [4, 4, 0]
    with pytest.raises(InputError, match="Expected independent cell vectors along the periodic directions, got"):
        DipoleDipole().get_property("energy", atoms)
    monkeypatch.setattr(ewald, "MAX_OPEN", 3)
    with pytest.raises(InputError, match="Expected at most 3 moments in an open system, got 4: surround it with vac"):
        DipoleDipole().get_property("energy", triclinic(False))
