"""Gallery of the pictures in ase_spinml.plotting, from small calculations: models, spins, runs, order.

OMP_NUM_THREADS=1 python docs/figures/gallery.py [NAME ...]    # gallery_NAME.png beside this file; a few minutes in all
"""

import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.mixing import SumCalculator
from matplotlib.figure import Figure

from ase_spinml import (
    SOSO,
    Anisotropy,
    Heisenberg,
    Relaxation,
    SpinDynamics,
    SpinGAP,
    Zeeman,
    analysis,
    get_moments,
    get_spins,
    plotting,
    set_moments,
)
from ase_spinml.demo import load_frames, split
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.moments import random_directions, unit_rows
from ase_spinml.units import HBAR

HERE = Path(__file__).resolve().parent
SIGMAS = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3}


def kernel_model(frames):
    """SOSO-GAP with 100 sparse points, fitted."""
    return SpinGAP(SOSO(["Fe"]), n_sparse=100, rng=0, **SIGMAS).fit(frames)


def pair_model(frames):
    """J(r) e_i.e_j and V(r), fitted."""
    return SpinGAP(SOSO(["Fe"], body_order=2, spin_l_max=1), zeta=1, rng=0, **SIGMAS).fit(frames)


def fields(frames, model=None):
    """m H in meV, flat: of the labels, or of a model."""
    found = [
        1e3
        * np.linalg.norm(get_moments(frame), axis=1, keepdims=True)
        * (frame.arrays["exchange_fields"] if model is None else model.predict(frame)["exchange_fields"])
        for frame in frames
    ]
    return np.concatenate(found).ravel()


def models():
    """Parity, residuals and learning curves of a kernel model and a pair model."""
    train, test = split(load_frames(), rng=0)
    kinds = {"SOSO-GAP": kernel_model, "Heisenberg pairs": pair_model}
    reference = fields(test)
    predicted = {name: fields(test, fit(train)) for name, fit in kinds.items()}
    everything = (np.tile(reference, 2), np.concatenate(list(predicted.values())))
    labels = {"label": "field m*H", "unit": "meV"}
    groups = np.repeat(list(predicted), len(reference))
    figure = Figure(figsize=(13, 9), layout="constrained", dpi=110)
    upper, lower = figure.subfigures(2, 1)
    left, right = upper.subfigures(1, 2, width_ratios=(1, 1.3))
    plotting.parity(*everything, **labels, groups=groups, ax=left.subplots())
    plotting.residuals(
        *everything, **labels, groups=groups, axes=right.subplots(1, 2, width_ratios=(2, 1), sharey=True)
    )
    left, right = lower.subplots(1, 2)
    sizes = [5, 9, 18, 36]
    for name, fit in kinds.items():
        errors = [[forces_rmse(fit, size, seed) for seed in range(5)] for size in sizes]
        plotting.learning_curve(sizes, errors, label="forces", unit="meV/Å", name=name, ax=left)
    errors, deviations = standard_deviations(kernel_model(train), test)
    plotting.calibration(errors, deviations, **labels, ax=right)
    return figure


def forces_rmse(fit, size, seed):
    """Error of forces in meV/A among displaced frames near the ferromagnet, of a model fitted to some of them."""
    frames = [frame for frame in load_frames() if frame.info["config_type"].endswith("thermal")]
    frames = [frames[k] for k in np.random.default_rng(seed).permutation(len(frames))]
    return 1e3 * fit(frames[:size]).evaluate(frames[36:])["forces_rmse"]


def standard_deviations(model, frames):
    """Errors of m H in meV and their predicted standard deviations, where there is something to predict."""
    lengths = [np.linalg.norm(get_moments(frame), axis=1, keepdims=True) for frame in frames]
    found = [1e3 * m * model.uncertainty(frame)[1] for m, frame in zip(lengths, frames, strict=True)]
    deviations = np.concatenate(found).ravel()
    known = (deviations > 1e-3) & (np.abs(fields(frames)) > 1e-3)
    return (fields(frames, model) - fields(frames))[known], deviations[known]


def film(n, calculator):
    """Square lattice of n x n moments of 2 mu_B, spacing 1 A."""
    atoms = Atoms("Fe", cell=[1, 1, 10], pbc=(True, True, False)).repeat((n, n, 1))
    set_moments(atoms, np.tile([0.0, 0.0, 2.0], (n * n, 1)))
    atoms.calc = calculator
    return atoms


def spins():
    """A skyrmion from above and in space; spirals and their structure factor."""
    skyrmion = film(22, SumCalculator([Heisenberg([0.010], [0.006]), Zeeman((0, 0, 25))]))
    x, y = (skyrmion.positions - skyrmion.positions.mean(axis=0))[:, :2].T
    polar, azimuth = np.pi * np.exp(-(x**2 + y**2) / 25), np.arctan2(y, x) + np.pi / 2
    bubble = [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    set_moments(skyrmion, 2.0 * np.stack(bubble, axis=1))
    Relaxation(skyrmion).run(torque_max=1e-5)
    near = skyrmion[np.hypot(x, y) < 6.5]

    spirals = film(36, Heisenberg([0.010], [0.008]))
    set_moments(spirals, 2.0 * random_directions(len(spirals), 1))
    SpinDynamics(spirals, 4 * units.fs, temperature_K=10, damping=0.3, rng=1, integrator="sib").run(1500)
    intensity = np.fft.fftshift(analysis.structure_factor(spirals)[:, :, 0])
    q = 2 * np.pi * np.fft.fftshift(np.fft.fftfreq(36))
    inner = np.abs(q) < 1.8

    figure = Figure(figsize=(11, 9), layout="constrained", dpi=90)
    plotting.spin_texture(skyrmion, ax=figure.add_subplot(221))
    plotting.spin_texture_3d(near, ax=figure.add_subplot(222, projection="3d"))
    plotting.spin_texture(spirals, ax=figure.add_subplot(223))
    plotting.structure_factor(q[inner], q[inner], intensity.T[inner][:, inner], ax=figure.add_subplot(224))
    return figure


def chain(n, *more):
    """Ferromagnetic chain of n moments of 2 mu_B along z, spacing 2.5 A, J = 20 meV."""
    atoms = Atoms("Fe", cell=[2.5, 10, 10], pbc=(True, False, False)).repeat((n, 1, 1))
    set_moments(atoms, np.tile([0.0, 0.0, 2.0], (n, 1)))
    atoms.calc = SumCalculator([Heisenberg([0.020]), *more])
    return atoms


def runs():
    """Energy drift without baths, heating to 300 K, and a domain wall that a field drives."""
    crystal = bulk("Fe", a=2.83, cubic=True) * 4
    set_moments(crystal, 2.2 * unit_rows([0, 0, 1.0] + 0.3 * random_directions(len(crystal), 0)))
    crystal.calc = Heisenberg([0.020])
    free = sampled(SpinDynamics(crystal, 2 * units.fs), 500, 2, crystal.get_potential_energy)
    warm = SpinDynamics(crystal, 2 * units.fs, temperature_K=300, damping=0.05, rng=0)
    state = sampled(warm, 1500, 15, lambda: magnetisation_and_temperature(crystal))
    magnetisation, temperature = np.transpose(state[1])

    wall = chain(120, Anisotropy(0.001), Zeeman((0, 0, 2)))
    wall.pbc = False
    x = wall.positions[:, 0] - 75
    profile = [1 / np.cosh(x / 7.9), 0 * x, -np.tanh(x / 7.9)]
    set_moments(wall, 2.0 * np.stack(profile, axis=1))
    moved = sampled(
        SpinDynamics(wall, 5 * units.fs, damping=0.5), 2000, 50, lambda: 2.5 * np.sum(1 + get_spins(wall)[:, 2]) / 2
    )
    figure = Figure(figsize=(13, 4.5), layout="constrained", dpi=110)
    left, middle, right = figure.subfigures(1, 3)
    plotting.energy_drift(free[0], 1e3 * free[1] / len(crystal), ax=left.subplots())
    axes = middle.subplots(2, 1, sharex=True)
    plotting.magnetisation_and_temperatures(state[0], magnetisation, None, temperature, target=300, axes=axes)
    plotting.wall_position(*moved, ax=right.subplots())
    return figure


def magnetisation_and_temperature(atoms):
    """Mean moment in mu_B, and the temperature of the spins in K."""
    return np.linalg.norm(get_moments(atoms).mean(axis=0)), spin_temperature(atoms, rng=0)


def sampled(dynamics, steps, interval, observe):
    """Times in ps and what ``observe`` returned, two arrays."""
    times, values = [], []
    dynamics.attach(lambda: times.append(dynamics.get_time() / (1000 * units.fs)), interval)
    dynamics.attach(lambda: values.append(observe()), interval)
    dynamics.run(steps)
    return np.array(times), np.array(values)


def order():
    """Magnetisation and Binder cumulants of a simple cubic ferromagnet; spin waves of a chain over S(q, omega)."""
    cubic = Atoms("Fe", cell=[2.5] * 3, pbc=True)
    set_moments(cubic, [[0, 0, 2.0]])
    cubic.calc = Heisenberg([0.020])
    found = analysis.curie_temperature(cubic, np.linspace(260, 420, 9), (4, 8), steps=10000, interval=10, rng=0)
    values = [{f"{n[0]}³ cells": found.values(name, n) for n in found.sizes} for name in ("magnetisation", "binder")]

    figure = Figure(figsize=(12, 5.5), layout="constrained", dpi=110)
    left, right = figure.subfigures(1, 2)
    axes = left.subplots(2, 1, sharex=True)
    critical = found.critical_temperature_K
    plotting.magnetisation_curve(found.temperatures_K, values[0], binder=values[1], critical=critical, axes=axes)
    draw_magnons(right.subplots())
    return figure


def draw_magnons(ax, n=60, steps=8192, timestep=2 * units.fs):
    """Bands of the chain from spin-wave theory over the spectrum of its motion, begun at 20 K."""
    atoms = chain(n)
    SpinDynamics(atoms, timestep, temperature_K=20, damping=0.1, rng=0, integrator="sib").run(1000)
    motion = sampled(SpinDynamics(atoms, timestep, integrator="sib"), steps, 4, lambda: get_spins(atoms))[1]
    circular = (motion[:, :, 0] + 1j * motion[:, :, 1]) * np.hanning(len(motion))[:, None]
    spectrum = np.abs(np.fft.fft2(circular)) ** 2
    energies = 1e3 * 2 * np.pi * HBAR * np.fft.fftfreq(len(motion), 4 * timestep)  # meV; moments turn as exp(i w t)
    shown = np.flatnonzero((energies >= 0) & (energies < 100))
    q = np.arange(n // 2 + 1)
    bands = 1e3 * analysis.magnon_bands(chain(1), np.stack([q / n, 0 * q, 0 * q], axis=1), cutoff=3.0)
    intensity = (energies[shown], spectrum[shown][:, q])
    plotting.magnon_bands(q / n, bands, ticks=[0, 0.5], labels=["Γ", "X"], intensity=intensity, ax=ax)


if __name__ == "__main__":
    torch.set_num_threads(1)
    pages = {"models": models, "spins": spins, "runs": runs, "order": order}
    for name in sys.argv[1:] or pages:
        pages[name]().savefig(HERE / f"gallery_{name}.png")
