"""Thermal averages of spin systems from samples, with errors that know of correlations in time.

N unit spins e_i have the order parameter m = sum_i w_i e_i / sum_i |w_i|: the magnetisation per spin for w = 1, the
staggered one for w = +-1, that of a spiral for w = exp(-i q.r). With energies E and samples at one temperature T:

    heat capacity                 C   = (<E^2> - <E>^2) / (N k_B^2 T^2)             k_B per spin
    susceptibility                chi = N <m^2> / (3 k_B T)                         1/eV; exact above T_C
    longitudinal susceptibility   chi = N (<m^2> - <|m|>^2) / (k_B T)               1/eV; peaks near T_C
    Binder cumulant               U   = 1 - <m^4> / (3 <m^2>^2)

U is 2/3 in perfect order and 4/9 for the Gaussian vectors of a disordered magnet; curves U(T) of different sizes cross
at T_C (K. Binder, Z. Phys. B 43, 119 (1981)). A susceptibility in 1/eV becomes one per spin in mu_B/T if multiplied by
the square of the moment in mu_B and by ``ase_spinml.units.MU_B``, 5.788e-5 eV/T.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import units
from scipy.stats import chi2

from ase_spinml.errors import InputError

FEWEST = 16
"""Samples below which no error is given."""
MOST_BLOCKS, FEWEST_BLOCKS = 64, 8
BLOCK = 10
"""Length of a block of the jackknife in autocorrelation times, where the series is long enough for that."""


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class ThermalAverages:
    """Averages at one temperature; from :func:`thermal_averages`.

    Attributes
    ----------
    temperature_K : float
    n_spins, n_samples : int
    magnetisation : Estimate
        <|m|>, from 0 to 1.
    energy : Estimate
        eV per spin.
    heat_capacity : Estimate
        k_B per spin.
    susceptibility, longitudinal_susceptibility : Estimate
        1/eV per spin, of unit spins.
    binder : Estimate
    autocorrelation_time : float
        Of m^2, in samples.
    """

    temperature_K: float
    n_spins: int
    n_samples: int
    magnetisation: Estimate
    energy: Estimate
    heat_capacity: Estimate
    susceptibility: Estimate
    longitudinal_susceptibility: Estimate
    binder: Estimate
    autocorrelation_time: float


def thermal_averages(order, energies, n_spins, temperature_K):
    """All averages of one equilibrium run.

    Parameters
    ----------
    order : (S,) array
        |m| of every sample.
    energies : (S,) array
        eV per spin.
    n_spins : int
    temperature_K : float

    Returns
    -------
    ThermalAverages
        Errors of means are from :func:`blocking`, others from a jackknife over blocks of ten autocorrelation times.

    Raises
    ------
    InputError
        Too few samples, unlike lengths, a temperature that is not above zero.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import units
    >>> from ase_spinml.analysis import thermal_averages
    >>> rng = np.random.default_rng(0)
    >>> energies = rng.normal(-0.05, 0.002, 2000)              # eV per spin, of 100 spins
    >>> found = thermal_averages(rng.uniform(0.6, 0.8, 2000), energies, n_spins=100, temperature_K=300)
    >>> round(found.magnetisation.value, 2), round(found.energy.value, 3)
    (0.7, -0.05)
    """
    order, energies = _series("order", order), _series("energies", energies)
    if len(order) != len(energies):
        raise InputError(f"Expected as many energies as samples of the order, got {len(energies)} and {len(order)}.")
    if not temperature_K > 0:
        raise InputError(f"Expected temperature_K > 0, got {temperature_K}.")
    thermal_energy, squares = units.kB * temperature_K, order**2
    blocks, centred = n_blocks(squares), energies - energies.mean()
    fluctuation = jackknife(_variance, (centred, centred**2), blocks)
    connected = jackknife(_variance, (order, squares), blocks)
    return ThermalAverages(
        temperature_K=float(temperature_K),
        n_spins=n_spins,
        n_samples=len(order),
        magnetisation=blocking(order),
        energy=blocking(energies),
        heat_capacity=_times(n_spins / thermal_energy**2, fluctuation),
        susceptibility=_times(n_spins / (3 * thermal_energy), blocking(squares)),
        longitudinal_susceptibility=_times(n_spins / thermal_energy, connected),
        binder=jackknife(binder_cumulant, (squares, squares**2), blocks),
        autocorrelation_time=autocorrelation_time(squares),
    )


def order_parameter(spins, weights=None):
    """Length |m| of the order parameter of states.

    Parameters
    ----------
    spins : (..., N, 3) array
        Unit rows, zero rows for atoms without a moment.
    weights : (N,) array, optional
        w_i, real or complex; by default one for every spin that is not zero.

    Returns
    -------
    (...) array
        From 0 to 1.

    Raises
    ------
    InputError
        Shapes that do not fit; weights that are all zero.

    Examples
    --------
    >>> from ase_spinml.analysis import order_parameter
    >>> spins = [[0, 0, 1], [0, 0, -1]]
    >>> float(order_parameter(spins)), float(order_parameter(spins, weights=[1, -1]))
    (0.0, 1.0)
    """
    spins = np.asarray(spins, dtype=float)
    if spins.ndim < 2 or spins.shape[-1] != 3:
        raise InputError(f"Expected spins of shape (..., N, 3), got shape {spins.shape}.")
    if weights is None:
        weights = spins.reshape(-1, *spins.shape[-2:])[0].any(axis=1).astype(float)
    weights = np.asarray(weights)
    if weights.shape != spins.shape[-2:-1] or not np.abs(weights).sum() > 0:
        raise InputError(f"Expected one weight for each of {spins.shape[-2]} spins, not all zero, got {weights.shape}.")
    vector = np.einsum("i,...ia->...a", weights, spins) / np.abs(weights).sum()
    return np.sqrt((np.abs(vector) ** 2).sum(axis=-1))


def binder_cumulant(second, fourth):
    """Binder cumulant 1 - <m^4>/(3 <m^2>^2) of the moments <m^2> and <m^4>.

    Examples
    --------
    >>> from ase_spinml.analysis import binder_cumulant
    >>> round(binder_cumulant(1.0, 1.0), 4), round(binder_cumulant(1.0, 5 / 3), 4)     # order; none
    (0.6667, 0.4444)
    """
    return 1 - fourth / (3 * second**2)


def blocking(series):
    """Mean of a correlated series and its standard error, by blocking with an automatic plateau.

    Neighbours are averaged in pairs until a chi-squared test at 99 % finds no correlation left between the blocks, and
    once more.
    Source: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989); M. Jonsson, Phys. Rev. E 98, 043304 (2018).

    Parameters
    ----------
    series : (S,) array

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        Fewer than 16 samples, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import blocking
    >>> series = np.random.default_rng(0).normal(size=4096)
    >>> mean, error = blocking(series)
    >>> bool(abs(mean) < 4 * error), round(error * 64, 1)      # 1/sqrt(4096) is 1/64
    (True, 1.0)
    """
    series = _series("series", series)
    blocks, mean = series, series.mean()
    lengths, variances, correlations = [], [], []
    while len(blocks) >= 4:
        deviation = blocks - mean
        lengths.append(len(blocks))
        variances.append(deviation @ deviation / (len(blocks) - 1))
        correlations.append(deviation[1:] @ deviation[:-1] / len(blocks))
        blocks = blocks[len(blocks) % 2 :].reshape(-1, 2).mean(axis=1)
    lengths, variances, correlations = map(np.array, (lengths, variances, correlations))
    if not variances[0] > 0:
        return Estimate(float(mean), 0.0)
    tests = np.cumsum((lengths * (correlations / variances) ** 2)[::-1])[::-1]
    flat = np.flatnonzero(tests < chi2.ppf(0.99, np.arange(len(tests), 0, -1)))
    level = flat[0] if len(flat) else np.argmax(variances / lengths)
    level = min(level + (level > 0), len(tests) - 1)  # a little correlation passes the test
    return Estimate(float(mean), float(np.sqrt(variances[level] / lengths[level])))


def jackknife(function, series, blocks):
    """A function of means and its standard error, by leaving out one block of samples after the other.

    Parameters
    ----------
    function : callable
        Of the means of all series.
    series : sequence of (S,) arrays
    blocks : int
        Number of blocks; the S % blocks earliest samples are left out.

    Returns
    -------
    Estimate
        The value without the bias of order 1/blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import jackknife
    >>> series = np.random.default_rng(0).normal(size=4096)
    >>> variance, error = jackknife(lambda m1, m2: m2 - m1**2, [series, series**2], blocks=16)
    >>> bool(abs(variance - 1) < 4 * error)
    True
    """
    table = np.array(series, dtype=float)
    length = table.shape[1] // blocks
    table = table[:, table.shape[1] - blocks * length :].reshape(len(table), blocks, length).mean(axis=2)
    whole = function(*table.mean(axis=1))
    parts = function(*((table.sum(axis=1, keepdims=True) - table) / (blocks - 1)))
    value = blocks * whole - (blocks - 1) * parts.mean()
    return Estimate(float(value), float(np.sqrt((blocks - 1) * parts.var())))


def n_blocks(series):
    """Number of blocks, 8 to 64, of ten autocorrelation times each where that many samples are there."""
    wanted = int(len(series) / (BLOCK * autocorrelation_time(series)))
    return int(np.clip(wanted, FEWEST_BLOCKS, MOST_BLOCKS))


def autocorrelation_time(series):
    """Integrated autocorrelation time 1/2 + sum_t rho(t) in samples, 1/2 without correlation.

    The sum ends at five times its own value (A. D. Sokal, in: Functional Integration, NATO ASI B 361, 131 (1997)). The
    variance of a mean is that of a sample times twice this time over the number of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import autocorrelation_time
    >>> series = np.random.default_rng(0).normal(size=4096)
    >>> round(autocorrelation_time(series), 1)
    0.5
    """
    deviation = _series("series", series) - np.mean(series)
    n = len(deviation)
    transform = np.fft.rfft(deviation, 2 * n)
    correlation = np.fft.irfft(np.abs(transform) ** 2)[:n]
    if not correlation[0] > 0:
        return 0.5
    times = np.cumsum(correlation / correlation[0]) - 0.5
    enough = np.flatnonzero(np.arange(n) >= 5 * times)
    return float(max(times[enough[0]] if len(enough) else times[-1], 0.5))


def equilibration(series, candidates=20):
    """Number of samples to leave out at the start, at most half: what leaves most independent samples.

    Source: J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016).

    Parameters
    ----------
    series : (S,) array
    candidates : int
        Starts that are tried, evenly spaced.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import equilibration
    >>> series = np.random.default_rng(0).normal(size=4096)
    >>> series[:400] += 50 * np.exp(-np.arange(400) / 50)
    >>> 100 < equilibration(series) < 1000
    True
    """
    series = _series("series", series)
    starts = np.linspace(0, max(len(series) // 2 - FEWEST, 0), candidates).astype(int)
    left = [(len(series) - start) / autocorrelation_time(series[start:]) for start in starts]
    return int(starts[np.argmax(left)])


def _series(name, values):
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < FEWEST or not np.isfinite(values).all():
        raise InputError(f"Expected {name} as one row of at least {FEWEST} finite numbers, got shape {values.shape}.")
    return values


def _variance(first, second):
    return second - first**2


def _times(factor, estimate):
    return Estimate(factor * estimate.value, factor * estimate.error)
