"""Draw docs/figures/spectra.png, S(q, E) of a warm magnet over its bands, and spectra_phonons.png, of two states.

python docs/figures/spectra.py
"""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import bulk
from ase.phonons import Phonons
from matplotlib.figure import Figure

from ase_spinml import SOSO, Heisenberg, SpinCalculator, SpinDynamics, SpinGAP, set_moments
from ase_spinml.analysis import dynamic_structure_factor, magnon_bands
from ase_spinml.demo import load_frames
from ase_spinml.plotting import COLOURS
from ase_spinml.plotting import magnon_bands as draw_bands

HERE = Path(__file__).parent
EXCHANGE, MOMENT, A = [0.022, 0.012], 2.2, 2.83  # eV of two shells, mu_B, Angstrom
CELLS, STEP, EVERY, FRAMES = 8, 1.0 * units.fs, 4, 600
CHOSEN = [2, 4, 6, 8, 12]
LINE = {"Γ": (0, 0, 0), "H": (1, 0, 0), "N": (0.5, 0.5, 0), "Γ'": (0, 0, 0)}  # 2 pi/a


def path(corners, n):
    """Wave vectors (Q, 3) between corners in steps that fit n cells, distances (Q,), numbers of the corners."""
    corners, points, ticks = np.array(corners), [], [0]
    for start, end in itertools.pairwise(corners):
        steps = int(np.rint(np.abs(end - start).max() * n))
        points += [start + k / steps * (end - start) for k in range(steps)]
        ticks.append(len(points))
    points = np.array([*points, corners[-1]])
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return points, np.concatenate([[0], np.cumsum(lengths)]), ticks


def star(point):
    """Equivalent wave vectors (n, 3) of a cubic crystal."""
    signs = list(itertools.product((1, -1), repeat=3))
    turned = {tuple(np.array(p) * s + 0.0) for p in itertools.permutations(point) for s in signs}
    return np.array(sorted(turned))


def spectrum(temperature_K, points):
    """Energies (W,) in eV and S(q, E) (W, Q) in 1/eV, averaged over equivalent wave vectors; mean spin."""
    atoms = bulk("Fe", a=A, cubic=True).repeat(CELLS)
    set_moments(atoms, np.full(len(atoms), MOMENT), axis=(0, 0, 1))
    atoms.calc = Heisenberg(EXCHANGE)
    SpinDynamics(atoms, 2 * STEP, temperature_K, damping=0.3, integrator="sib", rng=0).run(1000)
    stars = [star(point) for point in points]
    q = CELLS * np.concatenate(stars)
    run = SpinDynamics(atoms, STEP, tolerance=1e-6).irun(EVERY * FRAMES - 1)
    frames = (atoms for k, _ in enumerate(run) if k % EVERY == 0)
    found = dynamic_structure_factor(frames, q, EVERY * STEP, segments=1)
    ends = np.cumsum([len(members) for members in stars])[:-1]
    values = np.stack([part.mean(axis=1) for part in np.split(found.total, ends, axis=1)], axis=1)
    return found.energies, values, np.linalg.norm(found.mean_spin)


def draw_spectra():
    points, distances, ticks = path(list(LINE.values()), CELLS)
    primitive = bulk("Fe", a=A)
    set_moments(primitive, [[0, 0, MOMENT]])
    primitive.calc = Heisenberg(EXCHANGE)
    bands = 1e3 * magnon_bands(primitive, points @ primitive.cell.array.T / A, 3.0)[:, 0]
    figure = Figure(figsize=(10.5, 4.2), layout="constrained", dpi=120)
    print("Heisenberg magnet, J1 = 22 and J2 = 12 meV; peaks of S(q, E) in meV")
    print("temperature (K)   mean spin" + "".join(f"{f'({x:g} {y:g} {z:g})':>15}" for x, y, z in points[CHOSEN]))
    print("          0 (bands)   1.000" + "".join(f"{band:>15.1f}" for band in bands[CHOSEN]))
    for ax, temperature in zip(figure.subplots(1, 2, sharey=True), (100, 600), strict=True):
        energies, values, mean = spectrum(temperature, points)
        up = energies > 0
        peaks = 1e3 * energies[up][values[up].argmax(axis=0)]
        print(f"{temperature:>19}   {mean:.3f}" + "".join(f"{peak:>15.1f}" for peak in peaks[CHOSEN]), flush=True)
        shown = up & (energies < 0.36)
        labels = ["Γ", "H", "N", "Γ"]
        intensity = (1e3 * energies[shown], values[shown] / values[shown].sum(axis=0))
        draw_bands(distances, bands, ticks=distances[ticks], labels=labels, intensity=intensity, ax=ax)
        ax.set(title=f"{temperature} K", ylim=(0, 360))
    figure.savefig(HERE / "spectra.png")


def phonons(model, signs, points):
    """Energies (Q, 6) in meV of two iron atoms with moments along +-z."""
    atoms = bulk("Fe", a=A, cubic=True)
    set_moments(atoms, MOMENT * np.array(signs), axis=(0, 0, 1))
    with tempfile.TemporaryDirectory() as folder:
        found = Phonons(atoms, SpinCalculator(model), supercell=(4, 4, 4), name=f"{folder}/phonons", delta=0.01)
        found.run()
        found.read(acoustic=True)
    return 1e3 * found.band_structure(points, verbose=False)


def draw_phonons():
    settings = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3, "rng": 0}
    models = {
        "two-body": SpinGAP(SOSO(["Fe"], body_order=2), zeta=1, **settings),
        "three-body": SpinGAP(SOSO(["Fe"]), n_sparse=300, zeta=2, **settings),
    }
    points, distances, ticks = path([(0, 0, 0), (0.5, 0, 0), (0.5, 0.5, 0), (0, 0, 0), (0.5, 0.5, 0.5)], 40)
    figure = Figure(figsize=(5.6, 4.0), layout="constrained", dpi=120)
    ax = figure.subplots()
    print("iron learned from fe_dft: phonons in meV, at H of bcc and at M of the cubic cell (N of bcc)")
    for name, model in models.items():
        model.fit(load_frames())
        for k, (state, signs) in enumerate({"parallel": (1, 1), "opposite": (1, -1)}.items()):
            energies = phonons(model, signs, points)
            at_m = " ".join(f"{e:.1f}" for e in energies[ticks[2]])
            print(f"{name:<12}{state:<10} H {energies[0, -1]:.1f}    M {at_m}", flush=True)
            if name == "three-body":
                lines = ax.plot(distances, energies, color=COLOURS[k], ls=("-", "--")[k])
                lines[0].set_label(f"{state} moments")
    for tick in distances[ticks]:
        ax.axvline(tick, color="0.7", lw=0.8)
    ax.set_xticks(distances[ticks], ["Γ", "X", "M", "Γ", "R"])
    ax.axhline(0, color="0.7", lw=0.8)
    ax.set(ylabel="energy (meV), imaginary below 0", xlim=(0, distances[-1]))
    ax.legend(fontsize="small", loc="lower right")
    figure.savefig(HERE / "spectra_phonons.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw_spectra()
    draw_phonons()
