# %% [markdown]
# # FeGe: Dzyaloshinskii-Moriya exchange and a spiral
#
# B20 crystals have no mirror and no centre of inversion. Dzyaloshinskii-Moriya (DM) exchange turns their ferromagnet
# into a long spiral: 70 nm in FeGe (B. Lebech et al., J. Phys.: Condens. Matter 1, 6105 (1989)). Here a magnet with
# known constants on the iron sites of FeGe is learned with the spin-orbit block, and its spiral found again. With
# `--data FOLDER` the same is done with frames of FeGe from density-functional theory, `fege64.extxyz` (docs/data.rst).
# Half a minute, with the frames six.

# %%
import argparse
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.calculators.mixing import SumCalculator

from ase_spinml import SOSO, Heisenberg, Relaxation, SpinCalculator, SpinGAP, Zeeman, set_moments
from ase_spinml.analysis import decompose, exchange_tensors, magnon_bands, spin_stiffness
from ase_spinml.moments import random_directions, spin_spiral, store_results

torch.set_num_threads(1)  # small systems: more threads only wait for each other
parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, help="folder with fege64.extxyz")
data = parser.parse_known_args()[0].data  # a notebook has arguments of its own
J, D, MOMENT = 0.020, 0.004, 1.0  # eV, eV, mu_B

# %% [markdown]
# ## The crystal
#
# Space group P2_1 3, Fe and Ge on sites (x, x, x) and so on. Measured are x = 0.135 and 0.842 at a = 4.70 A
# (M. Richardson, Acta Chem. Scand. 21, 2305 (1967)). 0.385 and 0.092 are the mirror image of that crystal, as
# in the frames. Its spirals turn the other way.


# %%
def fege(x_iron=0.385, x_germanium=0.092, a=4.689):
    """Cubic cell of B20 FeGe, a ferromagnet along z."""
    sites = [(x, x, x, 0.5 + x, 0.5 - x, -x, -x, 0.5 + x, 0.5 - x, 0.5 - x, -x, 0.5 + x) for x in (x_iron, x_germanium)]
    crystal = Atoms("Fe4Ge4", scaled_positions=np.reshape(sites, (8, 3)), cell=[a, a, a], pbc=True)
    crystal.wrap()
    set_moments(crystal, [MOMENT] * 4 + [0.0] * 4, axis=(0, 0, 1))
    return crystal


crystal = fege()
bond = np.sort(crystal.get_all_distances(mic=True)[0, 1:4])[0]
print(f"{crystal.get_chemical_formula()}, nearest iron atoms at {bond:.4f} A")

# %% [markdown]
# ## Energies of spirals, from exchange tensors
#
# In a flat spiral along n spins lie across n, at angles q n.r_i + psi_i. With tensors J_ij, whose antisymmetric part is
# D_ij, a cell has the energy
#
#     E(q) = -1/2 Re sum_ij h_ij exp(i (psi_j - psi_i)),    h_ij = sum_S (J_ij - i D_ij.n) exp(i q n.r_ij).
#
# The four sublattices shift against each other ("twist"; S. Grytsiuk and S. Bluegel, arXiv:2103.09800), so E is the
# minimum over the psi. Near q = 0 it is E(0) - d q + s q^2: the pitch is 2 pi / q0 = 4 pi s / d.


# %%
def spiral_energy(crystal, table, q, n):
    """Energy of a cell in eV in a flat spiral of wave number q (1/Angstrom) along n, least over the shifts."""
    i, j, S, tensors = table
    exchange, dmi, _ = decompose(tensors)
    n = np.array(n) / np.linalg.norm(n)
    along = (crystal.positions[j] - crystal.positions[i] + S @ crystal.cell.array) @ n
    h = np.zeros((4, 4), complex)
    np.add.at(h, (i, j), (exchange - 1j * dmi @ n) * np.exp(1j * q * along))
    spins = np.ones(4, complex)  # exp(i psi)
    for _ in range(300):  # every spin turns towards the field of the others, half way
        field = h @ spins
        spins = spins + field / np.abs(field)
        spins /= np.abs(spins)
    return -0.5 * np.vdot(spins, h @ spins).real


def pitch(crystal, table, n=(0, 0, 1), step=0.02):
    """s in eV A^2 and d in eV A of a cell, and 4 pi s / d in A: positive if spins turn counter-clockwise about q."""
    low, middle, high = (spiral_energy(crystal, table, q, n) for q in (-step, 0.0, step))
    s, d = (low + high - 2 * middle) / (2 * step**2), (low - high) / (2 * step)
    return s, d, 4 * np.pi * s / d


# %% [markdown]
# Exchange and DM vectors along the nearest bonds of length r: all bonds agree on q0 = D/(J r), with this twist.

# %%
known = Heisenberg([J], dmi=[D])
crystal.calc = known
table = exchange_tensors(crystal, cutoff=3.2)
s, d, found = pitch(crystal, table)
closed_form = 2 * np.pi * bond * J / D
stiffness = spin_stiffness(crystal, table)[0, 0] * 4 * MOMENT / 4000
print(f"s = {s:.4f} eV A^2 ({stiffness:.4f} from the stiffness), d = {d:.4f} eV A")
print(f"pitch along [001] {found:.2f} A, along [111] {pitch(crystal, table, (1, 1, 1))[2]:.2f} A")
print(f"closed form 2 pi r J/D = {closed_form:.2f} A")

# %% [markdown]
# ## The same from relaxed spirals
#
# All spins free, one turn in N cells along [001]; the lowest energy per cell is at the pitch.


# %%
def relaxed_energy(n_cells, sense):
    """Energy per cell in eV of a spiral of one turn in n_cells cells."""
    spiral = crystal.repeat((1, 1, n_cells))
    set_moments(spiral, MOMENT * (spiral.numbers == 26)[:, None] * spin_spiral(spiral, (0, 0, sense)))
    spiral.calc = known
    Relaxation(spiral).run(torque_max=1e-6)
    return spiral.get_potential_energy() / n_cells


sizes = np.array([14, 16, 18, 20, 22, 25])
energies = np.array([relaxed_energy(n, 1) for n in sizes])
curve = np.polyfit(1 / sizes, energies, 3)
inverse = np.roots(np.polyder(curve))
relaxed = crystal.cell[2, 2] / inverse[np.argmin(np.abs(inverse - crystal.cell[2, 2] / closed_form))].real
wrong = relaxed_energy(18, -1) - relaxed_energy(18, 1)
print(f"pitch of relaxed spirals {relaxed:.2f} A; the other sense costs {1e3 * wrong:.2f} meV per cell")

# %% [markdown]
# ## Learned
#
# Twelve frames of 32 iron atoms with random spins, energies and fields of the known magnet. In the spin-orbit block DM
# exchange along a bond comes with a pseudoscalar of the surroundings, so that the mirror image of the crystal gets the
# opposite sense without a frame of it.

# %%
rng, frames = np.random.default_rng(0), []
for _ in range(12):
    frame = crystal.repeat((2, 2, 2))
    set_moments(frame, MOMENT * (frame.numbers == 26)[:, None] * random_directions(len(frame), rng))
    frame.calc = known
    frames.append(store_results(frame))
descriptor = SOSO(["Fe", "Ge"], cutoff=3.5, body_order=2, n_max_angular=3, spin_orbit=True, magnetic=["Fe"])
model = SpinGAP(descriptor, zeta=1, sigma_energy=1e-4, sigma_field=1e-3, rng=0).fit(frames)
crystal.calc = SpinCalculator(model)
learned_table = exchange_tensors(crystal, cutoff=3.5)
learned = pitch(crystal, learned_table)[2]
mirror = fege(-0.385, -0.092)
mirror.calc = crystal.calc
mirrored = pitch(mirror, exchange_tensors(mirror, cutoff=3.5))[2]
print(f"learned pitch {learned:.2f} A, of the mirror image {mirrored:.2f} A")

# %% [markdown]
# ## Waves run faster one way
#
# A field of 40 T along q aligns the spins. Waves along q and against it then differ, and the lowest is the one that
# winds like the spiral, in the known magnet and in the learned one. Its q is negative if spins of the spiral turn
# counter-clockwise: moments precess counter-clockwise, so that a wave along the field winds clockwise in space.

# %%
fractions = np.linspace(-0.12, 0.12, 49)  # of the reciprocal cell, along [001]
q = np.column_stack([0 * fractions, 0 * fractions, fractions])
bands = {}
for name, calculator in (("known", known), ("learned", SpinCalculator(model))):
    aligned = fege()
    aligned.calc = SumCalculator([calculator, Zeeman((0, 0, 40))])
    Relaxation(aligned).run(torque_max=1e-8)  # each sublattice cants a little
    bands[name] = magnon_bands(aligned, q, cutoff=3.5)[:, 0]
lowest = {}
for name, band in bands.items():
    k = band.argmin()
    parabola = np.polyfit(fractions[k - 3 : k + 4], band[k - 3 : k + 4], 2)
    lowest[name] = -2 * parabola[0] / parabola[1] * crystal.cell[2, 2]
    print(f"{name:<8} lowest wave {1e3 * band[k]:.3f} meV at a wave length of {lowest[name]:.1f} A")
band_error = np.abs(bands["learned"] / bands["known"] - 1).max()
print(f"largest difference of the two bands {100 * band_error:.2f} %")

# %% [markdown]
# ## Frames of FeGe
#
# With `--data`: three models of different form, each fitted to all 70 frames of 64 atoms and to either half of them.
# Half the difference of the halves is the error. No spiral fits into these cells: d is what fields say of DM exchange
# between near neighbours. The results, and what to think of them, are in docs/spectra.rst.


# %%
def describe(make, reach, frames):
    """J(0) in meV, s in eV A^2, d in meV A and q0 = d/(2 s) in 1/nm of a model of the frames, and their errors."""
    found = []
    for part in (frames, frames[0::2], frames[1::2]):
        crystal.calc = SpinCalculator(make().fit(part))
        table = exchange_tensors(crystal, reach)
        s, d, length = pitch(crystal, table)
        found.append((250 * decompose(table[3])[0].sum(), s, 1e3 * d, 20 * np.pi / length))
    return found[0], np.abs(np.subtract(found[1], found[2])) / 2


def print_models(frames):
    """What three models make of the frames."""
    sigmas = {"sigma_energy": 1e-4, "sigma_field": 2e-3, "rng": 0}
    settings = {"cutoff": 5.0, "n_max_angular": 4, "l_max": 3, "magnetic": ["Fe"], "spin_orbit": True}
    pairs, triples = SOSO(["Fe", "Ge"], body_order=2, **settings), SOSO(["Fe", "Ge"], **settings)
    candidates = {
        "linear, two-body": (lambda: SpinGAP(pairs, zeta=1, **sigmas), 5.0),
        "linear, three-body": (lambda: SpinGAP(triples, zeta=1, **sigmas), 10.0),
        "kernel, three-body": (lambda: SpinGAP(triples, n_sparse=300, zeta=2, **sigmas), 10.0),
    }
    columns = ("J(0) (meV)", "s (eV A^2)", "d (meV A)", "q0 (1/nm)", "pitch (nm)")
    print(f"{'':<20}" + "".join(f"{column:>20}" for column in columns))
    for name, (make, reach) in candidates.items():
        values, errors = describe(make, reach, frames)
        cells = [f"{value:.3g} +- {error:.2g}" for value, error in zip(values, errors, strict=True)]
        cells.append(f"{2 * np.pi / values[3]:.0f}")
        print(f"{name:<20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    print(f"{'measured':<20}{'':>60}{'+-0.09':>20}{'+-70':>20}")


if data is not None:
    frames = ase.io.read(data / "fege64.extxyz", ":")
    print_models([frames[k] for k in np.random.default_rng(0).permutation(len(frames))])

# %% [markdown]
# ## Checked numbers

# %%
checks = {
    "curvature and stiffness": abs(s / stiffness - 1) < 1e-3,
    "closed form": abs(found / closed_form - 1) < 1e-3,
    "relaxed spirals": abs(relaxed / closed_form - 1) < 0.02,
    "the other sense costs energy": wrong > 1e-3,
    "learned pitch": abs(learned / closed_form - 1) < 0.02,
    "mirror image": abs(mirrored / learned + 1) < 1e-6,
    "learned waves": band_error < 0.01,
    "lowest wave winds like the spiral": abs(lowest["learned"] / closed_form + 1) < 0.02,
}
failed = [name for name, passed in checks.items() if not passed]
if failed:
    raise RuntimeError(f"this tutorial should have reached: {', '.join(failed)}")
print(f"all {len(checks)} checks passed")
