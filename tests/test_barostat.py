"""Constant pressure: isobaric ensembles in closed form, relaxation, magnetovolume, bookkeeping, restart."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from test_dynamics import pair_of_iron

from ase_spinml import NonMagnetic, SpinLatticeDynamics, get_moments, set_moments
from ase_spinml.dynamics.barostat import pressure, rescaled_volume
from ase_spinml.errors import InputError
from ase_spinml.moments import cone

FS = units.fs
KT = units.kB * 300.0
GPA = units.GPa


class Volumetric(BaseCalculator):
    """E = K/2 (V - V0)^2/V0 - J exp(-(V - V0)/(w V0)) m_0.m_1/(m_0 m_1): forces are zero, the pressure is not.

    ``stiffness`` K is in eV/Angstrom^3; zero K and J make an ideal gas.
    """

    implemented_properties = ["energy", "forces", "stress", "exchange_fields"]

    def __init__(self, volume=1.0, stiffness=0.0, exchange=0.0, width=0.1):
        super().__init__()
        self.volume, self.stiffness, self.exchange, self.width = volume, stiffness, exchange, width

    def calculate(self, atoms, properties, system_changes):
        strain = atoms.get_volume() / self.volume - 1
        moments = get_moments(atoms)
        lengths = np.linalg.norm(moments, axis=1)
        cosine = moments[0] @ moments[1] / (lengths[0] * lengths[1])
        exchange = self.exchange * np.exp(-strain / self.width)
        slope = self.stiffness * strain + exchange * cosine / (self.width * self.volume)  # dE/dV
        fields = np.zeros_like(moments)
        fields[[0, 1]] = exchange * moments[[1, 0]] / (lengths[0] * lengths[1])
        self.results = {
            "energy": 0.5 * self.stiffness * self.volume * strain**2 - exchange * cosine,
            "forces": np.zeros_like(moments),
            "stress": np.array([slope, slope, slope, 0, 0, 0]),
            "exchange_fields": fields,
        }


def box(n, volume, calc, rng, temperature_K=300.0):
    """n atoms with momenta anywhere in a cube."""
    side = volume ** (1 / 3)
    atoms = Atoms(f"Ar{n}", positions=side * rng.random((n, 3)), cell=[side] * 3, pbc=True)
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (n, 1)))
    atoms.set_momenta(np.sqrt(units.kB * temperature_K * atoms.get_masses())[:, None] * rng.normal(size=(n, 3)))
    atoms.calc = calc
    return atoms


@pytest.mark.parametrize("stiffness", [0.0, 0.05])
def test_the_step_samples_the_isobaric_ensemble(stiffness):
    """n free atoms in a volume with E = K/2 (V - V0)^2/V0: p(V) ~ V^n exp(-(E + P V)/kT), known by quadrature.

    The momenta are drawn anew before every step, in the place of a heat bath.
    """
    rng = np.random.default_rng(0)
    n, target, count = 5, 2e-4, 60_000
    natural = (n + 1) * KT / target
    volume, volumes = natural, []
    for momenta in rng.chisquare(3 * n, size=count):  # p^2/(m kT)
        now = KT * momenta / (3 * volume) - stiffness * 1e-2 * (volume / natural - 1)
        volume = rescaled_volume(volume, now, target, 300.0, 0.02 / target, 1.0, rng)
        volumes.append(volume)
    grid = np.linspace(0.01, 6, 4000) * natural
    energy = 0.5 * stiffness * 1e-2 * natural * (grid / natural - 1) ** 2 + target * grid
    weight = np.exp(n * np.log(grid / natural) - (energy - energy.min()) / KT)
    weight /= weight.sum()
    mean = weight @ grid
    blocks = np.array(volumes).reshape(60, -1).mean(axis=1)
    assert abs(blocks.mean() - mean) < 3 * blocks.std() / np.sqrt(60) + 0.005 * mean  # time step 2 % of tau
    assert np.var(volumes) == pytest.approx(weight @ grid**2 - mean**2, rel=0.1)
    if stiffness == 0:
        assert mean == pytest.approx(natural, rel=1e-3)


@pytest.mark.physical
def test_an_ideal_gas_at_constant_pressure():
    """<V> = (n + 1) kT/P and var V = (n + 1) (kT/P)^2 from the dynamics, and the conserved energy constant."""
    rng = np.random.default_rng(1)
    n, target = 20, 1e-3
    natural = (n + 1) * KT / target
    atoms = box(n, natural, Volumetric(), rng)
    baths = {"temperature_K": 300.0, "friction": 0.02 / FS, "rng": rng, "integrator": "depondt", "progress": False}
    barostat = {"compressibility": 1 / target, "pressure_relaxation_time": 150 * FS, "pressure_interval": 1}
    dyn = SpinLatticeDynamics(atoms, 10 * FS, pressure=target, **barostat, **baths)
    rows = []
    dyn.attach(lambda: rows.append((atoms.get_volume(), pressure(atoms), dyn.get_conserved_energy())), 4)
    dyn.run(14_000)
    volumes, pressures, conserved = np.array(rows[100:]).T
    for values, mean in ((volumes, natural), (pressures * volumes, n * KT)):
        blocks = np.array([part.mean() for part in np.array_split(values, 20)])
        assert abs(blocks.mean() - mean) < 3 * blocks.std() / np.sqrt(20)
    assert volumes.var() == pytest.approx(natural**2 / (n + 1), rel=0.2)
    assert np.ptp(conserved) < 1e-10


@pytest.mark.physical
def test_the_mean_pressure_of_copper_is_the_target():
    """EMT, 32 atoms at 300 K and 5 GPa; the volume fluctuates by V kT/B with B of the order of 150 GPa."""
    atoms = bulk("Cu", cubic=True) * 2
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (len(atoms), 1)))
    atoms.calc = NonMagnetic(EMT())
    baths = {"temperature_K": 300.0, "friction": 0.02 / FS, "rng": 11, "integrator": "depondt", "progress": False}
    barostat = {"compressibility": 1 / (140 * GPA), "pressure_relaxation_time": 200 * FS, "pressure_interval": 5}
    dyn = SpinLatticeDynamics(atoms, 5 * FS, pressure=5 * GPA, **barostat, **baths)
    rows = []
    dyn.run(300)
    dyn.attach(lambda: rows.append((atoms.get_volume(), pressure(atoms) / GPA, dyn.get_conserved_energy())), 5)
    dyn.run(3000)
    volumes, pressures, conserved = np.array(rows).T
    blocks = np.array([part.mean() for part in np.array_split(pressures, 12)])
    assert abs(blocks.mean() - 5.0) < 3 * blocks.std() / np.sqrt(11)
    modulus = volumes.mean() * KT / volumes.var() / GPA
    assert 80 < modulus < 320
    assert 1e3 * np.ptp(conserved) / len(atoms) < 1.0  # meV/atom


def test_without_temperature_the_volume_relaxes_and_depends_on_the_spins():
    """-dE/dV = P by hand for spins parallel and opposite: K x + J c/(w V0) exp(-x/w) = -P."""
    volume, stiffness, exchange, width, target = 100.0, 1.0, 0.3, 0.1, 0.002
    ends = {}
    for cosine in (1, -1):
        atoms = box(2, 1.02 * volume, Volumetric(volume, stiffness, exchange, width), np.random.default_rng(3), 0.0)
        set_moments(atoms, [[0, 0, 1.0], [0, 0, cosine]])
        barostat = {"compressibility": 1 / stiffness, "pressure_relaxation_time": 10 * FS, "pressure_interval": 1}
        dyn = SpinLatticeDynamics(atoms, FS, pressure=target, progress=False, **barostat)
        enthalpies = []
        dyn.attach(lambda a=atoms, kept=enthalpies: kept.append(a.get_potential_energy() + target * a.get_volume()))
        start = dyn.get_conserved_energy()
        dyn.run(300)
        assert np.all(np.diff(enthalpies) <= 1e-12)
        assert dyn.get_conserved_energy() == pytest.approx(start, abs=1e-3 * (enthalpies[0] - enthalpies[-1]))
        strain = atoms.get_volume() / volume - 1
        balance = stiffness * strain + exchange * cosine / (width * volume) * np.exp(-strain / width)
        assert balance == pytest.approx(-target, abs=1e-6)
        ends[cosine] = strain
    assert ends[1] < -0.02 < 0.02 < ends[-1]


def test_the_volume_follows_the_spins_while_they_move():
    """Exchange that is stronger at small volume: hot spins make the crystal larger than cold ones."""
    means = []
    for spin_temperature_K in (30.0, 3000.0):
        rng = np.random.default_rng(4)
        atoms = box(2, 100.0, Volumetric(100.0, 2.0, 0.1, 0.1), rng)
        options = {"temperature_K": 10.0, "friction": 0.05 / FS, "damping": 0.5, "rng": rng, "progress": False}
        barostat = {"compressibility": 0.5, "pressure_relaxation_time": 20 * FS, "pressure_interval": 2}
        dyn = SpinLatticeDynamics(
            atoms, FS, spin_temperature_K=spin_temperature_K, pressure=0.0, integrator="sib", **options, **barostat
        )
        volumes = []
        dyn.attach(lambda a=atoms, kept=volumes: kept.append(a.get_volume()))
        dyn.run(600)
        means.append(np.mean(volumes[100:]))
    assert 98 < means[0] < means[1] - 0.2


def test_heats_are_taken_from_the_stress_and_momenta_scale_inversely():
    atoms = bulk("Cu", cubic=True) * 2
    set_moments(atoms, cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 30, 0))
    atoms.calc = NonMagnetic(EMT())
    atoms.rattle(0.02, seed=0)
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    moments = get_moments(atoms)
    dyn = SpinLatticeDynamics(atoms, FS, pressure=10 * GPA, compressibility=1 / (140 * GPA), progress=False)
    scaled, momenta, volume = atoms.get_scaled_positions(), atoms.get_momenta(), atoms.get_volume()
    start = dyn.get_conserved_energy()
    dyn._barostat._rate *= 20
    heat = dyn._barostat.rescale(atoms, 0.0, FS, dyn.rng)
    dyn.barostat_heat += heat
    scale = (atoms.get_volume() / volume) ** (1 / 3)
    assert scale < 0.9995
    assert np.allclose(atoms.get_scaled_positions(), scaled, rtol=0, atol=1e-12)
    assert np.allclose(scale * atoms.get_momenta(), momenta, rtol=1e-12)
    assert np.array_equal(get_moments(atoms), moments)
    assert heat < -1e-4
    assert dyn.get_conserved_energy() == pytest.approx(start, abs=2e-3 * abs(heat))


def test_a_restart_continues_bit_for_bit(tmp_path):
    def run(*steps):
        for count in steps:
            rng = np.random.default_rng(5)
            atoms = box(2, 100.0, Volumetric(100.0, 2.0, 0.1, 0.1), rng)
            files = {"checkpoint": tmp_path / f"{steps}.npz", "checkpoint_interval": 9, "restart": True}
            options = {"temperature_K": 300.0, "friction": 0.05 / FS, "damping": 0.5, "rng": rng, "progress": False}
            barostat = {"pressure": 0.01, "compressibility": 0.5, "pressure_relaxation_time": 100 * FS}
            dyn = SpinLatticeDynamics(atoms, FS, pressure_interval=4, **barostat, **options, **files)
            dyn.run(count)
        state = [atoms.positions, atoms.cell.array, atoms.get_momenta(), get_moments(atoms)]
        return np.concatenate(state), dyn.barostat_heat, dyn.get_conserved_energy()

    whole, parts = run(18), run(9, 9)
    assert np.array_equal(whole[0], parts[0])
    assert whole[1:] == parts[1:]
    assert whole[1] != 0


def gas(**changes):
    atoms = box(2, 100.0, Volumetric(), np.random.default_rng(6))
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


class Stressless(Volumetric):
    implemented_properties = ["energy", "forces", "exchange_fields"]


REFUSED = [
    ({"pressure": np.inf}, "Expected a finite pressure in eV/A^3, got inf."),
    (
        {"compressibility": None},
        "Expected compressibility in A^3/eV with pressure, got none: an estimate will do, such as "
        "1 / (170 * units.GPa) for iron.",
    ),
    ({"compressibility": -1.0}, "Expected compressibility > 0 in A^3/eV, got -1.0."),
    ({"pressure_relaxation_time": 0.0}, "Expected pressure_relaxation_time > 0 in ASE time units, got 0.0."),
    ({"pressure_interval": 0}, "Expected pressure_interval as a number of steps >= 1, got 0."),
    ({"pressure_interval": 1.5}, "Expected pressure_interval as a number of steps >= 1, got 1.5."),
    (
        {"atoms": gas(pbc=(True, True, False))},
        "Expected atoms periodic in three directions with pressure, got pbc [True, True, False]: only a crystal has a "
        "pressure.",
    ),
    (
        {"atoms": gas(constraints=FixAtoms([0]))},
        "Expected atoms without constraints with pressure, got FixAtoms: remove it, as positions are scaled with the "
        "cell.",
    ),
    (
        {"atoms": gas(calc=Stressless())},
        "Expected a calculator that gives stress with pressure, got Stressless without: fit a model with stress, or "
        "leave out pressure.",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused(options, message):
    with pytest.raises(InputError) as error:
        SpinLatticeDynamics(**{"atoms": gas(), "timestep": FS, "pressure": 0.0, "compressibility": 1.0, **options})
    assert str(error.value) == message


def test_a_step_that_is_far_too_long_is_refused():
    with pytest.raises(InputError) as error:
        rescaled_volume(100.0, 1.0, 0.0, 0.0, 10.0, 1.0, None)
    assert str(error.value) == (
        "Expected a barostat step that changes the volume by less than half, got 3600 A^3 from 100 A^3: use a longer "
        "pressure_relaxation_time or a smaller pressure_interval."
    )


def test_without_pressure_nothing_is_scaled():
    atoms = pair_of_iron()
    dyn = SpinLatticeDynamics(atoms, FS, progress=False)
    dyn.run(2)
    assert dyn.barostat_heat == 0.0
    assert not atoms.cell.array.any()
