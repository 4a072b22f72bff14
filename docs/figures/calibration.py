"""Predicted against observed errors of fields: SpinGAP and a committee of SpinNN on the shipped frames of iron.

OMP_NUM_THREADS=1 python docs/figures/calibration.py    # writes calibration.png beside this file; a few minutes

A quarter of the frames is held out, four times over until each has been.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from ase_spinml import SOSO, SpinGAP, SpinNN, get_moments
from ase_spinml.demo import load_frames
from ase_spinml.plotting import calibration

HERE = Path(__file__).resolve().parent
SIGMAS = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3}
PARTS = 4
COLLINEAR = 1e-6
"""Fields below this in eV/mu_B vanish by symmetry: nothing is predicted there."""


def models():
    """Unfitted models by name."""
    return {
        "SpinGAP": SpinGAP(SOSO(["Fe"]), n_sparse=300, rng=0, **SIGMAS),
        "SpinNN, four members": SpinNN(
            SOSO(["Fe"]), hidden=(32, 32), n_members=4, epochs=100, progress=False, rng=0, **SIGMAS
        ),
    }


def held_out(name, frames):
    """Errors and standard deviations of m H in meV, components of frames that the model has not seen."""
    order, errors, deviations = np.random.default_rng(0).permutation(len(frames)), [], []
    for part in range(PARTS):
        test = order[part::PARTS]
        model = models()[name].fit([frames[k] for k in np.setdiff1d(order, test)])
        for k in test:
            lengths = 1e3 * np.linalg.norm(get_moments(frames[k]), axis=1, keepdims=True)
            labels = frames[k].arrays["exchange_fields"]
            known = np.linalg.norm(labels, axis=1) > COLLINEAR
            error = lengths * (model.predict(frames[k])["exchange_fields"] - labels)
            errors.append(error[known].ravel())
            deviations.append((lengths * model.uncertainty(frames[k])[1])[known].ravel())
    errors, deviations = np.concatenate(errors), np.concatenate(deviations)
    seen = deviations > 1e-3  # components along a moment have no error and no deviation
    return errors[seen], deviations[seen]


if __name__ == "__main__":
    torch.set_num_threads(1)
    figure = Figure(figsize=(10.0, 4.2), layout="constrained", dpi=110)
    for ax, name in zip(figure.subplots(1, 2), models(), strict=True):
        errors, deviations = held_out(name, load_frames())
        calibration(errors, deviations, label="field m H", unit="meV", ax=ax)
        ax.set_title(name, fontsize="medium")
        print(f"{name}: {len(errors)} components, RMSE {np.sqrt(np.mean(errors**2)):.2f} meV", end=", ")
        print(f"z-scores {np.sqrt(np.mean((errors / deviations) ** 2)):.2f}")
    figure.savefig(HERE / "calibration.png")
