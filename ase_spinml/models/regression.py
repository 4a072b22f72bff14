"""Bayesian linear regression on whitened columns: posterior, evidence, cross-validation over frames.

y = A D u + noise with u ~ N(0, 1) and noise ~ N(0, s^2): D holds one prior amplitude per group of columns, s one factor
per kind of label (energy, forces, stress, field); rows and targets are already divided by their standard deviations.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from scipy.optimize import brentq, minimize

ZERO = 1e-12
"""Relative size below which eigenvalues of a covariance count as zero."""

FOLDS = 5
"""Parts of cross-validation."""

RANGE = 1e4
"""Hyperparameters are searched within this factor of their start, either way."""

OUTLIER = 8.0
"""A frame whose residual is this many times that of the median frame has a wrong label rather than a hard one."""

TIE = 0.04
"""What cross-validation pays, in the logarithm of a squared error, for an amplitude a: TIE ln(a)^2 per amplitude,
20 % for a factor of ten. Errors on frames like the others hardly tell large amplitudes apart; those on others do."""

HOPELESS = 1e100
"""Loss of amplitudes so large that the normal matrix is no longer positive in double precision."""


@dataclass
class Rows:
    """Whitened design matrix with what each row and column is.

    Attributes
    ----------
    matrix : (D, M); targets : (D,)
        Divided by the label's standard deviation.
    kind : (D,) int
        Index of the kind of label of each row.
    frame : (D,) int
        Frame of each row.
    group : (M,) int
        Amplitude group of each column; -1 for columns of fixed amplitude.
    """

    matrix: np.ndarray
    targets: np.ndarray
    kind: np.ndarray
    frame: np.ndarray
    group: np.ndarray

    def column_scale(self, amplitudes):
        """Amplitude of every column, (M,)."""
        return np.append(amplitudes, 1.0)[self.group]

    def divided(self, factors):
        """The rows with their standard deviations multiplied by factors (D,)."""
        return replace(self, matrix=self.matrix / factors[:, None], targets=self.targets / factors)

    def outlier_factors(self, weights):
        """Factors (D,) on the standard deviations of outlying frames, and what they are: frame -> {kind: factor}.

        For each kind of label the residual of a frame (root mean square over its rows) is compared with the median
        over frames; beyond OUTLIER times that the factor is their ratio, else 1.
        """
        squares = (self.matrix @ weights - self.targets) ** 2
        factors, found = np.ones(len(squares)), {}
        for kind in np.unique(self.kind):
            mine = self.kind == kind
            frames, place = np.unique(self.frame[mine], return_inverse=True)
            residuals = np.sqrt(np.bincount(place, squares[mine]) / np.bincount(place))
            ratios = residuals / max(np.median(residuals), np.finfo(float).tiny)
            for frame, ratio in zip(frames, ratios, strict=True):
                if ratio > OUTLIER:
                    factors[mine & (self.frame == frame)] = ratio
                    found.setdefault(int(frame), {})[int(kind)] = float(ratio)
        return factors, found


def whitening(covariance):
    """W (M, rank) with W^T K W = 1 on the numerical range of the covariance K (M, M)."""
    values, vectors = scipy.linalg.eigh(covariance)
    keep = values > ZERO * values[-1]
    return np.ascontiguousarray(vectors[:, keep] / np.sqrt(values[keep]))


def posterior(matrix, targets):
    """Mean (M,) of u, and factor F (M, M) of its covariance F F^T, for unit prior and unit noise.

    By QR decomposition of the rows stacked on the unit matrix, so that the rows are never squared.
    """
    n = matrix.shape[1]
    stacked = np.vstack([matrix, np.eye(n)])
    q, r = scipy.linalg.qr(stacked, mode="economic", overwrite_a=True, check_finite=False)
    factor = np.ascontiguousarray(scipy.linalg.solve_triangular(r, np.eye(n)))  # as a model file keeps it
    return factor @ (q[: len(targets)].T @ targets), factor


class Moments:
    """Second moments A^T A, A^T y, y^T y of rows by kind of label: all that evidence and cross-validation need.

    Columns of fixed amplitude (the constants) are projected out, as for a flat prior.
    """

    def __init__(self, rows, n_kinds, keep=None):
        keep = np.ones(len(rows.targets), dtype=bool) if keep is None else keep
        parts = [_without_constants(rows, keep & (rows.kind == k)) for k in range(n_kinds)]
        self.gram = np.array([a.T @ a for a, _ in parts])
        self.projection = np.array([a.T @ y for a, y in parts])
        self.square = np.array([y @ y for _, y in parts])
        self.count = np.array([len(y) for _, y in parts])

    def system(self, scale, noise):
        """Normal matrix 1 + D A^T A D / s^2 and right-hand side."""
        weight = noise**-2.0
        gram = np.einsum("k,kab->ab", weight, self.gram)
        normal = scale[:, None] * gram * scale + np.eye(len(scale))
        return normal, scale * (weight @ self.projection)


def _without_constants(rows, keep):
    """Chosen rows and targets with the span of the columns of fixed amplitude taken out."""
    matrix, targets = rows.matrix[keep], rows.targets[keep]
    constant = rows.group < 0
    span = scipy.linalg.null_space(matrix[:, constant].T) if len(matrix) and matrix[:, constant].any() else None
    matrix = matrix[:, ~constant]
    return (matrix, targets) if span is None else (span.T @ matrix, span.T @ targets)


def log_evidence(moments, scale, noise):
    """Logarithm of the probability of the targets, up to a constant.

    scale : (M,) prior amplitude of every column; noise : (n_kinds,) factor on the labels' standard deviations.
    """
    normal, right = moments.system(scale, noise)
    cholesky = scipy.linalg.cholesky(normal, lower=True, check_finite=False)
    half = scipy.linalg.solve_triangular(cholesky, right, lower=True, check_finite=False)
    misfit = noise**-2.0 @ moments.square - half @ half
    return float(-0.5 * misfit - np.log(np.diag(cholesky)).sum() - moments.count @ np.log(noise))


def optimize(rows, n_groups, n_kinds, method, fit_noise, rng=None):
    """Prior amplitudes (n_groups,) and noise factors (n_kinds,) by evidence or by cross-validation over frames.

    Parameters
    ----------
    method : "evidence" or "cross-validation"
        Maximise the evidence, or minimise the sum over kinds of the logarithm of the squared error of frames left out
        (FOLDS parts, never splitting a frame) and of TIE ln(amplitude)^2.
    fit_noise : bool
        With evidence: also fit one factor on the standard deviations of each kind of label. Cross-validation of the
        mean cannot tell noise from prior, so there the factors stay 1.
    """
    present = np.array([(rows.kind == k).any() for k in range(n_kinds)])
    free = present if fit_noise and method == "evidence" else np.zeros(n_kinds, dtype=bool)

    group = rows.group[rows.group >= 0]

    def unpack(parameters):
        noise = np.ones(n_kinds)
        noise[free] = np.exp(parameters[n_groups:])
        return np.exp(parameters[:n_groups])[group], noise

    if method == "evidence":
        moments = Moments(rows, n_kinds)

        def raw_loss(parameters):
            return -log_evidence(moments, *unpack(parameters))
    else:
        folds = Folds(rows, n_kinds, rng)

        def raw_loss(parameters):
            squares = folds.errors(*unpack(parameters))[0]
            return np.log([np.sum(s) + 1e-300 for s in squares])[present].sum() + TIE * np.sum(parameters**2)

    def loss(parameters):
        try:
            return raw_loss(parameters)
        except scipy.linalg.LinAlgError:
            return HOPELESS

    size = n_groups + int(free.sum())
    best = minimize(
        loss,
        np.zeros(size),
        method="Powell",
        bounds=[(-np.log(RANGE), np.log(RANGE))] * size,
        options={"xtol": 0.02, "ftol": 1e-6, "maxiter": 8},
    )
    parameters = np.atleast_1d(best.x)
    noise = unpack(parameters)[1]
    return np.exp(parameters[:n_groups]), noise


class Folds:
    """Frames in FOLDS parts, each predicted from all others; constants are left out of the comparison."""

    def __init__(self, rows, n_kinds, rng):
        order = np.random.default_rng(rng).permutation(np.unique(rows.frame))
        parts = [np.isin(rows.frame, order[f::FOLDS]) for f in range(min(FOLDS, len(order)))]
        self._training = [Moments(rows, n_kinds, ~part) for part in parts]
        self._held_out = [[_without_constants(rows, part & (rows.kind == k)) for k in range(n_kinds)] for part in parts]
        self._n_kinds = n_kinds

    def errors(self, scale, noise, variances=False):
        """Squared errors of the frames left out, and on request their posterior variances: lists by kind of label."""
        squares, expected = ([[] for _ in range(self._n_kinds)] for _ in range(2))
        for kinds, moments in zip(self._held_out, self._training, strict=True):
            normal, right = moments.system(scale, noise)
            cholesky = scipy.linalg.cholesky(normal, lower=True, check_finite=False)
            weights = scale * scipy.linalg.cho_solve((cholesky, True), right, check_finite=False)
            for k, (matrix, targets) in enumerate(kinds):
                squares[k].append((matrix @ weights - targets) ** 2)
                if variances and len(targets):
                    half = scipy.linalg.solve_triangular(cholesky, (matrix * scale).T, lower=True, check_finite=False)
                    expected[k].append(np.sum(half**2, axis=0))
        return [np.concatenate(s) for s in squares], [np.concatenate(v) if v else np.zeros(0) for v in expected]


def calibrated_noise(rows, amplitudes, noise, n_kinds, rng=None):
    """Standard deviation of labels about the model, by kind, that makes predictions of frames left out honest.

    With e the error of a label left out and v its posterior variance, s solves mean of e^2 / (v + s^2) = 1; it is 0
    where the posterior alone is wide enough. Like the rows it is in units of the labels' standard deviations, and 1
    where there is nothing to calibrate on.
    """
    out = np.array(noise, dtype=float)
    if len(np.unique(rows.frame)) < 2 * FOLDS:
        return out
    scale = rows.column_scale(amplitudes)[rows.group >= 0]
    for k, (square, variance) in enumerate(zip(*Folds(rows, n_kinds, rng).errors(scale, noise, True), strict=True)):
        if not len(square):
            continue

        def excess(s, square=square, variance=variance):
            return np.mean(square / (variance + s**2 + 1e-300)) - 1.0

        top = np.sqrt(square.mean())
        out[k] = brentq(excess, 0.0, top, xtol=1e-6 * top) if excess(0.0) > 0 else 0.0
    return out
