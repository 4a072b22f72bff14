"""The sampler against closed forms, and the Curie temperature: its value, files, processes and refusals."""

import numpy as np
import pytest
from ase import Atoms, units

from ase_spinml import Heisenberg, Zeeman, get_spins, set_moments
from ase_spinml.analysis import autocorrelation_time, blocking, curie_temperature, order_parameter, thermal_averages
from ase_spinml.analysis.langevin import LangevinSampler, carried
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import exponential, logarithm
from ase_spinml.moments import random_directions, transverse
from ase_spinml.units import MU_B

J = 0.01
KELVIN = J / units.kB
CRITICAL = 1.4429
"""k_B T_C/J on the simple cubic lattice: K. Chen, A. M. Ferrenberg and D. P. Landau, Phys. Rev. B 48, 3249 (1993)."""


@pytest.fixture
def cubic():
    """One atom of a simple cubic Heisenberg ferromagnet."""
    atoms = Atoms("Fe", cell=[2.5] * 3, pbc=True)
    set_moments(atoms, [[0, 0, 2.0]])
    atoms.calc = Heisenberg([J])
    return atoms


def sampled(atoms, temperature_K, steps, interval, seed=0, angle=None):
    """Sampler, and states (S, N, 3) and energies (S,) in eV from it."""
    sampler = LangevinSampler(atoms, temperature_K, np.random.default_rng(seed))
    sampler.run(steps // 4, adapt=angle is None)
    sampler.angle = sampler.angle if angle is None else angle
    states, energies = [], []
    for _ in range(steps // interval):
        sampler.run(interval)
        states.append(sampler.spins)
        energies.append(sampler.energy)
    return sampler, np.array(states), np.array(energies)


def test_the_way_back_is_the_way_there_turned_round():
    rng = np.random.default_rng(0)
    spins = random_directions(5, rng)
    tangents = transverse(rng.normal(size=(5, 3)), spins)
    ends = exponential(spins, tangents)
    np.testing.assert_allclose(-carried(spins, tangents), logarithm(ends, spins), atol=1e-12)


@pytest.mark.parametrize("angle", [0.6, None])
def test_single_spins_in_a_field(angle):
    """Moments of 1 and 3 mu_B: <cos> = coth x - 1/x with x = m B/kT for each, whatever the length of the steps."""
    atoms = Atoms("Fe8", positions=5.0 * np.arange(24).reshape(8, 3))
    set_moments(atoms, np.tile([[0, 0, 1.0], [3.0, 0, 0]], (4, 1)))
    atoms.calc = Zeeman((0, 0, 200.0))
    _, states, _ = sampled(atoms, 200, 6000, 3, angle=angle)
    for first, moment in ((0, 1.0), (1, 3.0)):
        x = moment * MU_B * 200 / (units.kB * 200)
        mean = blocking(states[:, first::2, 2].mean(axis=1))
        assert abs(mean.value - (1 / np.tanh(x) - 1 / x)) < 3.5 * mean.error
        assert mean.error < 0.02


@pytest.mark.parametrize("angle", [0.5, None])
def test_heisenberg_ring(angle):
    """M. E. Fisher, Am. J. Phys. 32, 343 (1964): u = coth K - 1/K, C = 1 - K^2/sinh^2 K, <e_0.e_r> = u^r."""
    n, coupling = 24, 2.0
    atoms = Atoms("Fe", cell=[2.5, 9, 9], pbc=(True, False, False)).repeat((n, 1, 1))
    set_moments(atoms, np.tile([0, 0, 2.0], (n, 1)))
    atoms.calc = Heisenberg([J])
    _, states, energies = sampled(atoms, KELVIN / coupling, 8000, 4, angle=angle)
    found = thermal_averages(order_parameter(states), energies / n, n, KELVIN / coupling)
    u = 1 / np.tanh(coupling) - 1 / coupling
    assert abs(found.energy.value + J * u) < 3.5 * found.energy.error < 0.05 * J
    exact = 1 - coupling**2 / np.sinh(coupling) ** 2
    assert abs(found.heat_capacity.value - exact) < 3.5 * found.heat_capacity.error < 0.5 * exact
    for r in (1, 3):
        mean = blocking((states * np.roll(states, r, axis=1)).sum(axis=2).mean(axis=1))
        assert abs(mean.value - u**r) < 3.5 * mean.error


def test_steps_are_accepted_as_often_as_they_should_be(cubic):
    sampler, states, _ = sampled(_repeated(cubic, 4), 1.4 * KELVIN, 2000, 10)
    sampler.run(500)
    assert 0.45 < sampler.acceptance < 0.7
    np.testing.assert_allclose(get_spins(sampler.atoms), sampler.spins, atol=1e-12)
    assert autocorrelation_time(order_parameter(states) ** 2) < 20


def _repeated(atoms, n):
    cell = atoms.repeat(n)
    cell.calc = atoms.calc
    return cell


def test_simple_cubic_magnet(cubic):
    """Small cells and short runs find T_C within some percent."""
    temperatures = np.array([1.25, 1.4, 1.55, 1.7]) * KELVIN
    result = curie_temperature(cubic, temperatures, (3, 6), steps=4000, progress=False)
    critical = result.critical_temperature_K
    assert result.method == "Binder crossing"
    assert abs(critical.value / KELVIN - CRITICAL) < 3 * critical.error / KELVIN + 0.015  # such small cells scale badly
    assert critical.error < 0.03 * critical.value
    assert result.crossings == {((3, 3, 3), (6, 6, 6)): critical}
    value, error = result.values("magnetisation", (6, 6, 6))
    assert (np.diff(value) < 0).all()
    assert (error < 0.05).all()
    assert [point.n_spins for point in result.averages[6, 6, 6]] == [216] * 4


@pytest.mark.physical
def test_simple_cubic_magnet_precisely(cubic):
    """T_C = 1.4429 J/k_B within one percent, from 3^3 and 6^3 spins; 8^3 would need more than 20000 steps."""
    temperatures = np.array([1.3, 1.4, 1.5, 1.6]) * KELVIN
    result = curie_temperature(cubic, temperatures, (3, 6), steps=16000, progress=False)
    critical = result.critical_temperature_K
    assert abs(critical.value / KELVIN - CRITICAL) < 3 * critical.error / KELVIN
    assert critical.error < 0.01 * critical.value


def test_an_antiferromagnet_needs_weights():
    """The simple cubic antiferromagnet has the T_C of the ferromagnet; here the peak for one cell."""
    atoms = Atoms("Fe", cell=[2.5] * 3, pbc=True).repeat(2)
    signs = np.array([1, -1, -1, 1, -1, 1, 1, -1])
    set_moments(atoms, np.outer(signs, [0, 0, 2.0]))
    atoms.calc = Heisenberg([-J])
    temperatures = np.array([1.1, 1.3, 1.5, 1.7]) * KELVIN
    result = curie_temperature(atoms, temperatures, [2], steps=2000, weights=signs, progress=False)
    assert result.method == "susceptibility peak"
    assert 1.15 < result.critical_temperature_K.value / KELVIN < 1.65
    with pytest.raises(InputError, match=r"Expected atoms in their ordered state.*, got 0\.00"):
        curie_temperature(atoms, temperatures, [2])


def short(atoms, path=None, temperatures=(1.2, 1.6), sizes=(2, 4), **options):
    options = {"steps": 640, "interval": 4, "progress": False, "path": path, **options}
    return curie_temperature(atoms, np.array(temperatures) * KELVIN, sizes, **options)


def points(path):
    with np.load(path) as file:
        return {key: file[key] for key in file.files if key != "settings"}


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, cubic, monkeypatch):
    from ase_spinml.analysis import sweep

    whole, broken, path = tmp_path / "whole.npz", tmp_path / "broken.npz", sweep.write_points
    expected = short(cubic, whole)
    written = []

    def stop_after_two(*args):
        path(*args)
        written.append(args)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "write_points", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        short(cubic, broken)
    assert len(points(broken)) == 2
    found = short(cubic, broken)
    assert len(written) == 4  # two points were left
    assert found.critical_temperature_K == expected.critical_temperature_K
    first, second = points(whole), points(broken)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
    short(cubic, broken, temperatures=(1.2, 1.4, 1.6))  # more temperatures keep what is there
    assert len(written) == 6
    assert not list(tmp_path.glob("*.part"))


def test_processes_change_nothing(tmp_path, cubic):
    serial, parallel = tmp_path / "serial.npz", tmp_path / "parallel.npz"
    short(cubic, serial)
    short(cubic, parallel, n_jobs=2)
    first, second = points(serial), points(parallel)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"steps": 800}, "steps"), ({"rng": 1}, "seed"), ({"interval": 5}, "interval"), ({"weights": [1]}, "weights")],
)
def test_a_file_of_other_settings_is_refused(tmp_path, cubic, change, name):
    path = tmp_path / "points.npz"
    short(cubic, path)
    with pytest.raises(
        InputError, match=rf"points\.npz to hold points of this calculation, got some with another {name}"
    ):
        short(cubic, path, **change)


def test_a_file_of_another_magnet_is_refused(tmp_path, cubic):
    path = tmp_path / "points.npz"
    short(cubic, path)
    cubic.calc = Heisenberg([1.01 * J])
    with pytest.raises(InputError, match="got some with another calculator: give another path"):
        short(cubic, path)
    path.write_text("something else")
    with pytest.raises(InputError, match="to be a file of points, got another kind"):
        short(cubic, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperatures": [1.2]}, "Expected two or more different temperatures > 0 in K"),
        ({"temperatures": [-1, 1.2]}, "Expected two or more different temperatures > 0 in K"),
        ({"sizes": []}, "Expected sizes as whole numbers >= 1"),
        ({"sizes": [(2, 2)]}, "Expected sizes as whole numbers >= 1"),
        ({"sizes": [(2, 2, 4), (4, 2, 2)]}, "Expected cells of different numbers of spins"),
        ({"steps": 100}, "Expected whole numbers with steps >= 32 x interval, got steps=100, interval=4"),
        ({"weights": [1, 1]}, "Expected one weight for each of 1 spins"),
    ],
)
def test_unusable_parameters(cubic, options, message):
    with pytest.raises(InputError, match=message):
        short(cubic, **options)


def test_unusable_magnets(cubic):
    cubic.pbc = (True, True, False)
    with pytest.raises(InputError, match="Expected sizes of 1 along directions that are not periodic"):
        short(cubic)
    cubic.calc = type("Torques", (Heisenberg,), {"conservative": False})([J])
    with pytest.raises(InputError, match="Expected exchange fields that are derivatives of an energy"):
        short(cubic)
    cubic.calc = None
    with pytest.raises(InputError, match="Expected atoms with a calculator, got none"):
        short(cubic)


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [([0.5, 0.6], "add higher temperatures|add temperatures, or take more steps"), ([1.7, 1.9], "add lower temp")],
)
def test_temperatures_that_do_not_bracket_the_transition(cubic, temperatures, message):
    with pytest.raises(InputError, match=f"Expected a crossing of Binder cumulants between .*({message})"):
        short(cubic, temperatures=temperatures, sizes=(2, 4), steps=2000)


def test_temperatures_too_far_apart(cubic):
    with pytest.raises(InputError, match=r"to overlap, got none between .* K, where the transition is: add some there"):
        short(cubic, temperatures=[0.6, 2.8], sizes=(2, 4), steps=2000)
