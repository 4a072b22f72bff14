"""Pictures of the label check and of samples.

    python docs/figures/labels.py [--data DIRECTORY]    # writes label_check.png and sampling.png beside this file

DIRECTORY holds fe16.extxyz (../shared/data beside the repository by default); without it the check is drawn for the
shipped frames.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase.build import bulk
from matplotlib.figure import Figure

from ase_spinml import set_moments
from ase_spinml.demo import load_frames
from ase_spinml.io import check_labels
from ase_spinml.plotting import COLOURS, MARKERS
from ase_spinml.sampling import (
    frame_features,
    isotropic_strains,
    random_spins,
    rattles,
    sample,
    select_diverse,
    spin_cones,
    spin_rotations,
    spin_spirals,
    thermal_spins,
)
from ase_spinml.sampling.diversity import farthest_points

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "data"


def mistakes(frames):
    """Copies by title."""
    rng = np.random.default_rng(0)

    def changed(change):
        out = []
        for frame in frames:
            copy = frame.copy()
            copy.calc = frame.calc
            copy.arrays["exchange_fields"] = change(frame.arrays["exchange_fields"])
            out.append(copy)
        return out

    return {
        "as they are": frames,
        "fields twice too large": changed(lambda fields: 2 * fields),
        "sign flipped": changed(lambda fields: -fields),
        "atoms permuted": changed(rng.permutation),
    }


def label_check(path, frames):
    """Measured against implied energies for right labels and for three mistakes."""
    figure = Figure(figsize=(12.0, 3.4), layout="constrained", dpi=120)
    panels = figure.subplots(1, 4, sharey=True)
    for ax, (title, copy) in zip(panels, mistakes(frames).items(), strict=True):
        found = check_labels(copy)
        x, y = 1e3 * found["implied_energies"], 1e3 * found["measured_energies"]
        ax.axline((0, 0), slope=1, color="0.5", lw=0.8, zorder=0, label="factor 1")
        ax.axline((0, 0), slope=1 / found["factor"], color=COLOURS[1], ls="--", lw=1.5, zorder=1, label="found")
        ax.plot(x, y, ls="", marker="o", ms=4, color=COLOURS[0], alpha=0.7)
        reach = 1.1 * max(np.abs(x).max(), np.abs(y).max())
        ax.set(
            xlim=(-reach, reach),
            title=f"{title}\nfactor {found['factor']:.2f} ± {found['factor_error']:.2f}, ok: {found['ok']}",
            xlabel="implied by fields (meV/atom)",
        )
    limit = 1.15 * np.abs(y).max()
    panels[0].set(ylabel="energy label (meV/atom)", ylim=(-limit, limit))
    panels[0].legend(fontsize="small", loc="upper left")
    figure.savefig(path)


def samples():
    """Candidates of bcc iron by many recipes."""
    reference = bulk("Fe", a=2.83, cubic=True).repeat(2)
    set_moments(reference, np.full(len(reference), 2.2), axis=(0, 0, 1))
    states = (
        random_spins(20)
        + spin_cones([10, 25, 45, 80, 120], count=6)
        + spin_spirals([(0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 2), (1, 1, 2)], angle=[30, 60, 90])
        + spin_rotations(0, [30, 60, 90, 120, 150, 180])
        + thermal_spins([100, 300, 600, 900, 1500], exchange=[0.02, 0.011], count=4, sweeps=50)
    )
    return sample(reference, states, [None, *rattles(0.04)], [None, *isotropic_strains([-0.01, 0.01])], rng=0)


def sampling(path, n_chosen=40):
    """Candidates and those chosen on the two widest directions; how fast a choice covers all candidates."""
    frames = samples()
    chosen = select_diverse(frames, count=n_chosen)
    features = frame_features([*frames, *chosen])
    features, picked = features[: len(frames)], features[len(frames) :]
    mean = features.mean(axis=0)
    axes = np.linalg.svd(features - mean, full_matrices=False)[2][:2]
    kinds = [frame.info["config_type"].split("+")[0] for frame in frames]
    figure = Figure(figsize=(11.0, 4.4), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    for k, kind in enumerate(dict.fromkeys(kinds)):
        mine = np.array([name == kind for name in kinds])
        x, y = axes @ (features[mine] - mean).T
        left.plot(x, y, ls="", marker=MARKERS[k], ms=4, color=COLOURS[k], alpha=0.6, label=kind)
    x, y = axes @ (picked - mean).T
    left.plot(x, y, ls="", marker="o", ms=9, mfc="none", mec="black", label=f"first {n_chosen} chosen")
    left.set(xlabel="first principal component", ylabel="second", title=f"{len(frames)} candidates")
    left.legend(fontsize="small")
    order, _ = farthest_points(features, len(frames), 0.0)
    by_chance = np.random.default_rng(0).permutation(len(frames))
    for k, (name, ranked) in enumerate({"farthest points": order, "by chance": by_chance}.items()):
        right.plot(*coverage(features, ranked), color=COLOURS[k], ls=("-", "--")[k], label=name)
    right.set(xlabel="frames chosen", ylabel="distance of the worst covered candidate", xlim=(0, None), ylim=(0, None))
    right.legend()
    figure.savefig(path)


def coverage(features, order):
    """Number chosen, and the largest distance of any frame to the nearest chosen one."""
    nearest, worst = np.full(len(features), np.inf), []
    for k in order:
        nearest = np.minimum(nearest, np.linalg.norm(features - features[k], axis=1))
        worst.append(nearest.max())
    return np.arange(1, len(worst) + 1), worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED)
    fe16 = parser.parse_args().data / "fe16.extxyz"
    torch.set_num_threads(1)
    label_check(HERE / "label_check.png", ase.io.read(fe16, ":") if fe16.exists() else load_frames())
    sampling(HERE / "sampling.png")
