# %% [markdown]
# # Atoms and spins in motion: NVE, baths, ramps, a laser pulse, pressure
#
# A small analytic magnet stands in for a fitted model, so that everything runs in about a minute: what is done to it is
# the same for any calculator that gives `exchange_fields`. Set the environment variable `FIGURES` to a folder to keep
# the pictures.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.neighborlist import neighbor_list

from ase_spinml import ElectronBath, LaserPulse, SpinLatticeDynamics, get_moments, get_spins, ramp, set_moments
from ase_spinml.dynamics.barostat import pressure
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.moments import random_directions
from ase_spinml.plotting import energy_drift, magnetisation_and_temperatures

FS, PS = units.fs, 1000 * units.fs


def keep(figure, name):
    """Save a figure where FIGURES says."""
    if "FIGURES" in os.environ:
        figure.savefig(Path(os.environ["FIGURES"]) / name, dpi=120)


# %% [markdown]
# ## The magnet
#
# bcc iron with springs between neighbours and an exchange that falls off with the distance,
#
#     E = sum over bonds of k/2 (r - r0)^2 - J(r) e_i.e_j,    J(r) = 20 meV exp(-(r - r0)/0.4 A).
#
# Distances change the exchange and spins change the forces: energy flows between the two. The nearest neighbours of a
# bcc lattice order below k_B T = 2.05 J, here about 480 K. (Springs between the second neighbours keep the lattice from
# shearing.)


# %%
class ElasticMagnet(BaseCalculator):
    """The energy above with its derivatives; the bonds are those of the first frame."""

    implemented_properties = ["energy", "forces", "stress", "exchange_fields"]

    def __init__(self, atoms, stiffness=2.0, strength=0.020, width=0.4):
        super().__init__()
        nearest = neighbor_list("d", atoms, 3.0).min()
        self.i, self.j, self.shifts, self.rest = neighbor_list("ijSd", atoms, 1.3 * nearest)
        self.stiffness, self.width = stiffness, width
        self.strength = strength * (self.rest < 1.05 * nearest)

    def calculate(self, atoms, properties, system_changes):
        vectors = atoms.positions[self.j] - atoms.positions[self.i] + self.shifts @ atoms.cell.array
        r = np.linalg.norm(vectors, axis=1)
        moments, spins = get_moments(atoms), get_spins(atoms)
        exchange = self.strength * np.exp(-(r - self.rest) / self.width)
        cosines = np.einsum("ia,ia->i", spins[self.i], spins[self.j])
        slope = self.stiffness * (r - self.rest) + exchange * cosines / self.width
        pull = (slope / r)[:, None] * vectors
        forces, fields = np.zeros_like(vectors[: len(atoms)]), np.zeros_like(moments)
        np.add.at(forces, self.i, pull)
        np.add.at(fields, self.i, exchange[:, None] * spins[self.j])
        strain = 0.5 * pull.T @ vectors / atoms.get_volume()  # every bond is in the list twice
        self.results = {
            "energy": 0.5 * np.sum(0.5 * self.stiffness * (r - self.rest) ** 2 - exchange * cosines),
            "forces": forces,
            "stress": strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            "exchange_fields": fields / np.linalg.norm(moments, axis=1, keepdims=True),
        }


def iron(size=4):
    """Atoms at rest, moments of 2.2 mu_B along z."""
    atoms = bulk("Fe", a=2.86, cubic=True) * size
    set_moments(atoms, np.tile([0.0, 0.0, 2.2], (len(atoms), 1)))
    atoms.calc = ElasticMagnet(atoms)
    return atoms


class Record:
    """Rows of time in ps, mean moment in mu_B, temperatures of lattice and spins in K, conserved energy in meV/atom."""

    def __init__(self, dynamics, interval=5):
        self.dynamics, self.rows = dynamics, []
        dynamics.attach(self, interval)

    def __call__(self):
        dynamics, atoms = self.dynamics, self.dynamics.atoms
        self.rows.append(
            (
                dynamics.get_time() / PS,
                np.linalg.norm(get_moments(atoms).mean(axis=0)),
                atoms.get_temperature(),
                spin_temperature(atoms, dynamics.nsteps),
                1e3 * dynamics.get_conserved_energy() / len(atoms),
            )
        )

    def columns(self):
        """One array per quantity."""
        return np.array(self.rows).T


# %% [markdown]
# ## Both baths at one temperature
#
# `friction` couples the momenta to the bath, `damping` the spins. What the baths give is counted: the conserved energy
# is the total energy less that heat, and it stays while hundreds of meV flow.

# %%
atoms = iron()
n = len(atoms)
baths = {"friction": 0.02 / FS, "damping": 0.1, "rng": 0, "progress": False}
dynamics = SpinLatticeDynamics(atoms, 2 * FS, temperature_K=200, **baths)
record = Record(dynamics)
dynamics.run(200)
times, moment, lattice, spins, conserved = record.columns()
held = lattice[20:].mean(), spins[20:].mean()
heats = 1e3 * dynamics.lattice_heat / n, 1e3 * dynamics.spin_heat / n
wander_nvt = np.ptp(conserved)
print(f"bath of 200 K: lattice {held[0]:.0f} K, spins {held[1]:.0f} K, {moment[20:].mean():.2f} mu_B")
print(f"heat given: {heats[0]:.1f} meV/atom to the lattice, {heats[1]:.1f} to the spins; conserved to {wander_nvt:.2f}")

# %% [markdown]
# ## Without baths
#
# No temperature, friction or damping: NVE. The total energy oscillates with the time step and does not drift.

# %%
dynamics = SpinLatticeDynamics(atoms, 2 * FS, progress=False)
record = Record(dynamics)
dynamics.run(400)
times, moment, lattice, spins, energy = record.columns()
wander_nve = np.ptp(energy)
drift = np.polyfit(times, energy, 1)[0]
print(f"NVE for {times[-1]:.1f} ps: energy within {wander_nve:.3f} meV/atom, slope {drift:.3f} meV/atom/ps")
keep(energy_drift(times, energy).figure, "baths_nve.png")

# %% [markdown]
# ## Files, and a run that is interrupted
#
# A trajectory and a log are written as the run goes on, and a checkpoint every twenty steps. The same script started
# again with `restart=True` continues from the last one, and ends where an unbroken run ends, bit for bit.


# %%
def interrupted(folder, *parts):
    """Moments after runs of so many steps each, every part from a fresh start of the 'script'."""
    for steps in parts:
        magnet = iron(2)
        files = {"trajectory": folder / "run.traj", "logfile": folder / "run.log", "loginterval": 10}
        checkpoint = {"checkpoint": folder / "run.npz", "checkpoint_interval": 20, "restart": True}
        run = SpinLatticeDynamics(magnet, 2 * FS, temperature_K=200, **baths, **files, **checkpoint)
        run.run(steps - run.nsteps)
        run.close()
    return get_moments(magnet), (folder / "run.log").read_text()


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    whole, log = interrupted(Path(one), 60)
    broken, continued = interrupted(Path(other), 35, 60)
same = np.array_equal(whole, broken) and log == continued
print(log)
print("interrupted and continued, the run is the same" if same else "the continued run differs")

# %% [markdown]
# ## A ramp
#
# The temperature may be any function of the time; `ramp` is a straight line, `ramp(..., duration=0)` a quench. Heated
# through its Curie temperature the magnet loses its moment. (What is left is the mean of 128 disordered moments.)

# %%
heating = ramp(100, 650, duration=0.8 * PS, start_time=0.1 * PS)
atoms = iron()
dynamics = SpinLatticeDynamics(atoms, 2 * FS, temperature_K=heating, **baths)
record = Record(dynamics)
dynamics.run(500)
times, moment, lattice, spins, conserved = record.columns()
bath = np.array([heating(time * PS) for time in times])
late = times > 0.3
lag = np.abs((lattice - bath)[late]).mean()
hot_moment = moment[times > 0.9].mean()
wander_ramp = np.ptp(conserved)
heat_ramp = 1e3 * (dynamics.lattice_heat + dynamics.spin_heat) / n
print(f"lattice within {lag:.0f} K of the ramp on average, moment from {moment[0]:.2f} to {hot_moment:.2f} mu_B")
print(f"heat {heat_ramp:.0f} meV/atom, conserved energy within {wander_ramp:.2f} meV/atom")
axes = magnetisation_and_temperatures(times, moment, lattice, spins, target=bath)
keep(axes[0].figure, "baths_ramp.png")

# %% [markdown]
# ## A laser pulse
#
# Electrons with an energy of gamma T^2/2 per atom are the bath of both. The pulse heats them; friction and damping take
# the heat to the lattice and to the spins; the electrons pay for it. Their heat capacity is small (here gamma is 20
# mJ/(mol K^2), a few times that of iron, so that the electrons of 128 atoms have a temperature worth the name), and the
# pulse makes them hot at once. The spins follow, the lattice takes longer, and as it cools the electrons and they the
# spins, part of the moment comes back.

# %%
atoms = iron()
SpinLatticeDynamics(atoms, 2 * FS, temperature_K=150, **baths).run(200)
pulse = LaserPulse(energy=0.09, centre=0.3 * PS, fwhm=0.06 * PS)
electrons = ElectronBath(n, 20e-3 * units.J / units.mol, temperature_K=150, pulse=pulse)
couplings = {"friction": 0.6 / PS, "damping": 0.03, "rng": 1, "progress": False}
dynamics = SpinLatticeDynamics(atoms, 2 * FS, temperature_K=electrons, **couplings)
record, hot, balance = Record(dynamics), [], []


def collect():
    """Temperature of the electrons, and the energy of everything less what the light brought."""
    time = dynamics.get_time()
    hot.append(electrons(time))
    balance.append(1e3 * (atoms.get_total_energy() + electrons.energy(time) - electrons.absorbed(time)) / n)


dynamics.attach(collect, 5)
dynamics.run(1250)
times, moment, lattice, spins, _ = record.columns()
before, lowest, after = moment[times < 0.2].mean(), moment.min(), moment[times > 2.0].mean()
lowest_time = times[moment.argmin()]
wander_pulse = np.ptp(balance)
last = times > 2.0
ends = np.mean(np.array(hot)[last]), lattice[last].mean(), spins[last].mean()
print(f"moment {before:.2f} mu_B before, {lowest:.2f} at {lowest_time:.2f} ps, {after:.2f} at the end")
print(f"electrons up to {max(hot):.0f} K")
print(f"at the end electrons {ends[0]:.0f} K, lattice {ends[1]:.0f} K, spins {ends[2]:.0f} K")
print(f"atoms, spins and electrons less 90 meV/atom absorbed: constant to {wander_pulse:.2f} meV/atom")
axes = magnetisation_and_temperatures(times, moment, lattice, spins, electrons=hot)
keep(axes[0].figure, "baths_laser.png")

# %% [markdown]
# ## Pressure
#
# With `pressure=` the volume moves too; without a temperature it relaxes, here to zero pressure, once for parallel and
# once for random spins. Parallel spins pull the atoms together where the exchange is stronger at short distances.

# %%
volumes = {}
for state in ("parallel", "random"):
    atoms = iron(2)
    if state == "random":
        set_moments(atoms, 2.2 * random_directions(len(atoms), 0))
    squeeze = {"pressure": 0.0, "compressibility": 1 / (170 * units.GPa), "pressure_relaxation_time": 20 * FS}
    barostat = SpinLatticeDynamics(atoms, FS, friction=0.1 / FS, **squeeze, pressure_interval=2, progress=False)
    barostat.run(300)
    volumes[state] = atoms.get_volume() / len(atoms)
    print(f"{state}: {volumes[state]:.3f} A^3/atom, pressure {pressure(atoms) / units.GPa:.2f} GPa")
plt.close("all")

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "both baths hold 200 K": max(abs(held[0] - 200), abs(held[1] - 200)) < 25,
    "conserved energy with baths": wander_nvt < 1.0 < 30 < heats[0],
    "energy without baths": wander_nve < 0.5 and abs(drift) < 0.3,
    "restart is exact": same,
    "the ramp is followed": lag < 60 and wander_ramp < 2.0 and heat_ramp > 150,
    "the moment is lost": hot_moment < 0.8,
    "energy with electrons": wander_pulse < 1.0,
    "demagnetisation and recovery": lowest < 0.6 * before and after > 1.2 * lowest,
    "magnetovolume": volumes["random"] > 1.002 * volumes["parallel"],
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
