"""Radial and angular functions of the descriptors, against quadrature and closed forms."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import eval_legendre

from ase_spinml.descriptors.basis import RadialTable, cutoff_function, legendre, smeared_bessel, spin_smearing
from ase_spinml.errors import InputError

CUTOFF, N_MAX, WIDTH = 5.0, 6, 0.5


def chi(n, r):
    """Orthonormal spherical Bessel function of l = 0."""
    return np.sqrt(2 / CUTOFF) * np.sin(n * np.pi * r / CUTOFF) / r


def table(n_max=N_MAX, width=WIDTH):
    return RadialTable(CUTOFF, n_max, width, torch.float64, "cpu")


# --- radial functions ---


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("r", [0.3, 2.5, 4.6])
def test_radial_functions_are_chi_averaged_over_a_gaussian_ball(n, r):
    """h_n(r) = fc(r) times the mean of chi_n(|r'|) over a Gaussian ball in space about the neighbour.

    The mean is taken over distance and polar angle of r', without the Bessel function that stands for the latter.
    """
    cosines, weights = np.polynomial.legendre.leggauss(400)

    def integrand(x):
        apart = x**2 + r**2 - 2 * x * r * cosines
        return 2 * np.pi * x**2 * chi(n, x) * (weights @ np.exp(-apart / (2 * WIDTH**2)))

    norm = 1 / (2 * np.pi * WIDTH**2) ** 1.5
    mean = norm * quad(integrand, 1e-9, CUTOFF, points=[r], epsabs=1e-12, limit=200)[0]
    expected = (0.5 * (1 + np.cos(np.pi * r / CUTOFF))) ** 2 * mean
    np.testing.assert_allclose(smeared_bessel(np.array([r]), CUTOFF, N_MAX, WIDTH)[0, n - 1], expected, atol=1e-9)


def test_radial_functions_of_a_narrow_atom_are_the_basis_itself():
    r = np.linspace(1.0, 4.0, 7)
    narrow = smeared_bessel(r, CUTOFF, 4, 0.03)
    expected = np.column_stack([chi(n, r) for n in range(1, 5)]) * cutoff_function(r, CUTOFF)[:, None]
    np.testing.assert_allclose(narrow, expected, atol=3e-3 * np.abs(expected).max())


def test_the_basis_under_the_smearing_is_orthonormal():
    r = np.linspace(1e-6, CUTOFF, 20001)
    basis = np.array([chi(n, r) for n in range(1, 5)])
    overlap = np.trapezoid(basis[:, None] * basis * r**2, r)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-7)


def test_a_radial_function_is_finite_at_the_origin():
    np.testing.assert_allclose(
        smeared_bessel(np.array([0.0]), CUTOFF, 3, WIDTH), smeared_bessel(np.array([1e-4]), CUTOFF, 3, WIDTH), atol=1e-6
    )


def test_the_spline_gives_the_radial_functions():
    r = np.random.default_rng(0).uniform(0.1, CUTOFF, 300)
    values, _ = table()(torch.as_tensor(r))
    exact = smeared_bessel(r, CUTOFF, N_MAX, WIDTH)
    np.testing.assert_allclose(values.numpy(), exact, atol=1e-9 * np.abs(exact).max())


def test_the_spline_gives_their_derivatives():
    r = np.random.default_rng(1).uniform(0.1, CUTOFF - 0.01, 300)
    _, slopes = table()(torch.as_tensor(r))
    h = 1e-3
    exact = sum(
        w * smeared_bessel(r + k * h, CUTOFF, N_MAX, WIDTH) for k, w in [(1, 8), (-1, -8), (2, -1), (-2, 1)]
    ) / (12 * h)
    np.testing.assert_allclose(slopes.numpy(), exact, atol=1e-7 * np.abs(exact).max())


def test_the_derivative_is_that_of_the_spline_itself():
    r = torch.linspace(0.1, 4.9, 50, dtype=torch.float64) + 1e-4
    radial, h = table(), 1e-6
    difference = (radial(r + h)[0] - radial(r - h)[0]) / (2 * h)
    torch.testing.assert_close(radial(r)[1], difference, atol=1e-7, rtol=0)


@pytest.mark.parametrize("r", [CUTOFF, CUTOFF + 1e-9, CUTOFF + 3.0, 1e6])
def test_zero_beyond_the_cutoff(r):
    value, slope = table()(torch.tensor([r], dtype=torch.float64))
    assert value.abs().max() < 1e-12
    assert slope.abs().max() < 1e-12


def test_radial_functions_vanish_at_the_cutoff_with_two_derivatives():
    """Near Rc the cutoff function is (pi (Rc - r) / 2 Rc)^4: value, slope and curvature go to zero."""
    distance = np.array([0.1, 0.01])
    values, slopes = (x.numpy() for x in table()(torch.as_tensor(CUTOFF - distance)))
    assert (np.abs(values[1]) < 2e-4 * np.abs(values[0])).all()  # as d^4
    assert (np.abs(slopes[1]) < 2e-3 * np.abs(slopes[0])).all()  # as d^3
    assert (np.abs(slopes[1]) / 0.01 < 2e-2 * np.abs(slopes[0]) / 0.1).all()  # curvature, as d^2


def test_the_cutoff_function_and_its_curvature_at_both_ends():
    h = 1e-4
    fc = cutoff_function(np.array([0, h, CUTOFF - h, CUTOFF, CUTOFF + 1]), CUTOFF)
    assert fc[0] == 1.0
    assert fc[3] == 0.0
    assert fc[4] == 0.0
    np.testing.assert_allclose((1 - fc[1]) / h**2, 0.5 * (np.pi / CUTOFF) ** 2, rtol=1e-5)
    assert fc[2] < h**4


def test_a_radial_table_in_single_precision():
    r = torch.linspace(1.0, 4.9, 40)
    values, slopes = RadialTable(CUTOFF, N_MAX, WIDTH, torch.float32, "cpu")(r)
    assert values.dtype == slopes.dtype == torch.float32
    exact = smeared_bessel(r.numpy(), CUTOFF, N_MAX, WIDTH)
    np.testing.assert_allclose(values.numpy(), exact, atol=1e-5 * np.abs(exact).max())


# --- Legendre polynomials ---


@pytest.mark.parametrize("l_max", [0, 1, 2, 6])
def test_legendre_polynomials(l_max):
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    values, slopes = legendre(x, l_max)
    assert len(values) == len(slopes) == l_max + 1
    for order, value in enumerate(values):
        np.testing.assert_allclose(value.numpy(), eval_legendre(order, x.numpy()), atol=1e-14)


def test_slopes_of_legendre_polynomials():
    x = np.linspace(-1, 1, 21)
    _, slopes = legendre(torch.as_tensor(x), 6)
    for order, slope in enumerate(slopes):
        expected = np.polynomial.Legendre.basis(order).deriv()(x)
        np.testing.assert_allclose(slope.numpy(), expected, atol=1e-12)


# --- smearing of a spin ---


@pytest.mark.parametrize("width", [0.2, 0.5, 1.2])
def test_von_mises_fisher_coefficients_are_moments_of_the_bump(width):
    k = 1 / width**2
    sums = [quad(lambda x, n=n: np.exp(k * (x - 1)) * eval_legendre(n, x), -1, 1)[0] for n in range(6)]
    expected = np.array(sums) / sums[0]
    np.testing.assert_allclose(spin_smearing("von-mises-fisher", width, 5), expected, atol=1e-9)


@pytest.mark.parametrize("width", [0.3, 0.7])
def test_the_first_von_mises_fisher_coefficient_in_closed_form(width):
    k = 1 / width**2
    assert spin_smearing("von-mises-fisher", width, 1)[1] == pytest.approx(1 / np.tanh(k) - 1 / k, abs=1e-13)


@pytest.mark.parametrize("width", [0.2, 0.4])
def test_heat_coefficients_solve_the_diffusion_equation_on_the_sphere(width):
    """The bump sum_l (2 l + 1) a_l P_l / 4 pi with time t = s^2 / 2 obeys dw/dt = d/dx (1 - x^2) dw/dx."""

    def bump(time, x):
        a = spin_smearing("heat", np.sqrt(2 * time), 80)
        return np.polynomial.legendre.Legendre((2 * np.arange(81) + 1) * a / (4 * np.pi))(x)

    t, x, h = width**2 / 2, np.linspace(-0.9, 0.95, 12), 1e-3
    rate = (bump(t * (1 + h), x) - bump(t * (1 - h), x)) / (2 * t * h)

    def flow(x):
        return (1 - x**2) * (bump(t, x + h) - bump(t, x - h)) / (2 * h)

    diffusion = (flow(x + h) - flow(x - h)) / (2 * h)
    np.testing.assert_allclose(rate, diffusion, atol=2e-3 * np.abs(rate).max())


def test_the_heat_kernel_is_a_narrow_gaussian_of_the_given_width():
    width = 0.05
    a = spin_smearing("heat", width, 300)
    angles = np.linspace(0, 0.15, 10)
    bump = np.polynomial.legendre.Legendre((2 * np.arange(301) + 1) * a / (4 * np.pi))(np.cos(angles))
    gauss = np.exp(-(angles**2) / (2 * width**2)) / (2 * np.pi * width**2)
    np.testing.assert_allclose(bump, gauss, atol=2e-3 * gauss[0])


@pytest.mark.parametrize("kind", ["heat", "von-mises-fisher"])
def test_a_smeared_spin_is_normalised_and_damps_high_orders(kind):
    a = spin_smearing(kind, 0.5, 6)
    assert a[0] == 1.0
    assert (np.diff(a) < 0).all()
    assert (a > 0).all()


@pytest.mark.parametrize("kind", ["heat", "von-mises-fisher"])
def test_a_point_spin_is_not_damped(kind):
    assert spin_smearing(kind, 0.0, 4).tolist() == [1.0] * 5
    np.testing.assert_allclose(spin_smearing(kind, 1e-3, 4), 1.0, atol=2e-5)


@pytest.mark.parametrize("width", [-0.1, np.nan, np.inf])
def test_refuses_an_impossible_spin_width(width):
    with pytest.raises(InputError, match=rf"width of a spin on the sphere must be >= 0 radian, got {width}"):
        spin_smearing("heat", width, 2)


def test_refuses_an_unknown_smearing():
    with pytest.raises(InputError, match=r"spin smearing is 'heat' or 'von-mises-fisher', got 'gaussian'"):
        spin_smearing("gaussian", 0.5, 2)
