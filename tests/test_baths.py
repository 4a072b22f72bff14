"""Ramps, the three-temperature model against conservation and closed forms, electrons that pay for their heat."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from scipy.optimize import brentq
from test_dynamics import Einstein

from ase_spinml import (
    ElectronBath,
    Heisenberg,
    LaserPulse,
    NonMagnetic,
    SpinLatticeDynamics,
    ThreeTemperatureModel,
    Zeeman,
    ramp,
    set_moments,
)
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, random_directions
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B

FS = units.fs
PS = 1000 * FS
GAMMA = 5e-8  # eV/K^2 per atom, about that of iron
CAPACITY = 3 * units.kB


def test_a_ramp_is_straight_and_a_quench_sudden():
    heating = ramp(100, 300, 2 * PS, start_time=PS)
    times = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 9.0])
    assert [heating(time * PS) for time in times] == pytest.approx([100, 100, 150, 200, 300, 300])
    quench = ramp(300, 0, 0.0, start_time=PS)
    assert [quench(time * PS) for time in (0.5, 0.999999, 1.0, 2.0)] == [300, 300, 0, 0]


def test_a_pulse_brings_its_energy():
    pulse = LaserPulse(0.2, centre=PS, fwhm=100 * FS)
    times = np.linspace(0, 2 * PS, 20001)
    assert np.trapezoid(pulse.power(times), times) == pytest.approx(0.2, rel=1e-9)
    assert pulse.power(PS + 50 * FS) == pytest.approx(0.5 * pulse.power(PS), rel=1e-12)
    assert pulse.absorbed(PS) == pytest.approx(0.1)
    assert pulse.absorbed(2 * PS) == pytest.approx(0.2)


def nickel_like(**changes):
    """Couplings and heat capacities of the order of those of a ferromagnetic metal."""
    options = {
        "sommerfeld": GAMMA,
        "lattice_heat_capacity": CAPACITY,
        "electron_lattice": 0.5 * units.kB / PS,
        "pulse": LaserPulse(0.1, centre=PS, fwhm=60 * FS),
        "temperature_K": 300.0,
        "spin_heat_capacity": units.kB,
        "electron_spin": 0.4 * units.kB / PS,
        "spin_lattice": 0.02 * units.kB / PS,
        "stop": 100 * PS,
    }
    return ThreeTemperatureModel(**options | changes)


def test_three_temperatures_conserve_energy_and_come_together():
    model = nickel_like()
    times = np.linspace(0, 100 * PS, 2001)
    electrons, lattice, spins = model.electrons(times), model.lattice(times), model.spins(times)
    energy = 0.5 * GAMMA * electrons**2 + CAPACITY * lattice + units.kB * spins - model.pulse.absorbed(times)
    assert np.abs(energy - energy[0]).max() < 1e-7  # eV per atom; the pulse brings 0.1
    # gamma/2 T^2 + C T = gamma/2 300^2 + C 300 + absorbed, a quadratic equation for the common temperature
    total = energy[0] + 0.1
    common = (np.sqrt((4 * units.kB) ** 2 + 2 * GAMMA * total) - 4 * units.kB) / GAMMA
    assert [electrons[-1], lattice[-1], spins[-1]] == pytest.approx([common] * 3, rel=1e-6)
    assert electrons.max() > 1500 > spins.max() > lattice.max()
    assert model.electrons(3 * PS) == pytest.approx(electrons[60], abs=1e-9)


def test_weak_coupling_has_a_closed_form():
    """Electrons against a lattice that hardly warms: T - T1 + T0 ln((T - T0)/(T1 - T0)) = -G t/gamma."""
    coupling, start = 0.5 * units.kB / PS, 1500.0
    model = ThreeTemperatureModel(GAMMA, 1e6 * CAPACITY, coupling, None, (start, 300.0, 300.0), stop=5 * PS)
    times = np.linspace(0.1, 2, 20) * PS
    electrons = model.electrons(times)
    left = (electrons - start) + 300.0 * np.log((electrons - 300.0) / (start - 300.0))
    assert left == pytest.approx(-coupling * times / GAMMA, rel=1e-4)


def test_electrons_alone_take_the_pulse():
    model = ThreeTemperatureModel(GAMMA, CAPACITY, 0.0, LaserPulse(0.1, PS, 60 * FS), stop=2 * PS)
    assert model.electrons(2 * PS) == pytest.approx(np.sqrt(300**2 + 2 * 0.1 / GAMMA), rel=1e-6)
    assert model.lattice(2 * PS) == 300


def test_a_pulse_is_not_leapt_over():
    model = nickel_like(pulse=LaserPulse(0.1, centre=50 * PS, fwhm=5 * FS))
    assert model.electrons(49 * PS) == pytest.approx(300, abs=1e-6)
    assert model.electrons(50.05 * PS) > 1500


def test_heat_capacities_may_depend_on_the_temperature():
    """C_l = a T: half of a T^2 is stored."""
    a = 1e-6
    model = nickel_like(lattice_heat_capacity=lambda T: a * T)
    end = model.lattice(100 * PS)
    stored = 0.5 * (GAMMA + a) * (end**2 - 300**2) + units.kB * (end - 300)
    assert stored == pytest.approx(0.1, rel=1e-5)


def magnet(size, rng, exchange=0.02, stiffness=5.0, length=2.2):
    """bcc iron on a spring per atom, with exchange of the nearest neighbours; spins aligned, atoms at rest."""
    atoms = bulk("Fe", cubic=True) * size
    set_moments(atoms, length * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 10, rng))
    spins = Heisenberg([exchange], reference=atoms.copy())
    atoms.calc = SumCalculator([NonMagnetic(Einstein(atoms, stiffness)), spins])
    return atoms


def paramagnet(n, rng, stiffness=5.0, field_T=600.0):
    """Independent atoms on springs with spins in a field: lattice energy 3 k T, spin energy -b (coth(b/kT) - kT/b)."""
    atoms = Atoms(f"Fe{n}", positions=10.0 * np.arange(3 * n).reshape(n, 3))
    set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (n, 1)), 10, rng))
    atoms.calc = SumCalculator([NonMagnetic(Einstein(atoms, stiffness)), Zeeman([0.0, 0.0, field_T])])
    return atoms


def test_the_atomistic_model_conserves_energy_and_reaches_the_right_temperature():
    rng = np.random.default_rng(0)
    n, gamma, b = 400, 20 * GAMMA, 2.2 * 600.0 * MU_B
    atoms = paramagnet(n, rng)
    spin_energy = atoms.get_potential_energy() / n
    electrons = ElectronBath(n, gamma, 300.0, LaserPulse(0.15, centre=60 * FS, fwhm=30 * FS))
    dyn = SpinLatticeDynamics(atoms, 2 * FS, electrons, 0.04 / FS, 0.3, rng, progress=False)
    totals, temperatures = [], []

    def collect():
        time = dyn.get_time()
        totals.append(atoms.get_total_energy() + electrons.energy(time) - electrons.absorbed(time))
        if dyn.nsteps >= 200:
            temperatures.append((electrons(time), atoms.get_temperature(), spin_temperature(atoms, rng)))

    dyn.attach(collect, interval=5)
    dyn.run(400)
    assert 1e3 * np.ptp(totals) / n < 0.1  # meV/atom
    assert 1e3 * electrons.given / n > 100
    assert electrons.given == pytest.approx(dyn.spin_heat + dyn.lattice_heat, rel=1e-12)

    def excess(T):
        kT = units.kB * T
        spins = -b / np.tanh(b / kT) + kT - spin_energy
        return 0.5 * gamma * (T**2 - 300.0**2) + 3 * kT + spins - 0.15

    common = brentq(excess, 10, 2000)
    assert np.mean(temperatures, axis=0) == pytest.approx([common] * 3, rel=0.03)


@pytest.mark.physical
def test_few_electrons_sample_the_microcanonical_ensemble():
    """4 atoms on springs, 24 quadratic terms, and electrons with an energy of the same size.

    p(E) ~ E^(24/2 - 1) w(U), w(U) = exp(S/k_B)/T, S = N gamma T, at U = E_total - E: electrons' Gibbs temperature.
    """
    rng = np.random.default_rng(1)
    copies, sommerfeld, start = 4, 1.5e-6, 400.0
    atoms = Atoms("Fe4", positions=10.0 * np.arange(12).reshape(4, 3))
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (4, 1)))
    atoms.calc = NonMagnetic(Einstein(atoms, 3.0))
    electrons = ElectronBath(copies, sommerfeld, start)
    options = {"friction": 0.05 / FS, "rng": rng, "integrator": "depondt", "progress": False}
    dyn = SpinLatticeDynamics(atoms, 2 * FS, electrons, **options)
    energies = []
    dyn.attach(lambda: energies.append(atoms.get_total_energy()))
    dyn.run(12_000)
    total = 0.5 * copies * sommerfeld * start**2
    energy = np.linspace(0, total, 20001)[1:-1]
    temperature = np.sqrt(2 * (total - energy) / (copies * sommerfeld))
    weight = np.exp(11 * np.log(energy) + copies * sommerfeld * temperature / units.kB - 60) / temperature
    weight /= weight.sum()
    blocks = np.array(energies[600:12_000]).reshape(19, 600)
    error = blocks.mean(axis=1).std() / np.sqrt(18)
    assert abs(blocks.mean() - weight @ energy) < 3 * error
    spread = np.sqrt(weight @ energy**2 - (weight @ energy) ** 2)
    assert blocks.std() == pytest.approx(spread, rel=0.12)


def heat_rates(atoms, timestep, seeds, **baths):
    """Mean over seeds of spin heat and lattice heat of one step from the state of ``atoms``, per time."""
    heats = []
    for seed in range(seeds):
        trial = atoms.copy()
        trial.calc = atoms.calc
        dyn = SpinLatticeDynamics(trial, timestep, rng=seed, progress=False, **baths)
        dyn.run(1)
        heats.append((dyn.spin_heat, dyn.lattice_heat))
    return np.mean(heats, axis=0) / timestep


def test_friction_and_damping_are_couplings():
    """Atoms at rest take 3 n k_B friction T_e; spins rate * (k_B T_e sum lap E - sum |grad E|^2), lap E = -4 E in all.

    The two terms one by one: aligned spins have no gradient, and without temperature only the gradient is left.
    """
    rng = np.random.default_rng(2)
    atoms = magnet(4, rng)
    n, hot, alpha, friction = len(atoms), 600.0, 0.05, 0.002 / FS
    rate = GYROMAGNETIC_RATIO * alpha / (1 + alpha**2) / 2.2
    set_moments(atoms, np.tile([0.0, 0.0, 2.2], (n, 1)))
    curvature = -4 * atoms.get_potential_energy()
    to_spins, to_lattice = heat_rates(atoms, 0.1 * FS, 20, temperature_K=hot, friction=friction, damping=alpha)
    assert to_lattice == pytest.approx(3 * n * units.kB * friction * hot, rel=0.06)
    assert to_spins == pytest.approx(rate * units.kB * hot * curvature, rel=0.06)
    set_moments(atoms, 2.2 * random_directions(n, rng))
    fields = atoms.calc.get_property("exchange_fields", atoms)
    to_spins, to_lattice = heat_rates(atoms, 0.01 * FS, 1, damping=alpha)
    assert to_spins == pytest.approx(-rate * np.sum((2.2 * fields) ** 2), rel=0.01)
    assert to_lattice == 0.0


def test_a_restart_knows_what_the_electrons_gave(tmp_path):
    def run(*steps):
        rng = np.random.default_rng(3)
        for count in steps:
            atoms = magnet(2, np.random.default_rng(3))
            electrons = ElectronBath(len(atoms), 20 * GAMMA, 300.0, LaserPulse(0.1, 5 * FS, 3 * FS))
            files = {"checkpoint": tmp_path / f"{steps}.npz", "checkpoint_interval": 10, "restart": True}
            dyn = SpinLatticeDynamics(atoms, FS, electrons, 0.02 / FS, 0.3, rng, progress=False, **files)
            dyn.run(count)
        return np.concatenate([atoms.positions, get_moments(atoms)]), electrons.given

    whole, given = run(20)
    parts, given_in_parts = run(10, 10)
    assert np.array_equal(whole, parts)
    assert given == given_in_parts != 0.0


def test_two_baths_hold_two_temperatures_and_the_conserved_energy_stays():
    rng = np.random.default_rng(4)
    atoms = magnet(3, rng, exchange=0.01)
    options = {"friction": 0.05 / FS, "damping": 0.3, "spin_temperature_K": 100.0, "rng": rng, "progress": False}
    dyn = SpinLatticeDynamics(atoms, 2 * FS, 500.0, **options)
    rows = []

    def collect():
        rows.append((atoms.get_temperature(), spin_temperature(atoms, rng), dyn.get_conserved_energy()))

    dyn.attach(collect, interval=5)
    dyn.run(250)
    lattice, spins, conserved = np.array(rows).T
    assert lattice[16:].mean() == pytest.approx(500, rel=0.1)
    assert spins[16:].mean() == pytest.approx(100, rel=0.1)
    assert 1e3 * np.ptp(conserved) / len(atoms) < 0.5  # meV/atom
    assert 1e3 * dyn.lattice_heat / len(atoms) > 100
    assert 1e3 * dyn.spin_heat / len(atoms) > 2


def test_a_ramp_is_followed():
    rng = np.random.default_rng(5)
    atoms = paramagnet(300, rng)
    heating = ramp(50, 800, 500 * FS, start_time=100 * FS)
    dyn = SpinLatticeDynamics(atoms, 2 * FS, heating, 0.05 / FS, 0.5, rng, integrator="depondt", progress=False)
    rows = []

    def collect():
        rows.append((heating(dyn.get_time()), atoms.get_temperature(), spin_temperature(atoms, rng)))

    dyn.attach(collect, interval=5)
    dyn.run(400)
    for part in np.array_split(np.array(rows[20:]), 3):
        bath, lattice, spins = part.mean(axis=0)
        assert lattice == pytest.approx(bath, abs=60)
        assert spins == pytest.approx(bath, abs=60)


REFUSED = [
    (lambda: ramp(-1, 300, PS), "Expected start_K >= 0 in K, got -1."),
    (lambda: ramp(1, np.nan, PS), "Expected stop_K >= 0 in K, got nan."),
    (lambda: ramp(1, 300, -1.0), "Expected duration >= 0 in ASE time units, got -1.0."),
    (lambda: ramp(1, 300, 1.0, np.inf), "Expected a finite start_time in ASE time units, got inf."),
    (lambda: LaserPulse(-1.0, PS, PS), "Expected energy >= 0 in eV per atom, got -1.0."),
    (lambda: LaserPulse(1.0, PS, 0.0), "Expected fwhm > 0 in ASE time units, got 0.0."),
    (lambda: LaserPulse(1.0, np.nan, 1.0), "Expected a finite centre in ASE time units, got nan."),
    (lambda: ElectronBath(0, GAMMA), "Expected n_atoms as a number of atoms >= 1, got 0."),
    (lambda: ElectronBath(1, -GAMMA), "Expected sommerfeld > 0 in eV/K^2 per atom, got -5e-08."),
    (lambda: ElectronBath(1, GAMMA, -1.0), "Expected temperature_K >= 0 in K, got -1.0."),
    (lambda: nickel_like(sommerfeld=0.0), "Expected sommerfeld > 0 in eV/K^2 per atom, got 0.0."),
    (lambda: nickel_like(lattice_heat_capacity=0.0), "Expected lattice_heat_capacity > 0 in eV/K per atom, got 0.0."),
    (lambda: nickel_like(spin_lattice=-1.0), "Expected spin_lattice >= 0 in eV/(K ASE time) per atom, got -1.0."),
    (
        lambda: nickel_like(spin_heat_capacity=None),
        "Expected spin_heat_capacity with electron_spin or spin_lattice, got none: give it in eV/K per atom.",
    ),
    (lambda: nickel_like(stop=-1.0), "Expected stop after start in ASE time units, got -1.0 and 0.0."),
    (lambda: nickel_like(temperature_K=0.0), "Expected temperatures > 0 in K at the start, got 0.0."),
    (
        lambda: nickel_like().electrons(200 * PS),
        "Expected times from start to stop, 0 to 100000 fs, got others: solve the model up to a later stop.",
    ),
    (
        lambda: nickel_like(spin_heat_capacity=None, electron_spin=0.0, spin_lattice=0.0).spins(0.0),
        "Expected a model with spin_heat_capacity, got one of two temperatures: spins have none.",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refused(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message


def test_electrons_cannot_give_what_they_do_not_have():
    electrons = ElectronBath(10, GAMMA, 300.0)
    electrons.give(0.03)
    assert electrons.energy(0.0) == pytest.approx(-0.0075)
    assert electrons(0.0) == 0.0
    electrons.give(0.97)
    with pytest.raises(InputError) as error:
        electrons(2 * FS)
    assert str(error.value) == (
        "Expected electrons with energy left to give, got -0.9775 eV at 2 fs: use more atoms, whose fluctuations are "
        "smaller, a smaller timestep, or less friction and damping."
    )
