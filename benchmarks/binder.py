"""Critical temperatures of the classical Heisenberg model from crossings of Binder cumulants, by spin dynamics.

    OMP_NUM_THREADS=1 python benchmarks/binder.py sc --save sc.npz
    OMP_NUM_THREADS=1 python benchmarks/binder.py bcc --save bcc.npz
    python benchmarks/binder.py --figure docs/figures/binder.png sc.npz bcc.npz

E = -J sum over nearest neighbours of e_i.e_j, J = 1, moments of 1 mu_B, gamma = 1. Independent copies of a periodic
lattice form one system of :class:`ase_spinml.SpinDynamics` on a device, with strong damping, at three temperatures
close to the critical one, half of the copies starting ordered. The samples of all three are joined by multiple
histograms into U(T) = 1 - <m^4>/(3 <m^2>^2) for every size; errors are from a jackknife over groups of copies. The
bias of the time step is the difference of the energy of the smallest lattice from that of the heat-bath algorithm,
which has none, expressed as a temperature.
"""

import argparse
import time

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from scipy.optimize import brentq
from scipy.special import logsumexp

from ase_spinml import SpinDynamics, get_spins, set_moments
from ase_spinml.calculators.shells import Bonds
from ase_spinml.calculators.tensors import heisenberg_fields, linear_matrix, product
from ase_spinml.moments import random_directions

DAMPING = 0.8
INTERVAL = 20
GROUPS = 6
"""Of copies, for the jackknife: near the critical point blocks of time are not independent."""
LATTICES = {
    "sc": {"basis": [[0, 0, 0]], "critical": 1.443, "timestep": 0.05, "runs": {8: (42, 6), 12: (24, 12), 16: (18, 30)}},
    "bcc": {
        "basis": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "critical": 2.054,
        "timestep": 0.035,
        "runs": {6: (48, 6), 8: (36, 10), 12: (18, 25)},
    },
}
"""``runs``: copies, and thousands of steps at each temperature, by the number of cubic cells along a side."""
TEMPERATURES = (0.99, 1.0, 1.01)
"""In units of ``critical``, the values of the literature: K. Chen, A. M. Ferrenberg and D. P. Landau, Phys. Rev. B 48,
3249 (1993), K_c = 0.693035 (sc) and 0.486798 (bcc)."""


class Copies(BaseCalculator):
    """Nearest-neighbour exchange J = 1 eV in independent copies of one periodic lattice, for spins on a device."""

    implemented_properties = ["energy", "exchange_fields"]

    def __init__(self, lattice, side, copies):
        super().__init__()
        cell = Atoms("H" * len(LATTICES[lattice]["basis"]), LATTICES[lattice]["basis"], cell=[1, 1, 1], pbc=True)
        one = cell * side
        one.positions *= 3.0
        one.cell = 3.0 * one.cell.array
        bonds = Bonds(one, np.ones(len(one), bool), 1, 0.05)
        self.size, self.copies = len(one), copies
        first = np.arange(copies)[:, None] * len(one)
        self.i, self.j = ((first + ends).ravel() for ends in (bonds.i, bonds.j))

    def calculate(self, atoms, properties, system_changes):
        raise NotImplementedError("for spins on a device alone")

    def torch_fields(self, atoms, device, dtype):
        ones = np.ones(len(self.i))
        along = np.tile([1.0, 0.0, 0.0], (len(self.i), 1))
        constants, lengths = np.stack([ones, 0 * ones, 0 * ones]), np.ones(len(atoms))
        return heisenberg_fields(self, constants, along, lengths, device, dtype)

    def observables(self, spins):
        """Energy and |m| per spin of every copy, (copies,) each."""
        energy = -np.einsum("ia,ia->i", spins[self.i], spins[self.j]).reshape(self.copies, -1).sum(axis=1)
        return energy / self.size, np.linalg.norm(spins.reshape(self.copies, -1, 3).mean(axis=1), axis=1)


def sample(lattice, side, copies, steps, temperature, seed, timestep):
    """Energies and |m| per spin, (samples, copies) each; the first quarter of the run is left out."""
    calc = Copies(lattice, side, copies)
    n = copies * calc.size
    atoms = Atoms("Fe" * n, positions=np.zeros((n, 3)))
    start = random_directions(n, seed)
    start.reshape(copies, -1, 3)[::2] = [0.0, 0.0, 1.0]  # what is left of either start cancels
    set_moments(atoms, start)
    atoms.calc = calc
    dyn = SpinDynamics(
        atoms,
        timestep,
        temperature / units.kB,
        DAMPING,
        seed,
        integrator="depondt",
        gyromagnetic_ratio=1.0,
        device="cpu",
        dtype="float32",
    )
    dyn.run(steps // 4)
    found = []
    dyn.attach(lambda: found.append(calc.observables(get_spins(atoms))), interval=INTERVAL)
    dyn.run(steps - steps // 4)
    return np.array(found).transpose(1, 0, 2)


def heat_bath(lattice, side, copies, sweeps, temperature, seed):
    """Mean energy per spin and its standard error, by the heat-bath algorithm on two sublattices."""
    calc, generator = Copies(lattice, side, copies), torch.Generator().manual_seed(seed)
    n = copies * calc.size
    both = np.concatenate([calc.i, calc.j]), np.concatenate([calc.j, calc.i])
    matrix = linear_matrix(*both, np.ones(len(both[0])), np.zeros((len(both[0]), 3)), np.ones(n))
    apply = product(matrix, torch.device("cpu"), torch.float32)
    parity = torch.as_tensor(_sublattices(calc, n))
    spins = torch.as_tensor(random_directions(n, seed), dtype=torch.float32)
    energies = []
    for _ in range(sweeps):
        for part in (0, 1):
            field = apply(spins.T.reshape(-1)).view(3, -1).T
            strength = field.norm(dim=1)
            x, u = strength / temperature, torch.rand(n, generator=generator)
            cosine = (1 + torch.log(u + (1 - u) * torch.exp(-2 * x)) / x).clamp(-1, 1)
            axis = field / strength[:, None]
            other = torch.randn(n, 3, generator=generator)
            other = torch.nn.functional.normalize(other - (other * axis).sum(1, keepdim=True) * axis, dim=1)
            turned = cosine[:, None] * axis + (1 - cosine**2).sqrt()[:, None] * other
            spins = torch.where((parity == part)[:, None], turned, spins)
        energies.append(-0.5 * float((spins * apply(spins.T.reshape(-1)).view(3, -1).T).sum()) / n)
    return _mean_error(np.array(energies[sweeps // 5 :]))


def _sublattices(calc, n):
    """0 or 1 for every spin, neighbours unlike, (n,)."""
    parity = np.full(n, -1)
    parity[:: calc.size] = 0
    while (parity < 0).any():
        for one, other in ((calc.i, calc.j), (calc.j, calc.i)):
            known = (parity[one] >= 0) & (parity[other] < 0)
            parity[other[known]] = 1 - parity[one[known]]
    return parity


def _mean_error(series):
    """Mean of a series and its standard error from ten blocks."""
    blocks = series[: len(series) // 10 * 10].reshape(10, -1).mean(axis=1)
    return series.mean(), blocks.std(ddof=1) / np.sqrt(10)


class Cumulant:
    """U(T) of one size from samples at several temperatures.

    Parameters
    ----------
    temperatures : (M,)
    energies, magnetisations : list of M arrays (samples, copies)
        Per spin.
    size : int
        Spins.
    """

    def __init__(self, temperatures, energies, magnetisations, size):
        self._energy = size * np.concatenate([e.ravel() for e in energies]).astype(float)
        self._square = np.concatenate([m.ravel() for m in magnetisations]).astype(float) ** 2
        counts = np.array([e.size for e in energies])
        betas = 1.0 / np.asarray(temperatures)
        self._shift = self._energy.mean()
        exponents = -np.outer(betas, self._energy - self._shift)
        free = np.zeros(len(betas))
        for _ in range(200):  # Ferrenberg and Swendsen, Phys. Rev. Lett. 63, 1195 (1989)
            self._mixture = logsumexp(exponents + (free + np.log(counts))[:, None], axis=0)
            last, free = free, -logsumexp(exponents - self._mixture, axis=1)
            if np.abs(free - last).max() < 1e-9:
                break

    def weights(self, temperature):
        """Weight of every sample at a temperature."""
        weights = -(self._energy - self._shift) / temperature - self._mixture
        weights = np.exp(weights - weights.max())
        return weights / weights.sum()

    def __call__(self, temperature):
        """U at a temperature."""
        weights = self.weights(temperature)
        return 1 - (weights @ self._square**2) / (3 * (weights @ self._square) ** 2)


def crossing(small, large, critical):
    """Temperature at which two cumulants are equal, or nan."""
    low, high = 0.97 * critical, 1.03 * critical
    difference = [large(t) - small(t) for t in (low, high)]
    return brentq(lambda t: large(t) - small(t), low, high) if difference[0] * difference[1] < 0 else np.nan


def cumulants(data, side, leave_out=None):
    """Cumulant of a size; without one of ``GROUPS`` groups of copies if asked for."""
    energies, magnetisations = [], []
    for energy, magnetisation in data[side]["samples"]:
        keep = np.ones(energy.shape[1], bool) if leave_out is None else np.arange(energy.shape[1]) % GROUPS != leave_out
        energies.append(energy[:, keep])
        magnetisations.append(magnetisation[:, keep])
    return Cumulant(data[side]["temperatures"], energies, magnetisations, data[side]["size"])


def crossing_with_error(data, small, large, critical):
    """Crossing, its U, and their standard errors by the jackknife over groups of copies."""

    def once(group):
        curves = [cumulants(data, side, group) for side in (small, large)]
        temperature = crossing(*curves, critical)
        return temperature, curves[1](temperature)

    value, parts = np.array(once(None)), np.array([once(group) for group in range(GROUPS)])
    return value, np.sqrt((GROUPS - 1) / GROUPS * ((parts - parts.mean(axis=0)) ** 2).sum(axis=0))


def measure(lattice, factor, seed=0):
    """Samples of all sizes and temperatures, as a dict by side."""
    settings, data = LATTICES[lattice], {}
    for side, (copies, thousands) in settings["runs"].items():
        temperatures = np.array(TEMPERATURES) * settings["critical"]
        steps, start = int(1000 * factor * thousands), time.perf_counter()
        samples = [
            sample(lattice, side, copies, steps, t, [seed, side, k], settings["timestep"])
            for k, t in enumerate(temperatures)
        ]
        size = len(settings["basis"]) * side**3
        data[side] = {"temperatures": temperatures, "samples": samples, "size": size}
        rate = 3 * steps * copies * size / (time.perf_counter() - start)
        print(
            f"{side}^3 cells: {copies} copies, 3 x {steps} steps of {settings['timestep']} hbar/J, "
            f"{rate:.1e} updates/s",
            flush=True,
        )
    return data


def report(lattice, data):
    """Print bias and crossings."""
    settings = LATTICES[lattice]
    critical, sides = settings["critical"], sorted(data)
    small = data[sides[0]]
    energies = small["samples"][1][0]
    heat = small["size"] * energies.astype(float).var(axis=0).mean() / critical**2
    found = _mean_error(energies.mean(axis=1).astype(float))
    exact = heat_bath(lattice, sides[0], settings["runs"][sides[0]][0], 4000, critical, 1)
    shift, error = (found[0] - exact[0]) / heat, np.hypot(found[1], exact[1]) / heat
    print(
        f"energy of {sides[0]}^3 cells at kT/J = {critical}: {found[0]:.4f} +- {found[1]:.4f} J per spin, by heat bath "
        f"{exact[0]:.4f} +- {exact[1]:.4f}:\nthe step shifts the temperature by {100 * shift / critical:+.2f} +- "
        f"{100 * error / critical:.2f} %",
        flush=True,
    )
    for one, other in [(a, b) for k, a in enumerate(sides) for b in sides[k + 1 :]]:
        (temperature, value), errors = crossing_with_error(data, one, other, critical)
        print(
            f"{lattice}: {one}^3 and {other}^3 cross at kT/J = {temperature:.4f} +- {errors[0]:.4f}, "
            f"{100 * (temperature / critical - 1):+.2f} % from {critical}; U = {value:.4f} +- {errors[1]:.4f}",
            flush=True,
        )


def save(path, lattice, data):
    """Samples in one file."""
    arrays = {f"{side}_{k}": np.array(pair) for side in data for k, pair in enumerate(data[side]["samples"])}
    np.savez_compressed(path, lattice=lattice, **arrays)


def load(path):
    """Lattice and samples of :func:`save`."""
    with np.load(path) as file:
        lattice = str(file["lattice"])
        settings = LATTICES[lattice]
        data = {
            side: {
                "temperatures": np.array(TEMPERATURES) * settings["critical"],
                "samples": [file[f"{side}_{k}"] for k in range(len(TEMPERATURES))],
                "size": len(settings["basis"]) * side**3,
            }
            for side in settings["runs"]
        }
    return lattice, data


def draw(path, files):
    """U(T) of all sizes, a panel for every file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(files), figsize=(4.2 * len(files), 3.4), squeeze=False, layout="constrained")
    for panel, file in zip(panels[0], files, strict=True):
        lattice, data = load(file)
        critical = LATTICES[lattice]["critical"]
        temperatures = np.linspace(0.982, 1.018, 37) * critical
        for side, style in zip(sorted(data), ("C0", "C1", "C3"), strict=True):
            curves = [cumulants(data, side, group) for group in (None, *range(GROUPS))]
            values = np.array([[curve(t) for t in temperatures] for curve in curves])
            error = np.sqrt((GROUPS - 1) / GROUPS * ((values[1:] - values[1:].mean(axis=0)) ** 2).sum(axis=0))
            panel.plot(temperatures, values[0], style, label=f"${side}^3$ cells")
            panel.fill_between(temperatures, values[0] - error, values[0] + error, color=style, alpha=0.2, lw=0)
        panel.axvline(critical, color="0.5", lw=0.8, ls="--")
        panel.set(title=lattice, xlabel="$k_B T/J$", ylabel=r"$1-\langle m^4\rangle/3\langle m^2\rangle^2$")
        panel.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("inputs", nargs="+", help="sc or bcc; with --figure, files of --save")
    parser.add_argument("--save", help="keep the samples in this .npz file")
    parser.add_argument("--figure", help="draw this file")
    parser.add_argument("--factor", type=float, default=1.0, help="on the number of steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.figure:
        draw(options.figure, options.inputs)
        return
    for lattice in options.inputs:
        print(f"{lattice}: damping {DAMPING}, depondt, float32, one thread")
        data = measure(lattice, options.factor)
        if options.save:
            save(options.save, lattice, data)
        report(lattice, data)


if __name__ == "__main__":
    main()
