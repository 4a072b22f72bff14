"""A domain wall driven by a voltage: the equation of motion with fields of non-equilibrium Green functions.

python benchmarks/driven_wall.py                                # prints a table; five minutes on one core
python benchmarks/driven_wall.py docs/figures/driven_wall.png   # draws the figure too

Electrons of a chain with J = 2 t, at mu = -3 t, all have the spin of their surroundings (a half metal of n = 1/3), and
the normal leads have their band. The wall, up on the left and down on the right, is held by an easy axis K. Electron
temperature 0.03 t, Gilbert damping 0.1, dS/dt = +S x H, time in hbar/t, steps of 2 hbar/t by Depondt and Mertens.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
from ase.calculators.mixing import SumCalculator

from ase_spinml import Anisotropy, SDModel, SpinDynamics, get_spins, set_moments
from ase_spinml.electrons import spin_lattice
from ase_spinml.electrons.driven import NEGF
from ase_spinml.electrons.leads import SemiInfiniteLead

TEMPERATURE, DAMPING = 0.03, 0.1
DISTANCE = 14.0
"""Sites that the wall is given time for."""
PIECES = 5
"""Of a run, for the error of the velocity: pieces of equal time after the first tenth of it."""


@dataclass
class Wall:
    """A run: what it is made of; its record (6, R) of time, position, angle, width, currents of charge and spin."""

    voltage: float
    length: int = 40
    rows: int = 1
    coupling: float = 2.0
    chemical_potential: float = -3.0
    easy: float = 0.005
    hard: float = 0.0
    width: float = 3.0
    step: float = 2.0
    time: float | None = None
    lead: SemiInfiniteLead = field(default_factory=lambda: SemiInfiniteLead(onsite=-2.0))
    record: np.ndarray | None = None

    def atoms(self):
        """The wall at the start, and the model."""
        sites = ("square", (self.length, self.rows)) if self.rows > 1 else ("chain", self.length)
        atoms = spin_lattice(*sites, pbc=False)
        x = (atoms.positions[:, 0] - 0.5 * (self.length - 1 - DISTANCE)) / self.width
        set_moments(atoms, np.stack([1 / np.cosh(x), 0 * x, -np.tanh(x)], axis=1))
        leads = (self.lead, self.lead)
        atoms.calc = model = SDModel(
            coupling=self.coupling,
            chemical_potential=self.chemical_potential,
            temperature=TEMPERATURE,
            anisotropy=self.easy,
            solver=NEGF(leads=leads, voltage=self.voltage, width=self.rows, accuracy=1e-6),
        )
        if self.hard:
            atoms.calc = SumCalculator([model, Anisotropy(uniaxial=-self.hard, axis=(0, 1, 0))])
        return atoms, model

    def run(self):
        """Move the wall; two sites at either end stay as they are."""
        atoms, model = self.atoms()
        x, record = atoms.positions[:, 0], []
        ends = np.flatnonzero((x < 1.5) | (x > self.length - 2.5))
        options = {"gyromagnetic_ratio": -1.0, "integrator": "depondt", "frozen_moments": ends}
        dynamics = SpinDynamics(atoms, self.step, damping=DAMPING, **options)

        def observe():
            spins, currents = get_spins(atoms), model.solve(atoms).currents
            across = (spins[:, 0] + 1j * spins[:, 1]).sum() / self.rows
            position = 0.5 * (spins[:, 2].sum() / self.rows + self.length) - 0.5
            flows = currents[0, 0], currents[0, 3] - currents[-1, 3]
            record.append((dynamics.get_time(), position, np.angle(across), abs(across) / np.pi, *flows))

        time = self.time or DISTANCE * 4 * np.pi / self.voltage
        interval = max(1, int(time / self.step / 60))
        dynamics.attach(observe, interval=interval)
        dynamics.run(interval * round(time / self.step / interval))
        self.record = np.array(record).T
        return self

    def slope(self, row):
        """Mean rate of change of a row of the record, and its standard error."""
        times, values = self.record[0], self.record[row]
        marks = np.linspace(len(times) // 10, len(times) - 1, PIECES + 1).round().astype(int)
        slopes = np.diff(values[marks]) / np.diff(times[marks])
        return slopes.mean(), slopes.std(ddof=1) / np.sqrt(PIECES)

    @property
    def spin_velocity(self):
        """I_s / 2 per row: how fast the wall takes up the angular momentum that electrons leave."""
        return self.record[5].mean() / (2 * self.rows)

    def report(self, name):
        """One line of the table."""
        velocity, error = self.slope(1)
        turning, _ = self.slope(2)
        moved, current = self.record[1, -1] - self.record[1, 0], self.record[4].mean()
        made = f"{name:<16}{self.length:>4}{self.voltage:>6.2f}{moved:>9.3f}{current:>9.5f}"
        expected = f"{self.spin_velocity:>10.6f}{turning:>10.5f}{self.record[3, -1]:>7.2f}"
        print(f"{made}{velocity:>11.6f} +-{error:>6.0e}{expected}", flush=True)


HEADER = (
    f"{'':<16}{'L':>4}{'V':>6}{'sites':>9}{'I':>9}{'velocity':>11}{'error':>9}{'I_s/2':>10}{'turning':>10}{'width':>7}"
)


def runs():
    """All runs by name, length and voltage."""
    for length in (40, 60):
        for voltage in (0.0, 0.25, 0.5, 1.0):
            yield "easy axis", Wall(voltage, length, time=None if voltage else 300.0)
    yield "half the step", Wall(0.5, step=1.0)
    yield "wider leads", Wall(0.5, lead=SemiInfiniteLead(2.0, coupling=1.0))
    ladder = SemiInfiniteLead(onsite=-np.array([[4.0, 1.0], [1.0, 4.0]]))
    yield "ladder, J = 4", Wall(0.5, rows=2, coupling=4.0, chemical_potential=-4.5, lead=ladder)
    yield "K = 0.05", Wall(0.5, easy=0.05, width=0.9)
    yield "K = 0.10", Wall(0.5, easy=0.10, width=0.7)
    yield "hard axis 0.04", Wall(0.5, hard=0.04)


def spirals(coupling=2.0, chemical_potentials=(-3.5, -3.0, -2.5, -2.0, -1.5, -1.0, 0.0)):
    """Print filling, stiffness A in dOmega = A q^2 per site, and wave number of the lowest spiral of a long chain."""
    k = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    waves = np.linspace(0, np.pi, 181)
    half = 0.5 * waves[:, None]
    split = np.sqrt((2 * np.sin(k) * np.sin(half)) ** 2 + coupling**2)
    bands = np.concatenate([-2 * np.cos(k) * np.cos(half) - split, -2 * np.cos(k) * np.cos(half) + split], axis=1)
    print(f"spirals of the chain, J = {coupling:g} t\n{'mu':>6}{'electrons':>11}{'A':>9}{'lowest q / pi':>15}")
    for mu in chemical_potentials:
        potential = -2 * TEMPERATURE * np.logaddexp(0, (mu - bands) / TEMPERATURE).mean(axis=1)
        filling = (1 - np.tanh((bands[0] - mu) / (2 * TEMPERATURE))).mean()
        stiffness = (potential[1] - potential[0]) / waves[1] ** 2
        print(f"{mu:>6.1f}{filling:>11.3f}{stiffness:>9.4f}{waves[potential.argmin()] / np.pi:>15.2f}")


def draw(walls, path):
    """Position against time, velocity against voltage, and what stops a wall."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.9), layout="constrained")
    driven = {(wall.length, wall.voltage): wall for name, wall in walls if name == "easy axis"}
    for (length, voltage), wall in driven.items():
        style = "-" if length == 40 else "--"
        label = f"V = {voltage:g} t" if length == 40 else None
        color = f"C{[0.0, 0.25, 0.5, 1.0].index(voltage)}"
        left.plot(wall.record[0], wall.record[1] - wall.record[1, 0], style, color=color, label=label)
    left.set(
        xlabel=r"time / $\hbar t^{-1}$", ylabel="sites moved", xlim=(0, 720), title="40 sites (lines), 60 (dashes)"
    )
    left.legend(frameon=False)
    ratio = middle.inset_axes([0.62, 0.1, 0.36, 0.3], ylim=(0.988, 0.997), ylabel=r"$\div\, V/4\pi$")
    for length, marker in ((40, "o"), (60, "x")):
        chosen = [wall for (size, _), wall in driven.items() if size == length]
        values, errors = np.transpose([wall.slope(1) for wall in chosen])
        voltages = np.array([wall.voltage for wall in chosen])
        middle.errorbar(voltages, values, errors, fmt=marker, capsize=4, label=f"{length} sites")
        adiabatic = voltages[1:] / (4 * np.pi)
        ratio.errorbar(voltages[1:], values[1:] / adiabatic, errors[1:] / adiabatic, fmt=marker, capsize=4)
    straight = np.array([0.0, 1.0])
    middle.plot(straight, straight / (4 * np.pi * (1 + DAMPING**2)), "k:", label=r"$V/4\pi(1+\alpha^2)$")
    ratio.axhline(1 / (1 + DAMPING**2), color="k", linestyle=":")
    middle.set(xlabel="voltage / t", ylabel=r"sites $t\,\hbar^{-1}$", title="mean velocity, standard errors")
    middle.legend(frameon=False)
    for name, wall in walls:
        if name in ("K = 0.05", "K = 0.10", "hard axis 0.04"):
            right.plot(wall.record[0], wall.record[1] - wall.record[1, 0], label=name)
    hard = dict(walls)["hard axis 0.04"]
    angle = 0.5 * np.arcsin(hard.record[5].mean() / (2 * hard.width * hard.hard))
    right.axhline(hard.width * angle / DAMPING, color="C2", linestyle=":", label=r"$\Delta\varphi/\alpha$")
    free = driven[40, 0.5]
    right.plot(free.record[0], free.record[1] - free.record[1, 0], "k:", label="K = 0.005")
    right.set(xlabel=r"time / $\hbar t^{-1}$", ylabel="sites moved", title="V = 0.5 t: what holds a wall back")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    spirals()
    print(f"\nwalls\n{HEADER}")
    walls = []
    for name, wall in runs():
        walls.append((name, wall.run()))
        wall.report(name)
    if len(sys.argv) > 1:
        draw(walls, sys.argv[1])
