"""The critical temperature of a magnet: samples of several cells at many temperatures, and Binder's crossing."""

from dataclasses import dataclass

import numpy as np

from ase_spinml.analysis.histograms import JoinedRuns, crossing, fine_grid, peak
from ase_spinml.analysis.sweep import check_lengths, check_system, run_points
from ase_spinml.analysis.thermal import Estimate, equilibration, thermal_averages
from ase_spinml.errors import InputError
from ase_spinml.moments import magnetic_mask

RESAMPLES = 200
OVERLAP = 0.02
"""Share of the samples of a run that must carry a crossing."""
CERTAIN = 0.9
"""Share of the bootstrap samples in which a crossing must be found."""


@dataclass(frozen=True)
class CurieResult:
    """What :func:`curie_temperature` finds.

    Attributes
    ----------
    critical_temperature_K : Estimate
        Value and standard error.
    method : str
        "Binder crossing" of the smallest and the largest cell, or "susceptibility peak" where there is one cell only.
    temperatures_K : (M,) array
        Ascending.
    sizes : tuple of (3,) tuples
        Cells, from few to many spins.
    averages : dict of size -> list of M ThermalAverages
    crossings : dict of (size, size) -> Estimate
        Temperature in K at which the Binder cumulants of two sizes cross; nan where they do not.
    curves : dict of size -> (2, G) array
        U of the joined runs: temperatures in K, values.
    """

    critical_temperature_K: Estimate
    method: str
    temperatures_K: np.ndarray
    sizes: tuple
    averages: dict
    crossings: dict
    curves: dict

    def values(self, name, size):
        """Values and errors, (M,) each, of one of the averages of :class:`ThermalAverages` by its name."""
        return np.array([getattr(point, name) for point in self.averages[size]]).T


def curie_temperature(
    atoms,
    temperatures,
    sizes=(4, 6, 8),
    *,
    steps=10000,
    interval=10,
    weights=None,
    rng=0,
    path=None,
    n_jobs=None,
    progress=True,
):
    """Critical temperature of spins on a frozen lattice.

    Every cell is sampled at every temperature by Langevin steps that are accepted or refused
    (:mod:`ase_spinml.analysis.langevin`), from the ordered state of ``atoms``. What a run needs to come to equilibrium
    is found and left out.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic cell with moments in the ordered state, and a calculator that gives ``energy`` and
        ``exchange_fields``.
    temperatures : sequence of float
        In K, below and above the transition; those close to it so dense that the energies of neighbouring ones
        overlap, dT/T < 3/sqrt(N C) with C of about 2.
    sizes : sequence of int or of three ints
        How often the cell is repeated. Two or more for the crossing; with one, the peak of the longitudinal
        susceptibility, which differs from T_C of the infinite crystal.
    steps, interval : int
        Steps of a run, each with one evaluation, and from one sample to the next. A quarter more come first, in which
        the length of the steps is found.
    weights : (N,) array, optional
        w_i of the order parameter, see :mod:`ase_spinml.analysis.thermal`; +-1 for an antiferromagnet.
    rng : seed or numpy.random.Generator
        A point depends on the seed, its size and its temperature alone.
    path : str or Path, optional
        File (.npz) to which every point is saved when it is done, and from which points are taken that are in it.
        Temperatures and sizes may be added later; all else has to be as it was.
    n_jobs : int, optional
        Processes, as in joblib; by default what ``joblib.parallel_config`` says, or one.
    progress : bool
        Show a progress bar where standard error is a terminal.

    Returns
    -------
    CurieResult

    Raises
    ------
    InputError
        Unusable parameters; a file of other settings; temperatures that do not bracket the transition, or are too far
        apart at it; runs too short to find it.
    """
    temperatures, sizes = _temperatures(temperatures), _sizes(sizes)
    check_system(atoms, sizes, weights)
    check_lengths(steps, interval)
    weights = None if weights is None else np.asarray(weights, dtype=float).tolist()
    settings = {"steps": int(steps), "interval": int(interval), "weights": weights}
    series = run_points(atoms, temperatures, sizes, settings, rng, path, n_jobs, progress)
    n_spins = {size: int(magnetic_mask(atoms).sum() * np.prod(size)) for size in sizes}
    return _result(temperatures, sizes, series, n_spins)


def _result(temperatures, sizes, series, n_spins):
    """CurieResult of the series (2, S) of all sizes and temperatures."""
    grid, averages, joined = fine_grid(temperatures), {}, {}
    for size in sizes:
        starts = [max(equilibration(order**2), equilibration(energy)) for order, energy in series[size]]
        runs = [run[:, start:] for run, start in zip(series[size], starts, strict=True)]
        averages[size] = [thermal_averages(*run, n_spins[size], t) for run, t in zip(runs, temperatures, strict=True)]
        joined[size] = JoinedRuns(temperatures, *zip(*runs, strict=True), n_spins[size], grid)
    rng = np.random.default_rng(0)
    draws = {size: [joined[size].counts(rng) for _ in range(RESAMPLES)] for size in sizes}
    crossings = {}
    if len(sizes) == 1:
        critical, method = _peak(joined[sizes[0]], draws[sizes[0]]), "susceptibility peak"
    else:
        pairs = [(small, large) for k, small in enumerate(sizes) for large in sizes[k + 1 :]]
        for small, large in pairs:
            crossings[small, large] = _crossing(joined[small], joined[large], draws[small], draws[large])
        critical, method = crossings[sizes[0], sizes[-1]], "Binder crossing"
        _check_bracket(joined[sizes[0]], joined[sizes[-1]], critical)
    _check_overlap(critical, temperatures, joined)
    curves = {size: np.stack([grid, runs.binder()]) for size, runs in joined.items()}
    return CurieResult(critical, method, temperatures, sizes, averages, crossings, curves)


def _crossing(small, large, small_draws, large_draws):
    """Crossing of two JoinedRuns with its bootstrap error, nan where it is not found in nearly all samples."""
    value = crossing(small.grid, large.binder() - small.binder())
    found = [
        crossing(small.grid, large.binder(b) - small.binder(a)) for a, b in zip(small_draws, large_draws, strict=True)
    ]
    return _estimate(value, found)


def _peak(runs, draws):
    """Peak of the longitudinal susceptibility with its bootstrap error."""
    estimate = _estimate(
        peak(runs.grid, runs.longitudinal_susceptibility()),
        [peak(runs.grid, runs.longitudinal_susceptibility(draw)) for draw in draws],
    )
    if np.isnan(estimate.value):
        raise InputError(
            f"Expected a peak of the susceptibility between {runs.grid[0]:g} and {runs.grid[-1]:g} K, found it at the "
            f"end of the range or not clearly: add temperatures, or take more steps."
        )
    return estimate


def _estimate(value, found):
    found = np.array(found)
    found = found[np.isfinite(found)]
    if np.isnan(value) or len(found) < CERTAIN * RESAMPLES:
        return Estimate(np.nan, np.nan)
    return Estimate(value, float(found.std(ddof=1)))


def _check_bracket(small, large, critical):
    """Refuse temperatures that the crossing of the smallest and the largest cell does not lie between."""
    if np.isfinite(critical.value):
        return
    difference = large.binder() - small.binder()
    where = f"between {small.grid[0]:g} and {small.grid[-1]:g} K"
    highest, lowest = max(difference.max(), 0.0), max(-difference.min(), 0.0)
    if highest > 3 * lowest:
        what = "stays above that of the small one: add higher temperatures"
    elif lowest > 3 * highest:
        what = "stays below that of the small one: add lower temperatures"
    else:
        what = "does not cross that of the small one clearly: add temperatures, or take more steps"
    raise InputError(f"Expected a crossing of Binder cumulants {where}, but that of the large cell {what}.")


def _check_overlap(critical, temperatures, joined):
    """Refuse a critical temperature between runs whose energies have too little in common."""
    for runs in joined.values():
        k = int(np.argmin(abs(runs.grid - critical.value)))
        if runs.effective[k] < OVERLAP * runs.effective.max():
            above = int(np.searchsorted(temperatures, critical.value))
            raise InputError(
                f"Expected temperatures close enough for the energies of their runs to overlap, got none between "
                f"{temperatures[above - 1]:g} and {temperatures[above]:g} K, where the transition is: add some there."
            )


def _temperatures(temperatures):
    values = np.unique(np.asarray(temperatures, dtype=float))
    if len(values) < 2 or not (np.isfinite(values).all() and values[0] > 0):
        raise InputError(f"Expected two or more different temperatures > 0 in K, got {list(temperatures)}.")
    return values


def _sizes(sizes):
    """Three numbers for each size, from small to large."""
    try:
        cells = {tuple(int(n) for n in np.broadcast_to(size, 3)) for size in sizes}
    except (TypeError, ValueError):
        cells = {(0, 0, 0)}
    if not cells or min(min(cell) for cell in cells) < 1:
        raise InputError(f"Expected sizes as whole numbers >= 1 or triples of them, got {sizes!r}.")
    ordered = tuple(sorted(cells, key=lambda cell: (np.prod(cell), cell)))
    if len(ordered) > 1 and np.prod(ordered[0]) == np.prod(ordered[-1]):
        raise InputError(f"Expected cells of different numbers of spins, got {sizes!r}.")
    return ordered
