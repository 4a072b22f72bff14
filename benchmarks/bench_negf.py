"""Non-equilibrium Green functions: a spin valve, curls, convergence with the number of energies, cost.

python benchmarks/bench_negf.py                            # prints tables; two minutes on one core
python benchmarks/bench_negf.py docs/figures/negf.png      # draws the figure too

Chains with t = 1 and random spins, J = 1, mu = 0.3, leads t = 1. The dense peer inverts the matrix of the whole device
at the same energies with NumPy, one after the other.
"""

import sys
import time

import numpy as np
import torch

from ase_spinml.analysis import curl
from ase_spinml.electrons.junction import Junction
from ase_spinml.electrons.leads import SemiInfiniteLead
from ase_spinml.electrons.negf import exchange_fields, steady_state
from ase_spinml.electrons.sd import SIGMA
from ase_spinml.moments import random_directions

MU, VOLTAGE = 0.3, 0.5
TOLERANCES = 10.0 ** -np.arange(2, 12)


def ribbon(spins, coupling=1.0, bath=0.0):
    """Ribbon of the square lattice, open across, with spins (L, W, 3) between leads of the same lattice."""
    length, width = spins.shape[:2]
    across = -(np.eye(width, k=1) + np.eye(width, k=-1))
    onsite = np.tile(np.kron(across, np.eye(2)).astype(complex), (length, 1, 1))
    for site in range(width):
        part = slice(2 * site, 2 * site + 2)
        onsite[:, part, part] -= coupling * np.einsum("na,ast->nst", spins[:, site], SIGMA)
    lead = SemiInfiniteLead(onsite=across)
    return Junction(onsite, -np.tile(np.eye(2 * width), (length - 1, 1, 1)), (lead, lead), bath)


def random_ribbon(length, width=1, seed=0, coupling=1.0):
    return ribbon(random_directions(length * width, seed).reshape(length, width, 3), coupling)


def chain_fields(spins, voltage, temperature=0.0):
    """H_i (N, 3) of a chain."""
    state = steady_state(ribbon(np.asarray(spins, float)[:, None]), MU, voltage, temperature, 1e-10)
    return exchange_fields(state, 1.0)[:, 0].numpy()


def valve():
    """Fields of two spins at a right angle, and what two potentials of all spins would make equal."""
    first, second = np.array([0.0, 0, 1]), np.array([1.0, 0, 0])
    print("two-spin valve, J = t = 1, mu = 0.3, T = 0, S1 = z on the left, S2 = x")
    print(f"{'V':>6}{'H1.(S2xS1)':>13}{'H2.(S1xS2)':>13}{'H1.S2':>13}{'H2.S1':>13}{'I':>13}")
    for voltage in (0.0, 0.1, 0.5, 1.0, 2.0):
        on_first, on_second = chain_fields([first, second], voltage)
        current = steady_state(ribbon(np.array([first, second])[:, None]), MU, voltage).current
        axis = np.cross(first, second)
        values = (-on_first @ axis, on_second @ axis, on_first @ second, on_second @ first, current)
        print(f"{voltage:>6.1f}" + "".join(f"{value + 0.0:>13.5f}" for value in values))


def curls(count=20):
    """Curl of the fields of six random spins: its size, and the share between unlike spins that is of type (2,0)."""
    print(f"\ncurl of six random spins, mean and standard deviation over {count} sets")
    print(f"{'V':>6}{'|J-J^T|/|J+J^T|':>24}{'share of (2,0)':>20}{'(2,0)/|J+J^T|':>20}")
    for voltage in (0.0, 0.1, 0.5, 2.0):
        rows = []
        for seed in range(count):
            report = curl(lambda s, v=voltage: chain_fields(s, v), random_directions(6, seed), precision=1e-13)
            pairs = report.two_form.reshape(6, 2, 6, 2).copy()
            pairs[np.arange(6), :, np.arange(6)] = 0
            share = np.linalg.norm(report.part_20) / np.linalg.norm(pairs) if voltage else np.nan
            rows.append((report.relative, share, report.violation))
        pairs = np.transpose([np.mean(rows, axis=0), np.std(rows, axis=0)])
        print(
            f"{voltage:>6.1f}" + "".join(f"{mean:>12.2g} +-{deviation:>5.1g}" for mean, deviation in pairs), flush=True
        )


def convergence():
    """Errors of the density matrix and numbers of energies against the tolerance, for 20 spins."""
    junction = random_ribbon(20, coupling=0.5)
    curves = {}
    print("\nconvergence, 20 random spins with J = 0.5: energies, largest error of the density matrix")
    cases = [(0.0, 0.0), (0.0, 0.02), (VOLTAGE, 0.0), (VOLTAGE, 0.02)]
    names = [f"V = {voltage:g}, T = {temperature:g}" for voltage, temperature in cases]
    print(f"{'tolerance':>10}" + "".join(f"{name:>22}" for name in names))
    exact = {case: steady_state(junction, MU, *case, 1e-12).density for case in cases}
    for tolerance in TOLERANCES:
        cells = []
        for case in cases:
            state = steady_state(junction, MU, *case, tolerance)
            error = float((state.density - exact[case]).abs().max())
            curves.setdefault(case, []).append((state.points, max(error, 1e-16)))
            cells.append(f"{state.points:>12}{error:>10.0e}")
        print(f"{tolerance:>10.0e}" + "".join(cells))
    return curves


def seconds(function, least=0.5):
    """Shortest processor time of a call among those that fit into ``least`` seconds, and at least two."""
    times = []
    while len(times) < 3 or sum(times) < least:
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times[1:])


def dense_seconds(junction):
    """Time per energy of the inverse of the whole matrix."""
    size = junction.slices * junction.states
    matrix = np.random.default_rng(0).normal(size=(size, size)) + 5j * np.eye(size)
    return seconds(lambda: np.linalg.inv(matrix), 0.2)


def cost():
    """Time of one field evaluation, V = 0.5, T = 0.02, tolerance 1e-6, and per energy, beside the dense inverse."""
    print(
        "\ncost of all fields: V = 0.5, T = 0.02, tolerance 1e-6, ferromagnet, J = 0.5; processor time in milliseconds"
    )
    print(f"{'length':>8}{'width':>7}{'energies':>10}{'fields':>10}{'per energy':>12}{'inverse':>15}{'ratio':>8}")
    rows = []
    for length, width in [(10, 1), (20, 1), (40, 1), (80, 1), (160, 1), (320, 1), (20, 4), (20, 8), (20, 16)]:
        spins = np.tile([0.0, 0.0, 1.0], (length, width, 1))
        junction = ribbon(spins, 0.5, bath=0.01 if width > 1 else 0.0)
        points = steady_state(junction, MU, VOLTAGE, 0.02, 1e-6).points
        total = seconds(lambda j=junction: steady_state(j, MU, VOLTAGE, 0.02, 1e-6))
        dense = dense_seconds(junction)
        rows.append((length, width, points, total, dense))
        times = f"{1e3 * total:>10.1f}{1e3 * total / points:>12.3f}{1e3 * dense:>15.2f}{dense * points / total:>8.1f}"
        print(f"{length:>8}{width:>7}{points:>10}{times}", flush=True)
    return rows


def draw(curves, rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for (voltage, temperature), points in curves.items():
        count, error = np.array(points).T
        left.semilogy(count, error, "o-", markersize=4, label=f"V = {voltage:g} t, T = {temperature:g} t")
    left.set(xlabel="energies", ylabel="largest error of the density matrix", title="convergence, 20 random spins")
    left.legend(frameon=False, loc="upper right")
    chain = np.array([row for row in rows if row[1] == 1])
    right.loglog(chain[:, 0], 1e3 * chain[:, 3] / chain[:, 2], "o-", label="recursive, a batch of energies")
    right.loglog(chain[:, 0], 1e3 * chain[:, 4], "s-", label="dense inverse, NumPy")
    right.loglog(chain[:, 0], 1e3 * chain[-1, 3] / chain[-1, 2] * chain[:, 0] / chain[-1, 0], "k:", label="linear")
    right.set(xlabel="length of the chain", ylabel="milliseconds per energy", title="cost, one core")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    torch.set_num_threads(1)
    valve()
    curls()
    curves, rows = convergence(), cost()
    if len(sys.argv) > 1:
        draw(curves, rows, sys.argv[1])
