"""Pictures of what SOSO is made of: radial functions, and a spin smeared on the sphere.

python docs/figures/descriptor.py    # writes radial.png and smearing.png beside this file
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import eval_legendre

from ase_spinml.descriptors.basis import smeared_bessel, spin_smearing
from ase_spinml.plotting import COLOURS

HERE = Path(__file__).parent
STYLES = ("-", "--", "-.", ":")


def radial(path, cutoff=5.0, width=0.5, n_max=8):
    """The smeared radial functions h_n(r) on the whole range, and enlarged where neighbours are."""
    r = np.linspace(0.0, cutoff, 600)
    functions = smeared_bessel(r, cutoff, n_max, width)
    shells = 2.83 * np.sqrt([3 / 4, 1, 2, 11 / 4, 3])
    figure = Figure(figsize=(10.0, 4.0), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    for ax in (left, right):
        for n in range(n_max):
            ax.plot(r, functions[:, n], color=COLOURS[n % 4], ls=STYLES[n // 4], label=f"n = {n + 1}")
        for shell in shells:
            ax.axvline(shell, color="0.8", lw=1, zorder=0)
        ax.set(xlabel="distance r (Å)", ylabel=r"$h_n(r)$")
    left.set(xlim=(0, cutoff), title="whole range")
    right.set(xlim=(2, cutoff), ylim=(-0.06, 0.12), title="where neighbours are (grey: shells of bcc Fe)")
    left.legend(fontsize="small", ncols=2)
    figure.savefig(path)


def smearing(path):
    """Legendre coefficients a_l of the two kinds of smearing, and the heat kernel they make."""
    figure = Figure(figsize=(10.0, 4.0), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    orders, angle = np.arange(9), np.linspace(-180, 180, 361)
    for k, width in enumerate((0.25, 0.5, 1.0)):
        for kind, style in (("heat", "o-"), ("von-mises-fisher", "s--")):
            a = spin_smearing(kind, width, 8)
            left.plot(orders, a, style, color=COLOURS[k], ms=4, lw=1.2, label=f"{kind}, {width} rad")
        a = spin_smearing("heat", width, 60)
        bump = sum((2 * l + 1) / (4 * np.pi) * a[l] * eval_legendre(l, np.cos(np.radians(angle))) for l in range(61))
        right.plot(angle, bump, STYLES[k], color=COLOURS[k], label=f"heat, {width} rad")
    left.set(xlabel="order l", ylabel=r"$a_l$", xticks=orders)
    right.set(xlabel="angle from the spin (degrees)", ylabel="density on the sphere (1/sr)")
    right.set_xticks(range(-180, 181, 60))
    for ax in (left, right):
        ax.legend(fontsize="small")
    figure.savefig(path)


if __name__ == "__main__":
    radial(HERE / "radial.png")
    smearing(HERE / "smearing.png")
