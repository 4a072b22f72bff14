"""Energy labels regressed on the energies that fields imply: the factor between the two kinds of label."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.optimize import minimize

ROUNDS = 4
"""Alternations between the slope and the variances of what it leaves; they converge geometrically."""

LIFTS = (1e-12, 1e-9, 1e-6)
"""Shares of the mean variance added to the diagonal of a covariance, the first that makes it positive."""


@dataclass
class Slope:
    """What :func:`regress` finds.

    Attributes
    ----------
    slope, slope_error : float
        s and its standard error.
    factor, factor_error : float
        1/s, by how much fields are larger than energies imply, and its standard error.
    correlation : float
        Of measured and implied energies.
    spread, scatter : float
        Standard deviation of the energy labels without their constants, and of what the regression leaves, eV/atom.
    implied, measured : (n,) arrays
        Energies by the fields; labels without lattice part and constants. eV/atom, mean zero.
    """

    slope: float
    slope_error: float
    factor: float
    factor_error: float
    correlation: float
    spread: float
    scatter: float
    implied: np.ndarray
    measured: np.ndarray


def regress(fit):
    """Slope s of E = s p + lattice + constants over frames, and the factor 1/s.

    E are the energy labels, p those implied by the fields. p is the posterior mean of a Bayesian fit, so its error is
    independent of its value (Berkson's kind) and does not attenuate s; its covariance, that of the lattice part (a
    Gaussian process on the features that no spin enters) and white noise weight the frames. Constants are one energy
    per species. The standard error is a jackknife over the groups of frames, each time with the fields and the
    energies of one group left out.

    Parameters
    ----------
    fit : ase_spinml.io.labels.fit.FieldFit

    Returns
    -------
    Slope
    """
    rows, labels = fit.rows, fit.rows.labels
    implied, covariance = fit.energies()
    lattice = _lattice_kernel(rows.energies[:, ~fit.active])
    slope, variances = _alternate(implied, covariance, lattice, labels, rows.composition)
    total = slope**2 * covariance + variances[0] * lattice + variances[1] * np.eye(len(labels))
    left_out = []
    for group in np.unique(fit.groups):
        keep = fit.groups != group
        without, _ = fit.energies(without=group)
        x, y, v = _contrasts(rows.composition[keep], without[keep], labels[keep], total[np.ix_(keep, keep)])
        left_out.append(_weighted_slope(x, y, v)[0])
    count = len(left_out)
    error = np.sqrt((count - 1) * np.var(left_out))
    centred_implied, centred_labels = (values - _constants(rows.composition, values) for values in (implied, labels))
    measured = centred_labels - _lattice_part(slope * implied, labels, total, variances[0] * lattice, rows.composition)
    residual = measured - slope * centred_implied
    return Slope(
        slope=float(slope),
        slope_error=float(error),
        factor=_inverse(slope),
        factor_error=float(error / max(slope**2, 1e-300)),
        correlation=_correlation(centred_implied, measured),
        spread=float(np.std(centred_labels)),
        scatter=float(np.std(residual)),
        implied=centred_implied,
        measured=measured,
    )


def _lattice_kernel(features):
    """Covariance (n, n) of energies per atom, of order one, linear in features (n, F) that no spin enters."""
    spread = np.std(features, axis=0)
    moved = spread > 1e-9 * np.abs(features).max(initial=0.0)
    features = (features - features.mean(axis=0))[:, moved] / spread[moved]
    return features @ features.T / max(features.shape[1], 1)


def _alternate(implied, covariance, lattice, labels, composition):
    """Slope, and the variances of lattice and noise of greatest likelihood given the slope, in turns."""
    (x, y), (c, k) = _contrasts(composition, implied, labels), _project(composition, covariance, lattice)
    slope = (x @ y) / max(x @ x, 1e-300)
    size = max(np.mean(y**2), 1e-30)
    logs = np.log([size, 0.01 * size])

    def loss(logs, slope):
        lattice_variance, noise = np.exp(np.clip(logs, np.log(size) - 25, np.log(size) + 10))
        factor = _cholesky(slope**2 * c + lattice_variance * k + noise * np.eye(len(y)))
        half = scipy.linalg.solve_triangular(factor, y - slope * x, lower=True)
        return 0.5 * half @ half + np.log(np.diag(factor)).sum()

    for _ in range(ROUNDS):
        logs = minimize(loss, logs, (slope,), method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-4}).x
        lattice_variance, noise = np.exp(np.clip(logs, np.log(size) - 25, np.log(size) + 10))
        slope = _weighted_slope(x, y, slope**2 * c + lattice_variance * k + noise * np.eye(len(y)))[0]
    return slope, (lattice_variance if k.any() else 0.0, noise)


def _cholesky(matrix):
    """Lower factor, the diagonal lifted by what double precision may have lost."""
    size = np.trace(matrix) / len(matrix) + 1e-300
    for lift in LIFTS[:-1]:
        try:
            return scipy.linalg.cholesky(matrix + lift * size * np.eye(len(matrix)), lower=True)
        except scipy.linalg.LinAlgError:
            continue
    return scipy.linalg.cholesky(matrix + LIFTS[-1] * size * np.eye(len(matrix)), lower=True)


def _weighted_slope(x, y, covariance):
    """Generalised least squares of y (n,) on x (n,), and the standard error that the covariance alone gives."""
    half = scipy.linalg.solve_triangular(_cholesky(covariance), np.stack([x, y], axis=1), lower=True)
    square = max(half[:, 0] @ half[:, 0], 1e-300)
    return half[:, 0] @ half[:, 1] / square, square**-0.5


def _basis(composition):
    """Orthonormal contrasts (n, n - rank) of frames with compositions (n, n_species), blind to constants."""
    return scipy.linalg.null_space(composition.T)


def _project(composition, *matrices):
    basis = _basis(composition)
    return [basis.T @ matrix @ basis for matrix in matrices]


def _contrasts(composition, implied, labels, *covariances):
    basis = _basis(composition)
    return (basis.T @ implied, basis.T @ labels, *(basis.T @ matrix @ basis for matrix in covariances))


def _constants(composition, values):
    """The part (n,) of values that constants per species explain."""
    return composition @ np.linalg.lstsq(composition, values, rcond=None)[0]


def _lattice_part(spin_part, labels, total, lattice, composition):
    """Posterior mean (n,) of the lattice energies, without constants."""
    basis = _basis(composition)
    left = basis.T @ (labels - spin_part)
    part = lattice @ basis @ scipy.linalg.solve(basis.T @ total @ basis, left, assume_a="pos")
    return part - _constants(composition, part)


def _inverse(slope):
    return float(1.0 / slope) if abs(slope) > 1e-12 else float("inf")


def _correlation(a, b):
    size = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(a @ b / size) if size > 0 else 0.0
