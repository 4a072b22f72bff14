"""Samples: what recipes make, thermal spins against closed forms, manifests that regenerate, diversity."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from scipy.integrate import quad

from ase_spinml import Heisenberg, get_moments, get_spins, set_moments
from ase_spinml.errors import InputError
from ase_spinml.moments import magnetic_mask, rotate
from ase_spinml.sampling import (
    frame_features,
    isotropic_strains,
    make_frame,
    random_spins,
    rattles,
    read_manifest,
    regenerate,
    sample,
    select_diverse,
    shear_strains,
    spin_cones,
    spin_rotations,
    spin_spirals,
    thermal_displacements,
    thermal_spins,
    write_samples,
)
from ase_spinml.sampling.diversity import farthest_points
from ase_spinml.sampling.lattice import debye_displacement
from ase_spinml.sampling.thermal import draw_in_field


@pytest.fixture
def iron():
    """Ferromagnet along z of 16 atoms, the last without a moment, as a reference with results of its own."""
    atoms = bulk("Fe", a=2.83, cubic=True).repeat(2)
    lengths = np.linspace(2.0, 2.4, 16)
    lengths[-1] = 0.0
    set_moments(atoms, lengths, axis=(0, 0, 1))
    atoms.arrays["exchange_fields"] = np.ones((16, 3))
    atoms.info["name"] = "reference"
    return atoms


def angles(frame, axis=(0, 0, 1)):
    """Angles in degrees of the spins that are there to an axis."""
    return np.degrees(np.arccos(np.clip(get_spins(frame)[magnetic_mask(frame)] @ axis, -1, 1)))


ALL = [
    *random_spins(2),
    *spin_cones(30, count=2),
    *spin_spirals([(0, 0, 1)]),
    *spin_rotations(0, [45]),
    *thermal_spins(300, [0.02], sweeps=5),
]


def test_every_frame_keeps_lengths_and_atoms_without_a_moment(iron):
    for frame in sample(iron, ALL, rng=0):
        lengths = np.linalg.norm(get_moments(frame), axis=1)
        np.testing.assert_allclose(lengths, np.linalg.norm(get_moments(iron), axis=1), atol=1e-12)


def test_frames_say_what_they_are_and_carry_no_old_labels(iron):
    frames = sample(iron, ALL, [None, *rattles(0.02)], [None, *shear_strains(0.01, ["xy"])], rng=0)
    assert len(frames) == len(ALL) * 4
    kinds = [frame.info["config_type"] for frame in frames]
    assert kinds[:4] == ["random", "random+shear", "random+rattle", "random+rattle+shear"]
    assert {kind.split("+")[0] for kind in kinds} == {"random", "cone", "spiral", "single-spin", "thermal"}
    assert len({frame.info["sample"]["seed"] for frame in frames}) == len(frames)
    for frame in frames:
        assert frame.calc is None
        assert set(frame.info) == {"config_type", "sample"}
        assert "exchange_fields" not in frame.arrays


def test_the_reference_is_left_alone(iron):
    before = iron.copy()
    sample(iron, ALL, rattles(0.1), isotropic_strains(0.02), rng=0)
    assert before == iron
    np.testing.assert_array_equal(get_moments(before), get_moments(iron))


def test_the_same_seed_gives_the_same_frames(iron):
    first, second = (sample(iron, ALL, rattles(0.1), rng=5) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(get_moments(a), get_moments(b))
        np.testing.assert_array_equal(a.positions, b.positions)
    other = sample(iron, random_spins(1), rng=6)[0]
    assert not np.allclose(get_moments(other), get_moments(first[0]))


def test_cones_have_their_angle(iron):
    rim, filled, tilted = sample(
        iron, spin_cones(30, filled=False) + spin_cones(30) + spin_cones(20, axis=(1, 0, 0), filled=False), rng=1
    )
    np.testing.assert_allclose(angles(rim), 30, atol=1e-9)
    assert angles(filled).max() <= 30
    np.testing.assert_allclose(angles(tilted, (1, 0, 0)), 20, atol=1e-9)


def test_cones_follow_the_order_of_the_reference(iron):
    signs = (-1.0) ** np.arange(16)
    set_moments(iron, 2.2 * signs, axis=(0, 0, 1))
    frame = sample(iron, spin_cones(10), rng=0)[0]
    assert (np.sign(get_moments(frame)[:, 2]) == signs).all()


def test_spirals_turn_as_their_wave_vector_says(iron):
    flat, conical = sample(iron, spin_spirals([(0, 0, 1)], angle=[90, 40]), rng=0)
    phase = 2 * np.pi * iron.get_scaled_positions()[:, 2]
    expected = np.stack([np.cos(phase), np.sin(phase), 0 * phase], axis=1)
    np.testing.assert_allclose(get_spins(flat)[:-1], expected[:-1], atol=1e-12)
    np.testing.assert_allclose(angles(conical), 40, atol=1e-9)


def test_one_spin_turns_and_the_others_stay(iron):
    ladder = sample(iron, spin_rotations([2, 5], [0, 60, -60, 180]) + spin_rotations(2, 90, axis=(1, 0, 0)), rng=0)
    assert len(ladder) == 9
    for frame, (atom, angle) in zip(ladder, [(a, t) for a in (2, 5) for t in (0, 60, -60, 180)], strict=False):
        spins = get_spins(frame)
        assert np.degrees(np.arccos(np.clip(spins[atom, 2], -1, 1))) == pytest.approx(abs(angle), abs=1e-6)
        np.testing.assert_allclose(np.delete(spins, atom, axis=0), np.delete(get_spins(iron), atom, axis=0), atol=1e-15)
    np.testing.assert_allclose(get_spins(ladder[-1])[2], [0, -1, 0], atol=1e-12)  # right-handed about x


# --- displacements and strains ---


def test_strains_change_the_cell_as_they_say(iron):
    spins = random_spins(1)
    small, large = sample(iron, spins, strains=isotropic_strains([-0.02, 0.02]), rng=0)
    assert small.cell.volume == pytest.approx(iron.cell.volume * 0.98**3)
    assert large.get_distance(0, 1) == pytest.approx(1.02 * iron.get_distance(0, 1))
    for frame, (a, b) in zip(
        sample(iron, spins, strains=shear_strains(0.01), rng=0), [(1, 2), (0, 2), (0, 1)], strict=True
    ):
        gradient = np.linalg.solve(iron.cell.array, frame.cell.array) - np.eye(3)
        expected = np.zeros((3, 3))
        expected[a, b] = expected[b, a] = 0.01
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


def test_rattles_have_their_size():
    atoms = bulk("Fe", cubic=True).repeat(8)
    set_moments(atoms, np.ones(len(atoms)), axis=(0, 0, 1))
    frame = sample(atoms, random_spins(1), rattles(0.05), rng=0)[0]
    assert np.std(frame.positions - atoms.positions) == pytest.approx(0.05, rel=0.05)


def test_debye_displacements_have_the_classical_and_the_quantum_limit():
    """3 kB T / (M (kB theta / hbar)^2) when hot, 3 hbar^2 / (4 M kB theta) when cold."""
    hbar, mass, theta = units._hbar * units.J * units.s, 55.845, 470.0
    classical = 3 * hbar**2 * 5000.0 / (mass * units.kB * theta**2)
    assert debye_displacement(5000.0, theta, mass) ** 2 == pytest.approx(classical, rel=1e-3)
    assert debye_displacement(0.0, theta, mass) ** 2 == pytest.approx(3 * hbar**2 / (4 * mass * units.kB * theta))
    assert debye_displacement(300.0, theta, mass) == pytest.approx(0.065, abs=0.01)  # B of about 0.33 Angstrom^2


def test_heavy_atoms_are_displaced_less():
    atoms = bulk("FePt", "cesiumchloride", a=3.0).repeat(6)
    set_moments(atoms, np.ones(len(atoms)), axis=(0, 0, 1))
    frame = sample(atoms, random_spins(1), thermal_displacements(300, 400), rng=0)[0]
    moved = frame.positions - atoms.positions
    ratio = moved[atoms.symbols == "Fe"].std() / moved[atoms.symbols == "Pt"].std()
    assert ratio == pytest.approx(np.sqrt(195.08 / 55.845), rel=0.1)


# --- thermal spins ---


@pytest.mark.parametrize("strength", [1e-12, 0.5, 3.0, 50.0, 800.0])
def test_a_spin_in_a_field_follows_langevin(strength):
    rng = np.random.default_rng(0)
    axis = np.array([0.6, 0.0, -0.8])
    drawn = np.array([draw_in_field(strength * axis, rng) for _ in range(4000)])
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-12)
    cosine = drawn @ axis
    expected = 1 / np.tanh(strength) - 1 / strength if strength > 1e-6 else 0.0
    assert cosine.mean() == pytest.approx(expected, abs=4 * cosine.std() / np.sqrt(len(cosine)))
    across = np.cross(axis, drawn).mean(axis=0)
    np.testing.assert_allclose(across, 0, atol=4 / np.sqrt(3 * len(cosine)))


def test_a_pair_has_the_exact_mean_energy_for_exchange_and_biquadratic():
    temperature, constants = 300.0, {"exchange": [0.02], "biquadratic": [0.03]}
    pair = Atoms("Fe2", [(0, 0, 0), (0, 0, 2)])
    set_moments(pair, [2.0, 2.0], axis=(0, 0, 1))
    frames = sample(pair, thermal_spins(temperature, **constants, count=800, sweeps=6), rng=0)
    cosine = np.array([np.prod(get_spins(frame), axis=0).sum() for frame in frames])
    energies = -0.02 * cosine - 0.03 * cosine**2

    def weight(c):
        return np.exp((0.02 * c + 0.03 * c**2) / (units.kB * temperature))

    exact = quad(lambda c: (-0.02 * c - 0.03 * c**2) * weight(c), -1, 1)[0] / quad(weight, -1, 1)[0]
    assert energies.mean() == pytest.approx(exact, abs=4 * energies.std() / np.sqrt(len(energies)))


def test_the_dmi_of_the_sampler_is_that_of_the_calculator():
    """A cold chain with D turns by arctan(D/J) from atom to atom and has the energy that the calculator says."""
    chain = Atoms("Fe12", [(0, 0, 2.0 * k) for k in range(12)])
    set_moments(chain, np.ones(12), axis=(1, 0, 0))
    frame = sample(chain, thermal_spins(0.5, [0.02], dmi=[0.02], sweeps=400), rng=0)[0]
    frame.calc = Heisenberg([0.02], dmi=[0.02])
    assert frame.get_potential_energy() == pytest.approx(-11 * 0.02 * np.sqrt(2), rel=0.01)


def test_thermal_states_lose_their_order_when_heated(iron):
    cold, hot = sample(iron, thermal_spins([50, 20000], [0.02, 0.01], sweeps=30), rng=0)
    assert np.linalg.norm(get_moments(cold).mean(axis=0)) > 1.9
    assert np.linalg.norm(get_moments(hot).mean(axis=0)) < 1.2


# --- manifest ---


@pytest.fixture
def written(iron, tmp_path):
    frames = sample(iron, ALL, [None, *thermal_displacements(300, 470)], [None, *isotropic_strains(0.01)], rng=0)
    chosen = frames[::-3]
    return chosen, write_samples(tmp_path / "samples", chosen, iron)


def test_a_manifest_makes_the_frames_again(written):
    chosen, path = written
    for again, frame in zip(regenerate(path), chosen, strict=True):
        np.testing.assert_array_equal(get_moments(again), get_moments(frame))
        np.testing.assert_array_equal(again.positions, frame.positions)
        np.testing.assert_array_equal(again.cell.array, frame.cell.array)
        assert again.info == frame.info


def test_a_folder_of_samples_is_read_by_ase(written):
    chosen, path = written
    assert sorted(file.name for file in path.parent.iterdir()) == ["manifest.json", "samples.extxyz"]
    stored = ase.io.read(path.parent / "samples.extxyz", ":")
    assert [frame.info["config_type"] for frame in stored] == [frame.info["config_type"] for frame in chosen]
    for frame, again in zip(chosen, stored, strict=True):
        np.testing.assert_allclose(get_moments(again), get_moments(frame), atol=1e-7)


def test_a_manifest_can_be_read_by_people_and_programs(written):
    chosen, path = written
    lines = path.read_text().splitlines()
    assert sum('"config_type"' in line for line in lines) == len(chosen)
    manifest = json.loads(path.read_text())
    assert manifest["version"] == 1
    assert manifest["frames"][1]["index"] == 1
    reference, entries = read_manifest(path.parent)
    assert len(entries) == len(chosen)
    assert make_frame(reference, entries[0]).info == chosen[0].info


# --- diversity ---


def test_frames_that_are_the_same_up_to_symmetry_are_one(iron):
    iron.arrays["initial_magmoms"][-1] = [0, 0, 2.4]
    frame = sample(iron, random_spins(1), rattles(0.05), rng=0)[0]
    copies = [frame.copy() for _ in range(4)]
    rotate(copies[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # spins alone
    rotate(copies[1], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], positions=True)
    copies[2] = copies[2][np.random.default_rng(0).permutation(16)]
    set_moments(copies[3], -get_moments(copies[3]))
    other = sample(iron, random_spins(1), rng=1)[0]
    kept = select_diverse([frame, *copies, other], threshold=1e-6)
    assert len(kept) == 2
    assert kept[1].info["distance"] > 1e-3


def test_farthest_points_of_a_line():
    points = np.array([[0.0], [0.01], [1.0], [4.0], [10.0]])
    order, distances = farthest_points(points, 5, 0.1)
    assert order == [4, 0, 3, 2]
    np.testing.assert_allclose(distances, [6.998, 10, 4, 1])
    assert farthest_points(points, 2, 0.1)[0] == [4, 0]
    assert sorted(farthest_points(points, 9, 0.0)[0]) == [0, 1, 2, 3, 4]


def test_the_first_frames_are_the_most_different(iron):
    frames = sample(iron, spin_cones([2, 3, 4], count=6) + random_spins(2), rng=0)
    kept = select_diverse(frames)
    assert {frame.info["config_type"] for frame in kept[:2]} == {"random", "cone"}
    distances = [frame.info["distance"] for frame in kept[1:]]
    assert distances == sorted(distances, reverse=True)
    assert len(select_diverse(frames, count=3)) == 3
    features = frame_features(kept)
    apart = np.linalg.norm(features[:, None] - features, axis=2) + 10 * np.eye(len(kept))
    assert apart.min() >= 1e-3


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda iron: random_spins(0), "Expected count to be a whole number of at least 1, got 0"),
        (lambda iron: spin_cones(200), "Expected angles to be numbers between 0 and 180 degrees, got"),
        (lambda iron: spin_cones(20, axis=(0, 0, 0)), "Expected axis to be one non-zero vector"),
        (lambda iron: spin_spirals((0, 0, 1)), r"Expected q to be a list of wave vectors, shape \(n, 3\), got"),
        (lambda iron: thermal_spins(-5, [0.1]), "Expected temperatures_K to be numbers of at least 1e-06 K, got"),
        (lambda iron: thermal_spins(300, [np.nan]), "Expected exchange to be numbers, got"),
        (lambda iron: rattles(-0.1), "Expected stdev to be numbers of at least 0 Angstrom, got"),
        (lambda iron: isotropic_strains(0.9), "Expected strains to be numbers between -0.5 and 0.5, got"),
        (lambda iron: shear_strains(0.01, ["zz"]), "Expected planes from yz, xz, xy, got 'zz'"),
        (lambda iron: sample(iron, []), "Expected spins to be a list of recipes, got"),
        (lambda iron: sample(iron, ["random"]), "Expected a recipe of a spin state with kind random, cone"),
        (lambda iron: sample(iron, [{"kind": "cone"}]), "Expected the numbers of a spin state of kind cone"),
        (lambda iron: sample(iron, random_spins(1), random_spins(1)), "Expected a recipe of a displacement with kind"),
        (lambda iron: sample(iron, random_spins(1), strains=rattles(0.1)), "Expected a recipe of a strain with kind"),
        (lambda iron: sample(iron, spin_rotations(15, 30)), "Expected the index of an atom with a moment"),
        (lambda iron: sample(iron, spin_rotations(99, 30)), "Expected the index of an atom with a moment"),
        (lambda iron: select_diverse([]), "Expected frames to choose from, got an empty list"),
        (lambda iron: select_diverse([iron], threshold=-1), "Expected a threshold of at least 0, got -1"),
        (lambda iron: select_diverse([iron], count=0), "Expected a count of at least 1, got 0"),
    ],
)
def test_recipes_that_cannot_be_used_are_refused(iron, make, message):
    with pytest.raises(InputError, match=message):
        make(iron)


def test_a_reference_without_moments_is_refused(iron):
    set_moments(iron, np.zeros((16, 3)))
    with pytest.raises(InputError, match="Expected a reference with a moment above zero, got none"):
        sample(iron, random_spins(1))


def test_manifests_that_cannot_be_used_are_refused(iron, tmp_path):
    with pytest.raises(InputError, match="Expected frames to write, got an empty list"):
        write_samples(tmp_path, [], iron)
    with pytest.raises(InputError, match=r"got frame 0 without info\['sample'\]"):
        write_samples(tmp_path, [iron], iron)
    with pytest.raises(InputError, match="to be a manifest of samples, got a file that cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="to be a manifest of samples, got another JSON file"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "ase_spinml samples", "version": 99}')
    with pytest.raises(InputError, match="to be a whole manifest of samples, got one without reference, frames"):
        read_manifest(tmp_path)
    newer = '{"format": "ase_spinml samples", "version": 99, "reference": {}, "frames": []}'
    (tmp_path / "manifest.json").write_text(newer)
    with pytest.raises(InputError, match="Expected a manifest of version 1 at most, got 99"):
        read_manifest(tmp_path)
