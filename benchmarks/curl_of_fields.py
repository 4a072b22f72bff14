"""Which fields of spins derive from an energy, which from two potentials, which from neither: table and figure.

python benchmarks/curl_of_fields.py                           # prints the table; a minute
python benchmarks/curl_of_fields.py --figures docs/figures    # also draws curl.png there

"curl" is |J - J^T| / |J + J^T|, "(2,0)" the share of it that no two potentials carry, W the work in eV (or t) around a
loop in a chance plane of all spins together, of about 20 degrees. "driven chain": spins on a chain of electrons between
two leads, J = t = 1, mu = 0.3 t, zero temperature, nonequilibrium Green's functions; energies in t.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.mixing import SumCalculator

from ase_spinml import (
    SOSO,
    Anisotropy,
    Heisenberg,
    SlonczewskiTorque,
    SpinCalculator,
    SpinGAP,
    ZhangLiTorque,
    get_spins,
    set_moments,
)
from ase_spinml.analysis import curl, loop_work, plane_loop
from ase_spinml.demo import load_frames
from ase_spinml.moments import random_directions

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
POINTS = 60


def driven_chain(n, bias, exchange=1.0, level=0.3):
    """Fields <J sigma_i> of n spins on a chain between leads at level +- bias/2, as a function of the spins (n, 3).

    H = - sum t c+ c - J sum S_i.sigma_i with t = 1, semi-infinite leads of the same chain. The density matrix is that
    of equilibrium at the lower level, by a contour in the upper half plane, and what the lead with the higher one adds.
    """
    hopping = np.kron(-np.eye(n, k=1) - np.eye(n, k=-1), np.eye(2))
    ends = np.zeros((2, 2 * n, 2 * n))
    ends[0, [0, 1], [0, 1]] = ends[1, [-1, -2], [-1, -2]] = 1.0
    low, high = level - abs(bias) / 2, level + abs(bias) / 2
    x, weights = np.polynomial.legendre.leggauss(POINTS)
    bottom = -4.0 - exchange
    phase = np.exp(0.5j * np.pi * (1 - x))
    contour = (bottom + low) / 2 + (low - bottom) / 2 * phase
    steps = -0.5j * np.pi * (low - bottom) / 2 * phase * weights
    window, widths = (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * weights
    source = ends[0] if bias > 0 else ends[1]

    def fields(spins):
        spin_blocks = np.einsum("ia,axy->ixy", spins, PAULI)
        hamiltonian = hopping.astype(complex)
        for i, block in enumerate(spin_blocks):
            hamiltonian[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] -= exchange * block

        def green(energies):
            leads = surface(energies)[:, None, None] * ends.sum(axis=0)
            return np.linalg.inv(energies[:, None, None] * np.eye(2 * n) - hamiltonian - leads)

        half = np.einsum("k,kxy->xy", steps, green(contour))
        density = 0.5j / np.pi * (half - half.conj().T)
        if bias:
            g = green(window + 0j)
            broadening = -2 * surface(window + 0j).imag
            density += np.einsum("k,kxz,zw,kyw->xy", widths * broadening / (2 * np.pi), g, source, g.conj())
        return exchange * np.einsum("axy,iyix->ia", PAULI, density.reshape(n, 2, n, 2)).real

    return fields


def surface(energies):
    """Retarded surface Green's function of a semi-infinite chain with t = 1."""
    return 0.5 * (energies - np.sqrt(energies - 2) * np.sqrt(energies + 2))


def wall(n, width):
    """Spins of a wall in a chain: up to its left, down to its right."""
    x = (np.arange(n) - (n - 1) / 2) / width
    return np.stack([1 / np.cosh(x), 0 * x, -np.tanh(x)], axis=1)


def two_potentials(spins):
    """E = sum J_ij S_i.S_j and G = sum g_ij S_i.S_j with chance constants."""
    n = len(spins)
    constants = np.random.default_rng(2).normal(size=(2, n, n))
    first, second = constants + constants.transpose(0, 2, 1)
    return -(first @ spins) - np.cross(spins, second @ spins)


def iron(spins=None):
    atoms = bulk("Fe", a=2.87, cubic=True) * 2
    set_moments(atoms, 2.2 * (random_directions(16, 1) if spins is None else spins))
    return atoms


def ring(n=24):
    """Atoms 2.5 A apart, periodic, whose spins turn once around: slowly at both poles, fast between."""
    atoms = Atoms(f"Fe{n}", 2.5 * np.outer(np.arange(n), [1, 0, 0]), cell=[2.5 * n, 9, 9], pbc=(True, False, False))
    phase = 2 * np.pi * np.arange(n) / n
    phase = phase - 0.4 * np.sin(2 * phase)
    set_moments(atoms, np.stack([np.sin(phase), 0 * phase, np.cos(phase)], axis=1))
    return atoms


def with_calculator(atoms, calculator):
    atoms.calc = calculator
    return atoms


def cases():
    """Name of the field, name of the state, field, spins, unit of work in eV (or t)."""
    exchange = Heisenberg([0.02, 0.01], dmi=[0.003], biquadratic=[0.004])
    model = SpinGAP(SOSO(["Fe"], cutoff=4.5), n_sparse=100, rng=0).fit(load_frames()[::4])
    strip = [Heisenberg([0.002]), Anisotropy(4e-5)]
    random6, wall12 = random_directions(6, 0), wall(12, 2.5)
    yield "Heisenberg, DM, biquadratic", "random", with_calculator(iron(), exchange), None
    yield "SpinGAP of iron", "random", with_calculator(iron(), SpinCalculator(model)), None
    torque = SlonczewskiTorque((0, 0, 1), 100.0)
    yield "  + Slonczewski, 100 T", "random", with_calculator(iron(), SumCalculator([exchange, torque])), None
    yield "chance E and G", "random", two_potentials, random6
    yield "exchange of a strip", "walls", with_calculator(ring(), SumCalculator(strip)), None
    for beta in (0.0, 1.0):
        current = ZhangLiTorque((0.05, 0, 0), 3.0, beta=beta)
        yield f"  + Zhang-Li, beta {beta:g}", "walls", with_calculator(ring(), SumCalculator([*strip, current])), None
    for bias in (0.0, 0.1, 0.5, 2.0):
        yield f"driven chain, bias {bias:g} t", "random", driven_chain(6, bias), random6
    for bias in (0.2, 1.0):
        yield f"driven chain, bias {bias:g} t", "wall", driven_chain(12, bias), wall12


def table():
    """Print one line for each case."""
    print(f"{'field':<30}{'state':<8}{'curl':>9}{'(2,0)':>8}{'W':>12}{'error':>9}")
    for name, state, field, spins in cases():
        report = curl(field, spins, precision=1e-14)
        directions = get_spins(field) if spins is None else spins
        u, v = np.random.default_rng(9).normal(size=(2, *directions.shape))
        work, error = loop_work(field, plane_loop(directions, u, v, 20, 32))
        share = "-" if np.isnan(report.share_20) else f"{report.share_20:.2f}"
        print(f"{name:<30}{state:<8}{report.relative:>9.1e}{share:>8}{work:>12.1e}{error:>9.0e}")


def valve(bias, angles):
    """Damping-like strengths d of both spins of a two-spin valve, (2, n), in t."""
    field, out = driven_chain(2, bias), []
    for angle in angles:
        first, second = spins = np.array([[0, 0, 1.0], [np.sin(angle), 0, np.cos(angle)]])
        normal, fields = np.cross(first, second), field(spins)
        out.append([fields[0] @ normal, -fields[1] @ normal] / (normal @ normal))
    return np.transpose(out)


def draw(path):
    """Damping-like torques of a valve, and the curl of a driven chain against the bias."""
    from matplotlib.figure import Figure

    from ase_spinml.plotting import COLOURS, MARKERS

    figure = Figure(figsize=(10.0, 4.2), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    angles = np.radians(np.linspace(5, 175, 35))
    for k, (strength, name) in enumerate(zip(valve(0.5, angles), ("spin 1", "spin 2"), strict=True)):
        style = {"color": COLOURS[k], "marker": MARKERS[k], "markevery": 3}
        left.plot(np.degrees(angles), 1e3 * strength, label=name, **style)
    left.axhline(0, color="0.5", lw=0.8, zorder=0)
    left.set(xlabel="angle between the spins (degrees)", ylabel="damping-like strength d (0.001 t)", xlim=(0, 180))
    left.set_title("two-spin valve, bias 0.5 t: two potentials need equal d", fontsize="medium")
    left.legend()
    biases = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0])
    states = {"six random spins": random_directions(6, 0), "wall of twelve": wall(12, 2.5)}
    for k, (name, spins) in enumerate(states.items()):
        reports = [curl(driven_chain(len(spins), bias), spins, precision=1e-14) for bias in biases]
        style = {"color": COLOURS[k], "marker": MARKERS[k]}
        right.loglog(biases, [report.relative for report in reports], label=f"{name}: curl", **style)
        violations = [report.violation for report in reports]
        right.loglog(biases, violations, ls="--", mfc="none", label=f"{name}: (2,0) part", **style)
    right.set(xlabel="bias (t)", ylabel=r"relative to $|J+J^T|$")
    right.set_title("driven chain", fontsize="medium")
    right.legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--figures", type=Path)
    figures = parser.parse_args().figures
    table()
    if figures:
        draw(figures / "curl.png")
