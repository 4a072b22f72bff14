"""Frames and models for tests of training, also for scripts that run in processes of their own."""

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_spinml import SOSO, SpinNN, set_moments
from ase_spinml.moments import get_moments, random_directions, transverse

SIGMAS = {"sigma_energy": 1e-2, "sigma_forces": 0.1, "sigma_stress": 1e-2, "sigma_field": 2e-2}


def labelled(seed, offset=0.0):
    """An alloy of two to four atoms with made-up labels; some frames lack some of them."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Fe", cubic=True).repeat((1, 1, 1 + seed % 2))
    atoms.symbols[0] = "Ni"
    atoms.positions += rng.normal(scale=0.08, size=(len(atoms), 3))
    set_moments(atoms, 2.0 * random_directions(len(atoms), rng))
    spins = get_moments(atoms) / 2.0
    energy = 0.1 * np.tanh(spins.sum(0) @ spins.sum(0)) + 0.02 * rng.normal() + offset * len(atoms)
    forces = 0.5 * np.sin(3 * atoms.positions) * (1 + spins[:, :1])
    stress = 0.02 * np.cos(np.arange(6) + energy - offset * len(atoms))
    results = {"energy": energy, "forces": forces, "stress": stress}
    for missing in [(), ("stress",), ("forces", "stress"), ("energy",)][seed // 2 % 4]:
        del results[missing]
    atoms.calc = SinglePointCalculator(atoms, **results)
    if seed % 5:
        atoms.arrays["exchange_fields"] = transverse(0.1 * np.roll(spins, 1, axis=0), spins)
        atoms.arrays["exchange_fields"][0] = np.nan if seed % 3 else atoms.arrays["exchange_fields"][0]
    return atoms


def frames(count=14, offset=0.0):
    """Labelled frames."""
    return [labelled(seed, offset) for seed in range(count)]


def model(**options):
    """A small model of the frames."""
    descriptor = SOSO(["Fe", "Ni"], cutoff=3.2, n_max=3, spin_l_max=1, n_max_angular=1, l_max=1)
    defaults = {"descriptor": descriptor, "hidden": (8, 8), "epochs": 20, "n_members": 2, "max_inputs": 12}
    return SpinNN(**(defaults | SIGMAS | {"progress": False} | options))
