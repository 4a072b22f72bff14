"""Errors of models whose frames are chosen by chance, by diversity, and by several scores of what a model knows.

OMP_NUM_THREADS=1 python benchmarks/active_learning.py    # prints a table; a quarter of an hour

Labels, frames and models are those of tutorial 08: "pulse", a magnet heated for a moment; "ramp", one heated from 50 to
1500 K, whose frames are all of one kind. Medians over SEEDS starts of three frames taken by chance, three more at a
time: errors of the energy (meV/atom), of the field m H (meV) and of forces (meV/A). "x distance" chooses by the product
of a score with the distance to the frames chosen before, "alone" by the score.
"""

from pathlib import Path

import numpy as np
import torch

from ase_spinml import SOSO, SpinGAP, get_moments
from ase_spinml.sampling import frame_features, sample, thermal_displacements, thermal_spins, unknown
from ase_spinml.sampling.diversity import farthest_points

TUTORIAL = Path(__file__).resolve().parents[1] / "tutorials" / "08_active_learning.py"
SIZES, SEEDS = (3, 6, 9, 15), 5
DESCRIPTOR = SOSO(["Fe"], cutoff=3.8, n_max=6, spin_l_max=2, n_max_angular=3, l_max=3, width=0.4)
POOLS = {
    "pulse": lambda count: 100 + 1500 * np.exp(-0.5 * ((np.arange(count) / count - 0.5) / 0.05) ** 2),
    "ramp": lambda count: np.linspace(50, 1500, count),
}


def tutorial():
    """Names defined by the first cells of tutorial 08: the atoms and their labels."""
    names = {}
    exec(TUTORIAL.read_text().split("# ## The pool")[0], names)
    return names["iron"], names["labelled"]


def energy(model, atoms):
    return model.uncertainty(atoms, fields=False)[0] / len(atoms)


def field_variances(model, atoms):
    """m_i^2 v_i in eV^2."""
    variances = np.sum(model.uncertainty(atoms)[1] ** 2, axis=1) - 2 * model.noise_["field"] ** 2
    return np.sum(get_moments(atoms) ** 2, axis=1) * np.maximum(variances, 0.0)


SCORES = {
    "select (both) x distance": (unknown, True),
    "both, alone": (unknown, False),
    "energy x distance": (energy, True),
    "mean field x distance": (lambda model, atoms: np.sqrt(field_variances(model, atoms).mean()), True),
    "largest field x distance": (lambda model, atoms: np.sqrt(field_variances(model, atoms).max()), True),
}


class Study:
    """A pool, its labels as they are asked for, and frames to test on."""

    def __init__(self, temperatures):
        self._iron, self._labelled = tutorial()
        self.pool = self._frames(temperatures(120), 1)
        self.test = [self._labelled(frame) for frame in self._frames(temperatures(40), 2)]
        self.features = frame_features(self.pool, DESCRIPTOR)
        self._store = {}

    def _frames(self, temperatures, rng):
        rng, frames = np.random.default_rng(rng), []
        for temperature in temperatures:
            displacements = thermal_displacements(min(temperature, 600), 450)
            frames += sample(self._iron(), thermal_spins(temperature, [0.016], sweeps=30), displacements, rng=rng)
        return frames

    def fitted(self, numbers):
        """Model of some frames, and its errors on the test frames."""
        for k in numbers:
            if k not in self._store:
                self._store[k] = self._labelled(self.pool[k])
        sigmas = {"sigma_energy": 1e-3, "sigma_forces": 0.02, "sigma_field": 1e-3}
        model = SpinGAP(DESCRIPTOR, n_sparse=100, rng=0, **sigmas).fit([self._store[k] for k in numbers])
        errors = model.evaluate(self.test)
        return model, [1e3 * errors[f"{kind}_rmse"] for kind in ("energy", "turning", "forces")]

    def learn(self, choose, seed):
        """Errors (sizes, 3) with frames chosen by ``choose(model, rest, count, rng)``, places in the list ``rest``."""
        rng, errors = np.random.default_rng(seed), {}
        numbers = rng.choice(len(self.pool), SIZES[0], replace=False).tolist()
        while True:
            model, errors[len(numbers)] = self.fitted(numbers)
            if len(numbers) == SIZES[-1]:
                return [errors[size] for size in SIZES]
            rest = np.setdiff1d(np.arange(len(self.pool)), numbers)
            numbers += rest[choose(model, rest, SIZES[1] - SIZES[0], rng)].tolist()

    def by_score(self, score, distance):
        """A function for :meth:`learn`."""

        def choose(model, rest, count, rng):
            scores = np.array([score(model, self.pool[k]) for k in rest])
            if not distance:
                return np.argsort(-scores)[:count]
            return farthest_points(self.features[rest], count, 1e-3, scores)[0]

        return choose

    def diverse(self):
        """Errors (sizes, 3) of the most diverse frames."""
        order, _ = farthest_points(self.features, SIZES[-1], 1e-3)
        return [self.fitted(order[:size])[1] for size in SIZES]


def chance(model, rest, count, rng):
    return rng.choice(len(rest), count, replace=False)


def line(name, errors):
    """Print medians of errors (starts, sizes, 3)."""
    median = np.median(errors, axis=0)
    print(f"{name:<26}" + "".join(f"{'':2}{e:>6.2f}{h:>6.2f}{f:>6.1f}" for e, h, f in median), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for pool, temperatures in POOLS.items():
        study = Study(temperatures)
        print(f"{pool + ', labels':<26}" + "".join(f"{size:>20}" for size in SIZES))
        line("chance", [study.learn(chance, seed) for seed in range(SEEDS)])
        line("diverse", [study.diverse()])
        for name, (score, distance) in SCORES.items():
            line(name, [study.learn(study.by_score(score, distance), seed) for seed in range(SEEDS)])
