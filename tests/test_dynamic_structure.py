"""Dynamic structure factor: sum rule, sign and sense of single waves, thermal ferromagnets beside spin-wave theory."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator

from ase_spinml import Anisotropy, Heisenberg, SpinDynamics, set_moments
from ase_spinml.analysis import dynamic_structure_factor, fourier_components, magnon_bands, structure_factor
from ase_spinml.dynamics.trajectory import read_trajectory
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, get_spins, random_directions
from ase_spinml.units import G_FACTOR, HBAR

MOMENT, EXCHANGE, ANISOTROPY = 2.2, 0.02, 0.002
SITES, INTERVAL = 12, 4 * units.fs


def chain(sites=SITES, axis=(0, 0, 1)):
    positions = 2.5 * np.arange(sites)[:, None] * np.array([1.0, 0, 0])
    atoms = Atoms(f"Fe{sites}", positions, cell=[2.5 * sites, 0, 0], pbc=[True, False, False])
    set_moments(atoms, np.full(sites, MOMENT), axis=axis)
    return atoms


def along(modes):
    modes = np.asarray(modes, float)
    return np.column_stack([modes, 0 * modes, 0 * modes])


def random_frames(count, seed=0):
    """Random spins on vibrating sites, one of them without a moment."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(count):
        atoms = chain()
        moments = rng.uniform(1, 2, (SITES, 1)) * random_directions(SITES, rng)
        moments[3] = 0
        set_moments(atoms, moments)
        atoms.positions += 0.1 * rng.normal(size=(SITES, 3))
        frames.append(atoms)
    return frames


# -- sum rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "segments"), [(32, 1), (33, 1), (96, 4), (99, 3)])
def test_integral_over_energy_is_the_mean_static_structure_factor(count, segments):
    frames, q = random_frames(count), along([0, 1, 2.5, -3])
    found = dynamic_structure_factor(frames, q, INTERVAL, segments, window="boxcar")
    step = found.energies[1] - found.energies[0]
    assert found.total.shape == (count // segments, 4)
    assert step == pytest.approx(2 * np.pi * HBAR / (count // segments * INTERVAL), rel=1e-12)
    expected = np.mean([structure_factor(frame, q) for frame in frames], axis=0)
    np.testing.assert_allclose(step * found.total.sum(axis=0), expected, rtol=1e-12)
    waves = np.array([fourier_components(frame, q) for frame in frames])
    products = np.einsum("tqa,tqb->qab", waves, waves.conj()) / count
    np.testing.assert_allclose(step * found.tensor.sum(axis=0), products, atol=1e-14)


def test_window_keeps_the_sum_rule_on_average():
    frames, q = random_frames(1600), along([1, 5])
    found = dynamic_structure_factor(frames, q, INTERVAL, segments=10)
    expected = np.mean([structure_factor(frame, q) for frame in frames], axis=0)
    np.testing.assert_allclose((found.energies[1] - found.energies[0]) * found.total.sum(axis=0), expected, rtol=0.03)


def test_tensor_is_hermitian_positive_and_symmetric_in_time():
    frames = random_frames(65)
    found = dynamic_structure_factor(frames, along([2, -2]), INTERVAL)
    np.testing.assert_allclose(found.tensor, found.tensor.conj().swapaxes(2, 3), atol=1e-15)
    assert found.total.min() > 0
    np.testing.assert_allclose(found.energies, -found.energies[::-1], atol=1e-15)
    np.testing.assert_allclose(found.tensor[:, 0], found.tensor[::-1, 1].conj(), atol=1e-15)


# -- single waves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["boxcar", "hann"])
@pytest.mark.parametrize("mode", [2, -2])
def test_travelling_wave_is_at_its_own_q_and_energy(mode, window):
    step, x = 20, 2 * np.pi * np.arange(SITES) / SITES
    frames = []
    for t in range(100):
        phase = mode * x - 2 * np.pi * step * t / 100
        spins = np.column_stack([0.1 * np.cos(phase), -0.1 * np.sin(phase), np.ones(SITES)])  # counter-clockwise
        atoms = chain()
        set_moments(atoms, spins)
        frames.append(atoms)
    found = dynamic_structure_factor(frames, along([mode, -mode]), INTERVAL, window=window)
    energy = 2 * np.pi * HBAR * step / (100 * INTERVAL)
    peaks = found.energies[found.total.argmax(axis=0)]
    np.testing.assert_allclose(peaks, [energy, -energy], rtol=1e-12)
    k = found.total[:, 0].argmax()
    weight = found.total[k, 0] * (found.energies[1] - found.energies[0])
    length = 1 + 0.1**2
    assert weight == pytest.approx({"boxcar": 1.0, "hann": 2 / 3}[window] * 0.5 * 0.1**2 / length, rel=1e-9)
    sense = 1j * (found.tensor[k, 0, 0, 1] - found.tensor[k, 0, 1, 0])
    assert sense.real == pytest.approx(found.transverse[k, 0], rel=1e-9)
    assert found.longitudinal[k, 0] < 1e-20
    np.testing.assert_allclose(found.mean_spin, [0, 0, 1 / np.sqrt(length)], atol=1e-12)


@pytest.mark.parametrize("mode", [2, -2])
def test_precessing_wave_is_at_its_magnon_energy(mode):
    """With DMI along the spins waves to the left and to the right differ; both are at magnon_bands of their own q."""
    calculator = SumCalculator(
        [Heisenberg([EXCHANGE], dmi=[0.004]), Anisotropy(uniaxial=2 * ANISOTROPY, axis=(1, 0, 0))]
    )
    single = chain(1, axis=(1, 0, 0))
    single.calc = calculator
    band = magnon_bands(single, along([mode / SITES, -mode / SITES]), 3.0)[:, 0]
    assert abs(band[0] / band[1] - 1) > 0.1
    atoms, phase = chain(axis=(1, 0, 0)), 2 * np.pi * mode * np.arange(SITES) / SITES
    tilted = np.column_stack([np.ones(SITES), 0.02 * np.cos(phase), -0.02 * np.sin(phase)])
    set_moments(atoms, MOMENT * tilted)
    atoms.calc = calculator
    dynamics = SpinDynamics(atoms, 2 * units.fs)
    frames = (atoms for k, _ in enumerate(dynamics.irun(1199)) if k % 4 == 0)
    found = dynamic_structure_factor(frames, along([mode]), 8 * units.fs)
    step = found.energies[1] - found.energies[0]
    assert found.energies[found.total[:, 0].argmax()] == pytest.approx(band[0], abs=0.6 * step)
    assert step < 0.25 * abs(band[0] - band[1])


def test_waves_of_an_antiferromagnet_have_no_axis():
    atoms = chain()
    set_moments(atoms, MOMENT * (-1.0) ** np.arange(SITES), axis=(0, 0, 1))
    atoms.set_array("initial_magmoms", get_moments(atoms) + 0.02 * np.random.default_rng(0).normal(size=(SITES, 3)))
    two = chain(2)
    set_moments(two, [MOMENT, -MOMENT], axis=(0, 0, 1))
    for frame in (atoms, two):
        frame.calc = SumCalculator([Heisenberg([-EXCHANGE]), Anisotropy(uniaxial=ANISOTROPY)])
    dynamics = SpinDynamics(atoms, 1 * units.fs)
    found = dynamic_structure_factor(
        (atoms for k, _ in enumerate(dynamics.irun(1599)) if k % 4 == 0), along([2]), INTERVAL
    )
    band = magnon_bands(two, along([2 * 2 / SITES]), 3.0)[0]
    peak = found.energies[(found.total[:, 0] * (found.energies > 0)).argmax()]
    assert peak == pytest.approx(band.mean(), abs=found.energies[1] - found.energies[0])
    with pytest.raises(InputError, match="Expected a mean moment that gives the axis"):
        _ = found.longitudinal


# -- thermal ferromagnets --------------------------------------------------------------------------------------------


def ferromagnet(name):
    """Primitive cell, its repetition, neighbours z and exchange J that gives the band a width of 70 meV."""
    if name == "bcc":
        cell = bulk("Fe", a=2.83)
        set_moments(cell, [[0, 0, MOMENT]])
        return cell, (6, 6, 6), 8, 0.005
    if name == "square":
        cell = Atoms("Fe", cell=[2.5, 2.5, 0], pbc=[True, True, False])
        set_moments(cell, [[0, 0, MOMENT]])
        return cell, (12, 12, 1), 4, 0.01
    return chain(1), (40, 1, 1), 2, 0.02


@pytest.mark.parametrize(("name", "temperature"), [("chain", 5), ("square", 10), ("bcc", 20)])
def test_thermal_waves_lie_on_the_band_of_spin_wave_theory(name, temperature):
    """Waves soften in collisions: exchange by 1 - kT/(zJ) (Oguchi's first order, classical spins), the gap by m^2."""
    cell, repeats, neighbours, exchange = ferromagnet(name)
    cell.calc = SumCalculator([Heisenberg([exchange]), Anisotropy(uniaxial=ANISOTROPY)])
    modes = np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0]]) * (repeats[0] // 6)
    modes[:, 1] = modes[:, 0] if name == "bcc" else 0
    bands = magnon_bands(cell, modes / np.array(repeats), 3.0)[:, 0]
    atoms = cell.repeat(repeats)
    atoms.calc = cell.calc
    SpinDynamics(atoms, 4 * units.fs, temperature, damping=0.5, integrator="sib", rng=1).run(600)
    dynamics = SpinDynamics(atoms, 3 * units.fs, tolerance=1e-8)
    frames = (atoms for k, _ in enumerate(dynamics.irun(1199)) if k % 4 == 0)
    found = dynamic_structure_factor(frames, modes, 12 * units.fs)
    gap, step = 2 * G_FACTOR * ANISOTROPY / MOMENT, found.energies[1] - found.energies[0]
    softening = 1 - units.kB * temperature / (neighbours * exchange)
    expected = (bands - gap) * softening + gap * found.mean_spin @ found.mean_spin
    up = found.energies > 0
    peaks = found.energies[up][found.total[up].argmax(axis=0)]
    centres = found.energies[up] @ found.transverse[up] / found.transverse[up].sum(axis=0)
    np.testing.assert_allclose(peaks, expected, atol=step)
    np.testing.assert_allclose(centres, expected, atol=0.5 * step)
    assert np.all(found.longitudinal.sum(axis=0) < 0.2 * found.transverse.sum(axis=0))


# -- input -----------------------------------------------------------------------------------------------------------


def test_trajectory_file_gives_what_its_run_gives(tmp_path):
    atoms = chain()
    set_moments(atoms, MOMENT * cone(get_moments(atoms), 20, rng=0))
    atoms.calc = Heisenberg([EXCHANGE])
    frames = []
    dynamics = SpinDynamics(atoms, 2 * units.fs, trajectory=str(tmp_path / "run.traj"), loginterval=4)
    dynamics.attach(lambda: frames.append(atoms.copy()), interval=4)
    dynamics.run(100)
    q = along([0, 1, 2])
    live = dynamic_structure_factor(frames, q, 8 * units.fs)
    stored = dynamic_structure_factor(read_trajectory(tmp_path / "run.traj"), q, 8 * units.fs)
    np.testing.assert_allclose(stored.tensor, live.tensor, atol=1e-14)
    still = live.total[np.argmin(np.abs(live.energies)), 0] * (live.energies[1] - live.energies[0])
    assert still == pytest.approx(2 / 3 * np.sum(get_spins(atoms).mean(axis=0) ** 2), rel=1e-6)  # the moment is kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 0.0}, "Expected interval > 0 in ASE time units, got 0.0."),
        ({"window": "kaiser"}, "Expected window to be one of hann, boxcar, got 'kaiser'."),
        ({"segments": 0}, "Expected segments as a whole number of 1 or more, got 0."),
        ({"segments": 1.5}, "Expected segments as a whole number of 1 or more, got 1.5."),
        ({"segments": 3}, "Expected at least 8 frames in each of 3 segments, got 10 frames: run longer."),
        ({"q": [[0, 1]]}, "Expected q as rows of three numbers in units of the reciprocal cell, got shape"),
    ],
)
def test_unusable_input(options, message):
    arguments = {"frames": random_frames(10), "q": along([1]), "interval": INTERVAL} | options
    with pytest.raises(InputError, match=message):
        dynamic_structure_factor(**arguments)
