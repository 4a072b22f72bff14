"""Bayesian linear regression and kernels against dense textbook formulas."""

import numpy as np
import pytest
import torch

from ase_spinml.errors import InputError
from ase_spinml.models.kernels import make_kernel
from ase_spinml.models.regression import Moments, Rows, calibrated_noise, log_evidence, optimize, posterior, whitening

KERNELS = {"linear": ("polynomial", 1), "square": ("polynomial", 2), "cube": ("polynomial", 3), "rbf": ("rbf", 1)}


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def rows(rng, groups=(0, 0, 0, 1, 1), n=40, noise=1.0, constants=0):
    group = np.array([*groups, *[-1] * constants])
    matrix = rng.normal(size=(n, len(group)))
    weights = rng.normal(size=len(group)) * np.where(group == 0, 3.0, 0.2)
    frame = np.arange(n) // 4
    kind = np.arange(n) % 4
    return Rows(matrix, matrix @ weights + noise * rng.normal(size=n), kind, frame, group)


# --- the posterior ---


def test_posterior_mean_and_covariance(rng):
    data = rows(rng)
    mean, factor = posterior(data.matrix, data.targets)
    precision = data.matrix.T @ data.matrix + np.eye(5)
    np.testing.assert_allclose(mean, np.linalg.solve(precision, data.matrix.T @ data.targets), rtol=1e-10)
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(precision), rtol=1e-9, atol=1e-12)


def test_posterior_of_fewer_rows_than_columns(rng):
    matrix, targets = rng.normal(size=(3, 8)), rng.normal(size=3)
    mean, _ = posterior(matrix, targets)
    np.testing.assert_allclose(mean, matrix.T @ np.linalg.solve(matrix @ matrix.T + np.eye(3), targets), rtol=1e-10)


def test_whitening_turns_a_singular_covariance_into_one(rng):
    half = rng.normal(size=(7, 4))
    w = whitening(half @ half.T)
    assert w.shape == (7, 4)
    np.testing.assert_allclose(w.T @ half @ half.T @ w, np.eye(4), atol=1e-10)


# --- the evidence ---


def dense_log_evidence(data, scale, noise):
    """Logarithm of the normal density of the targets, less its constant of 2 pi."""
    spread = noise[data.kind]
    covariance = (data.matrix * scale**2) @ data.matrix.T + np.diag(spread**2)
    _, logdet = np.linalg.slogdet(covariance)
    return -0.5 * data.targets @ np.linalg.solve(covariance, data.targets) - 0.5 * logdet


def test_the_evidence_is_the_density_of_the_targets(rng):
    data = rows(rng)
    scale, noise = np.array([3.0, 3, 3, 0.2, 0.2]), np.array([1.0, 0.5, 2.0, 1.3])
    value = log_evidence(Moments(data, 4), scale, noise)
    assert value == pytest.approx(dense_log_evidence(data, scale, noise), rel=1e-10)


def test_a_constant_counts_as_a_flat_prior_does(rng):
    """Differences of the evidence as with a column of huge amplitude: one kind of label, where the limit is exact."""
    data = rows(rng, constants=1)
    data.kind[:] = 0
    noise, wide = np.ones(1), 1e4
    values, dense = [], []
    for amplitude in (0.5, 3.0):
        values.append(log_evidence(Moments(data, 1), np.full(5, amplitude), noise))
        dense.append(dense_log_evidence(data, np.append(np.full(5, amplitude), wide), noise))
    assert values[1] - values[0] == pytest.approx(dense[1] - dense[0], rel=1e-5)


def test_the_evidence_finds_the_amplitudes_that_made_the_data(rng):
    data = rows(rng, groups=[0] * 60 + [1] * 60, n=600)
    amplitudes, noise = optimize(data, 2, 4, "evidence", fit_noise=False)
    np.testing.assert_allclose(amplitudes, [3.0, 0.2], rtol=0.35)
    np.testing.assert_array_equal(noise, 1.0)


def test_the_evidence_finds_the_noise(rng):
    data = rows(rng, groups=[0] * 20, n=800, noise=2.5)
    _, noise = optimize(data, 1, 4, "evidence", fit_noise=True)
    np.testing.assert_allclose(noise, 2.5, rtol=0.15)


def test_cross_validation_finds_amplitudes_that_predict_other_rows(rng):
    """Fewer rows than columns, most of which mean little: nearly as good as the amplitudes that made the data."""
    weights = rng.normal(size=160) * np.repeat([3.0, 0.2], [40, 120])
    data = rows(rng, groups=[0] * 40 + [1] * 120, n=120)
    data.targets[:] = data.matrix @ weights + rng.normal(size=120)
    fresh = rng.normal(size=(500, 160))

    def error(amplitudes):
        scale = data.column_scale(np.array(amplitudes))
        return np.std(fresh @ (scale * posterior(data.matrix * scale, data.targets)[0] - weights))

    amplitudes, noise = optimize(data, 2, 4, "cross-validation", fit_noise=True, rng=0)
    assert error(amplitudes) < 1.1 * error([3.0, 0.2]) < 0.5 * error([1.0, 1.0])
    np.testing.assert_array_equal(noise, 1.0)


def test_outlier_factors_name_the_frame_and_the_kind(rng):
    data = rows(rng)
    weights = posterior(data.matrix, data.targets)[0]
    wrong = (data.frame == 3) & (data.kind == 2)
    data.targets[wrong] += 100.0
    factors, found = data.outlier_factors(weights)
    assert list(found) == [3]
    assert list(found[3]) == [2]
    np.testing.assert_array_equal(factors > 1, wrong)
    assert factors[wrong] == pytest.approx(found[3][2])


def test_clean_rows_have_no_outliers(rng):
    data = rows(rng)
    factors, found = data.outlier_factors(posterior(data.matrix, data.targets)[0])
    assert found == {}
    np.testing.assert_array_equal(factors, 1.0)


# --- kernels ---


def direct(name, x, y):
    """The kernel of two vectors."""
    apart = (x - y) @ (x - y)
    return {"linear": x @ y, "square": (x @ y) ** 2, "cube": (x @ y) ** 3, "rbf": np.exp(-apart / 2)}[name]


@pytest.mark.parametrize("name", KERNELS)
def test_covariances(rng, name):
    x, points = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    kernel = make_kernel(*KERNELS[name], 1.0)
    expected = [[direct(name, a, b) for b in points] for a in x]
    np.testing.assert_allclose(kernel(torch.as_tensor(x), torch.as_tensor(points)), expected, rtol=1e-12)
    prior = [[direct(name, a, b) for b in x] for a in x]
    np.testing.assert_allclose(kernel.variance(torch.as_tensor(x)), prior, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_the_collapsed_form_is_the_sum_over_sparse_points(rng, name):
    x, points, weights, scale = (rng.normal(size=s) for s in [(4, 3), (5, 3), 5, 3])
    function = make_kernel(*KERNELS[name], 1.0).collapse(*map(torch.as_tensor, (points, weights, scale)))
    energy, _ = function(torch.as_tensor(x))
    expected = [sum(w * direct(name, a * scale, b) for w, b in zip(weights, points, strict=True)) for a in x]
    np.testing.assert_allclose(energy, expected, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_slopes_of_the_collapsed_form_and_of_the_covariances(rng, name):
    x, points, weights = (torch.as_tensor(rng.normal(size=s)) for s in [(4, 3), (5, 3), 5])
    kernel = make_kernel(*KERNELS[name], 1.0)
    x.requires_grad_()
    (expected,) = torch.autograd.grad((kernel(x, points) @ weights).sum(), x)
    _, slope = kernel.collapse(points, weights, torch.ones(3, dtype=x.dtype))(x.detach())
    torch.testing.assert_close(slope.contiguous(), expected.contiguous())
    a, b = kernel.slopes(x.detach(), points)
    along = (a * weights) @ points + (0 if b is None else (b @ weights).unsqueeze(1) * x.detach())
    torch.testing.assert_close(along, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gauss", 2, 1.0), r"kernel must be 'polynomial' or 'rbf', got 'gauss'"),
        (("polynomial", 0, 1.0), r"zeta must be an integer >= 1, got 0"),
        (("polynomial", 1.5, 1.0), r"zeta must be an integer >= 1, got 1\.5"),
        (("polynomial", True, 1.0), r"zeta must be an integer >= 1, got True"),
        (("rbf", 1, 0.0), r"length_scale of the rbf kernel must be positive, got 0\.0"),
    ],
)
def test_refuses_bad_kernels(arguments, message):
    with pytest.raises(InputError, match=message):
        make_kernel(*arguments)


def test_calibrated_noise_is_the_noise_of_the_labels():
    rng = np.random.default_rng(3)
    matrix, truth = rng.normal(size=(4000, 5)), rng.normal(size=5)
    targets = matrix @ truth + 0.3 * rng.normal(size=4000)
    rows = Rows(matrix, targets, np.zeros(4000, int), np.repeat(np.arange(40), 100), np.zeros(5, int))
    assert calibrated_noise(rows, np.ones(1), np.ones(1), 1, rng=0) == pytest.approx([0.3], rel=0.05)


def test_few_frames_leave_the_noise_as_stated():
    rows = Rows(np.eye(4), np.ones(4), np.zeros(4, int), np.arange(4), np.zeros(4, int))
    assert calibrated_noise(rows, np.ones(1), np.array([2.0]), 1, rng=0) == pytest.approx([2.0])
