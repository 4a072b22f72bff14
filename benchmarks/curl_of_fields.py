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
from ase_spinml.electrons.junction import Junction
from ase_spinml.electrons.leads import SemiInfiniteLead
from ase_spinml.electrons.negf import exchange_fields, steady_state
from ase_spinml.moments import random_directions

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def driven_chain(bias):
    """Fields J <sigma_i> of spins (n, 3) on a chain of electrons between leads of the same chain, as a function."""
    leads = SemiInfiniteLead(), SemiInfiniteLead()

    def fields(spins):
        onsite = -np.einsum("na,ast->nst", spins, PAULI)
        junction = Junction(onsite, -np.tile(np.eye(2), (len(spins) - 1, 1, 1)), leads)
        return exchange_fields(steady_state(junction, 0.3, bias, tolerance=1e-11), 1.0)[:, 0].numpy()

    return fields


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
        yield f"driven chain, bias {bias:g} t", "random", driven_chain(bias), random6
    for bias in (0.2, 1.0):
        yield f"driven chain, bias {bias:g} t", "wall", driven_chain(bias), wall12


def table():
    """Print one line for each case."""
    print(f"{'field':<30}{'state':<8}{'curl':>9}{'(2,0)':>8}{'W':>12}{'error':>9}")
    for name, state, field, spins in cases():
        report = curl(field, spins, precision=1e-15 if spins is None else 1e-12)
        directions = get_spins(field) if spins is None else spins
        u, v = np.random.default_rng(9).normal(size=(2, *directions.shape))
        work, error = loop_work(field, plane_loop(directions, u, v, 20, 32))
        share = "-" if np.isnan(report.share_20) else f"{report.share_20:.2f}"
        print(f"{name:<30}{state:<8}{report.relative:>9.1e}{share:>8}{work:>12.1e}{error:>9.0e}")


def valve(bias, angles):
    """Damping-like strengths d of both spins of a two-spin valve, (2, n), in t."""
    field, out = driven_chain(bias), []
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
        reports = [curl(driven_chain(bias), spins, precision=1e-12) for bias in biases]
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
