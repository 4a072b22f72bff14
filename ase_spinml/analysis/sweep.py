"""Thermal samples of several cells at many temperatures, made in parallel and kept in a file."""

import copy

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from ase_spinml import checks
from ase_spinml.analysis.langevin import LangevinSampler
from ase_spinml.analysis.points import read_points, write_points
from ase_spinml.analysis.thermal import FEWEST, order_parameter
from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, get_spins, random_directions, set_moments
from ase_spinml.terms import forget, is_conservative

ADAPTED = 0.25
"""Steps before the first sample, in which the length of the steps is found, as a share of those that follow."""


def run_points(atoms, temperatures, sizes, settings, rng, path, n_jobs, progress):
    """Order and energy in time of every size at every temperature.

    Parameters
    ----------
    atoms, rng, path, n_jobs, progress
        As in :func:`ase_spinml.analysis.curie_temperature`.
    temperatures : (M,) array
        In K.
    sizes : sequence of (3,) tuples
    settings : dict
        steps, interval, weights (list or None).

    Returns
    -------
    dict of size -> list of M arrays (2, S)
        |m|, and the energy per spin in eV.

    Raises
    ------
    InputError
        A file of other settings.
    """
    seed = int(rng.integers(2**63)) if isinstance(rng, np.random.Generator) else int(rng)
    header = {**settings, "seed": str(seed), **_system(atoms)}
    points = {} if path is None else read_points(path, header)
    wanted = {_key(size, t): (size, t) for size in reversed(sizes) for t in temperatures}  # the longest first
    left = [key for key in wanted if key not in points]
    jobs = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        delayed(_run_point)(key, atoms, *wanted[key], settings, seed) for key in left
    )
    shown = None if progress else True
    with tqdm(total=len(wanted), initial=len(wanted) - len(left), unit="point", disable=shown) as bar:
        for key, series in jobs:
            points[key] = series
            if path is not None:
                write_points(path, header, points)
            bar.update()
    return {size: [points[_key(size, t)] for t in temperatures] for size in sizes}


def _run_point(key, atoms, size, temperature_K, settings, seed):
    """|m| and energy per spin of every sample of one run, (2, S), with its key."""
    cell = atoms.repeat(size)
    cell.calc = copy.deepcopy(atoms.calc)  # threads share the one they are given
    forget(cell.calc)
    weights = settings["weights"]
    weights = None if weights is None else np.tile(weights, np.prod(size))
    source = np.random.default_rng([seed, *size, *np.array([temperature_K]).view(np.uint32)])
    sampler, n_spins = LangevinSampler(cell, temperature_K, source), get_spins(cell).any(axis=1).sum()
    sampler.run(int(ADAPTED * settings["steps"]), adapt=True)
    samples = np.empty((2, settings["steps"] // settings["interval"]))
    for k in range(samples.shape[1]):
        sampler.run(settings["interval"])
        samples[:, k] = order_parameter(sampler.spins, weights), sampler.energy / n_spins
    return key, samples


def check_system(atoms, sizes, weights):
    """Refuse atoms that are not an ordered magnet with an energy, and sizes that they cannot be repeated to."""
    checks.calculator(atoms, ("energy", "exchange_fields"))
    if not is_conservative(atoms.calc):
        raise InputError("Expected exchange fields that are derivatives of an energy, got a model of torques alone.")
    order = order_parameter(get_spins(atoms), weights)
    if order < 0.9:
        raise InputError(
            f"Expected atoms in their ordered state, where the order parameter is one, got {order:.2f}: set the "
            f"moments, or give the weights of the order parameter."
        )
    if (np.array(sizes)[:, ~atoms.pbc] > 1).any():
        raise InputError(f"Expected sizes of 1 along directions that are not periodic, got {list(sizes)}.")


def check_lengths(steps, interval):
    """Refuse runs of too few samples."""
    if int(interval) != interval or interval < 1 or int(steps) != steps or steps < 2 * FEWEST * interval:
        raise InputError(
            f"Expected whole numbers with steps >= {2 * FEWEST} x interval, got steps={steps}, interval={interval}."
        )


def _doubled(atoms):
    """Two cells along periodic directions, which have the waves at the boundary of the zone."""
    cell = atoms.repeat(np.where(atoms.pbc, 2, 1))
    cell.calc = atoms.calc
    return cell


def _key(size, temperature_K):
    return "x".join(map(str, size)) + f"_{float(temperature_K)!r}K"


def _system(atoms):
    """What a file says about the atoms and their calculator, as JSON values."""
    turned = _doubled(atoms)
    lengths = np.linalg.norm(get_moments(turned), axis=1)[:, None]
    set_moments(turned, lengths * random_directions(len(turned), 0))
    return {
        "atoms": [atoms.numbers.tolist(), atoms.pbc.tolist()],
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "moments": get_moments(atoms).tolist(),
        "calculator": float(turned.get_potential_energy()),
    }
