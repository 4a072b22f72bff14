"""Runs at several temperatures joined into curves of the temperature, and where such curves cross or peak.

With S_k samples of energies E at beta_k = 1/(k_B T_k), a sample of the joint set has at any temperature the weight

    w(E; T) = exp(-beta E) / sum_k S_k exp(f_k - beta_k E),    exp(-f_k) = sum over all samples of w(E; T_k),

(A. M. Ferrenberg and R. H. Swendsen, Phys. Rev. Lett. 63, 1195 (1989)). Errors are from a bootstrap over blocks of
every run, at the f_k of the whole set, whose own errors matter little.
"""

import numpy as np
from ase import units
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from ase_spinml.analysis.thermal import binder_cumulant, n_blocks

GRID = 24
"""Points of a curve between two temperatures."""


class JoinedRuns:
    """Curves of one system on a grid of temperatures, from runs at several.

    Parameters
    ----------
    temperatures_K : (M,) array
        Ascending.
    orders, energies : lists of M arrays (S_k,)
        |m|, and energies per spin in eV, in equilibrium.
    n_spins : int
    grid : (G,) array
        Temperatures of the curves in K.
    """

    def __init__(self, temperatures_K, orders, energies, n_spins, grid):
        self.grid, self.n_spins = grid, n_spins
        totals = [n_spins * np.asarray(energy) for energy in energies]
        weights = sample_weights(temperatures_K, totals, grid)
        self.effective = 1 / (weights**2).sum(axis=1)
        """Number of samples that carry each point of the grid, (G,)."""
        ends = np.cumsum([len(order) for order in orders])[:-1]
        self._sums = [_block_sums(*run) for run in zip(orders, np.split(weights, ends, axis=1), strict=True)]

    def counts(self, rng):
        """How often every block of every run stands in a bootstrap sample, a list of (blocks,)."""
        return [rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums))) for sums in self._sums]

    def moments(self, counts=None):
        """<|m|>, <m^2> and <m^4> on the grid, (3, G), of all blocks or as often as ``counts`` says."""
        parts = [sums.sum(axis=0) for sums in self._sums]
        if counts is not None:
            parts = [np.tensordot(count, sums, 1) for count, sums in zip(counts, self._sums, strict=True)]
        total = np.sum(parts, axis=0)
        return total[1:] / total[0]

    def binder(self, counts=None):
        """U on the grid, (G,)."""
        _, second, fourth = self.moments(counts)
        return binder_cumulant(second, fourth)

    def longitudinal_susceptibility(self, counts=None):
        """N (<m^2> - <|m|>^2)/(k_B T) on the grid, (G,), 1/eV."""
        first, second, _ = self.moments(counts)
        return self.n_spins * (second - first**2) / (units.kB * self.grid)


def fine_grid(temperatures_K):
    """Temperatures (M,), ascending, with more of them between, ((M - 1) * 24 + 1,)."""
    n = len(temperatures_K)
    return np.interp(np.linspace(0, n - 1, (n - 1) * GRID + 1), np.arange(n), temperatures_K)


def sample_weights(temperatures_K, totals, grid):
    """Weights of all samples at every temperature of a grid, each row with the sum one.

    Parameters
    ----------
    temperatures_K : (M,) array
    totals : list of M arrays (S_k,)
        Total energies in eV.
    grid : (G,) array
        In K.

    Returns
    -------
    (G, sum S_k) array
    """
    betas = 1 / (units.kB * np.asarray(temperatures_K))
    energies = np.concatenate(totals)
    centre = energies.mean()
    counts = np.array([len(total) for total in totals])
    exponents = np.log(counts)[:, None] - np.outer(betas, energies - centre)
    free = _free_energies(betas, exponents, counts, np.array([total.mean() - centre for total in totals]))
    mixture = logsumexp(exponents + free[:, None], axis=0)
    return softmax(-np.outer(1 / (units.kB * grid), energies - centre) - mixture, axis=1)


def crossing(grid, difference):
    """Where a difference of Binder cumulants, large size minus small, falls through zero, or nan.

    It is positive below T_C, negative above, and vanishes far away on either side. So the crossing is the last one
    from positive to negative before the minimum.

    Parameters
    ----------
    grid, difference : (G,) arrays
    """
    lowest = int(np.argmin(difference))
    before = np.flatnonzero(difference[:lowest] >= 0)
    if not len(before) or difference[lowest] >= 0:
        return np.nan
    k = before[-1]
    fraction = difference[k] / (difference[k] - difference[k + 1])
    return float(grid[k] + fraction * (grid[k + 1] - grid[k]))


def peak(grid, curve):
    """Where a curve is highest, by a parabola through the three highest points, or nan at either end of the grid."""
    k = int(np.argmax(curve))
    if k in (0, len(grid) - 1):
        return np.nan
    a, b, _ = np.polyfit(grid[k - 1 : k + 2] - grid[k], curve[k - 1 : k + 2], 2)
    return float(grid[k] - (b / (2 * a) if a < 0 else 0.0))


def _free_energies(betas, exponents, counts, means):
    """f_k (M,), f_0 = 0, from the minimum of a convex function; the start integrates the energy over beta."""
    steps = 0.5 * (means[1:] + means[:-1]) * np.diff(betas)
    start, total = np.cumsum(steps), counts.sum()

    def objective(rest):
        free = np.concatenate([[0.0], rest])
        all_terms = exponents + free[:, None]
        mixture = logsumexp(all_terms, axis=0)
        slope = np.exp(all_terms - mixture).sum(axis=1) - counts
        return (mixture.sum() - counts @ free) / total, slope[1:] / total

    if len(start) == 0:
        return np.zeros(1)
    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    return np.concatenate([[0.0], found.x])


def _block_sums(order, weights):
    """Sums of w, w |m|, w m^2 and w m^4 over the blocks of a run, (blocks, 4, G)."""
    blocks = np.array_split(np.arange(len(order)), n_blocks(order**2))
    powers = np.stack([np.ones_like(order), order, order**2, order**4])
    return np.stack([powers[:, block] @ weights[:, block].T for block in blocks])
