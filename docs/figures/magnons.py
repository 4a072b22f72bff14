"""Draw docs/figures/magnons.png: spin waves of four states of a chain beside their closed forms.

python docs/figures/magnons.py
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from matplotlib.figure import Figure

from ase_spinml import Anisotropy, Heisenberg, set_moments
from ase_spinml.analysis import magnon_bands
from ase_spinml.plotting import COLOURS

J, K, D, MOMENT = 0.02, 0.001, 0.003, 2.2
FINE, COARSE = np.linspace(-0.5, 0.5, 201), np.linspace(-0.5, 0.5, 31)


def chain(moments):
    """Chain along x, one site for each row of moments (n, 3)."""
    n = len(moments)
    atoms = Atoms(f"Fe{n}", 2.5 * np.arange(n)[:, None] * [1, 0, 0], cell=[2.5 * n, 0, 0], pbc=[True, False, False])
    set_moments(atoms, MOMENT * np.array(moments, float))
    return atoms


def panels():
    """Title, energies in eV at COARSE, closed form at FINE."""
    q = np.column_stack([COARSE, 0 * COARSE, 0 * COARSE])
    phase = 2 * np.pi * FINE
    easy = Anisotropy(uniaxial=K, axis=(1, 0, 0))
    atoms = chain([[1, 0, 0]])
    atoms.calc = SumCalculator([Heisenberg([J]), easy])
    yield "ferromagnet, easy axis", magnon_bands(atoms, q, 3.0), 4 / MOMENT * (J * (1 - np.cos(phase)) + K)
    atoms.calc = SumCalculator([Heisenberg([J], dmi=[D]), Anisotropy(uniaxial=2 * K, axis=(1, 0, 0))])
    expected = 4 / MOMENT * (J * (1 - np.cos(phase)) + 2 * K + D * np.sin(phase))
    yield "chiral ferromagnet", magnon_bands(atoms, q, 3.0), expected
    atoms = chain([[1, 0, 0], [-1, 0, 0]])
    atoms.calc = SumCalculator([Heisenberg([-J]), easy])
    expected = 4 / MOMENT * np.sqrt((J + K) ** 2 - (J * np.cos(phase / 2)) ** 2)
    yield "antiferromagnet, easy axis", magnon_bands(atoms, q, 3.0), expected
    atoms, second = chain([[0, 1, 0]]), -0.011
    atoms.calc = Heisenberg([J, second])
    k = np.arccos(-J / (4 * second)) / (2 * np.pi)

    def coupling(x):
        return 2 * J * np.cos(2 * np.pi * x) + 2 * second * np.cos(4 * np.pi * x)

    across = coupling(k) - 0.5 * (coupling(FINE + k) + coupling(FINE - k))
    expected = 2 / MOMENT * np.sqrt(np.clip(across * (coupling(k) - coupling(FINE)), 0, None))
    yield "spiral, rotating frame", magnon_bands(atoms, q, 5.1, ([k, 0, 0], [0, 0, 1])), expected


def main():
    figure = Figure(figsize=(11.0, 3.2), layout="constrained", dpi=130)
    axes = figure.subplots(1, 4)
    for ax, (title, found, expected) in zip(axes, panels(), strict=True):
        ax.plot(FINE, 1e3 * expected, color=COLOURS[0], label="closed form")
        ax.plot(COARSE, 1e3 * found[:, 0], "o", color=COLOURS[1], ms=4, mec="white", label="magnon_bands")
        ax.set(title=title, xlabel="q (reciprocal cell)", xlim=(-0.5, 0.5), ylim=(0, None))
    axes[0].set_ylabel("energy (meV)")
    axes[0].legend(loc="upper center", fontsize="small")
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
