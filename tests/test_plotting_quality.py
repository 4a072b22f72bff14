"""Pictures of residuals, learning curves and thermal order, and of walls: what is drawn and what the labels say."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ase_spinml import plotting
from ase_spinml.errors import InputError
from ase_spinml.plotting.style import with_error

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_residuals_against_the_reference_and_as_densities():
    rng = np.random.default_rng(0)
    reference, errors = rng.normal(size=400), np.concatenate([rng.normal(0.5, 1, 300), rng.normal(0, 3, 100)])
    groups = ["one"] * 300 + ["two"] * 100
    left, right = plotting.residuals(reference, reference + errors, label="energy", unit="meV/atom", groups=groups)
    np.testing.assert_allclose(left.lines[0].get_xdata(), reference[:300])
    np.testing.assert_allclose(left.lines[0].get_ydata(), errors[:300], atol=1e-12)
    assert left.get_xlabel() == "reference energy (meV/atom)"
    assert left.get_ylabel() == "predicted - reference (meV/atom)"
    assert right.get_xlabel() == "density (1/(meV/atom))"
    means = [f"mean {part.mean():.2g}, deviation {part.std():.3g} meV/atom" for part in (errors[:300], errors[300:])]
    assert legend(left) == [f"one: {means[0]}", f"two: {means[1]}"]
    assert len(right.patches) == 2
    for patch in right.patches:
        outline = patch.get_xy()
        x, y = outline[:, 0], outline[:, 1]
        area = 0.5 * abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))  # the shoelace formula
        assert area == pytest.approx(1.0, abs=1e-6)
    assert left.get_ylim() == right.get_ylim()
    left.figure.canvas.draw()


def test_residuals_of_one_value_on_given_axes():
    given = plt.subplots(1, 2)[1]
    assert plotting.residuals([1.0], [3.0], label="field", unit="meV", axes=given) is given
    assert legend(given[0]) == ["mean 2, deviation 0 meV"]
    assert given[1].get_xlabel() == "density (1/meV)"
    with pytest.raises(InputError, match=r"must have one shape and at least one value, got \(3,\) and \(2,\)"):
        plotting.residuals(np.zeros(3), np.zeros(2), label="energy", unit="eV")


def test_learning_curves_of_two_models():
    sizes = [10, 20, 40]
    ax = plotting.learning_curve(sizes, [[4, 8, 5], [2, 4, 3], [1, 2, 1.5]], label="field", unit="meV", name="a")
    assert plotting.learning_curve(sizes, [6.0, 5.0, 4.0], label="field", unit="meV", name="b", ax=ax) is ax
    first, second = (container.lines for container in ax.containers)
    np.testing.assert_allclose(first[0].get_ydata(), [5, 3, 1.5])
    np.testing.assert_allclose([segment[:, 1] for segment in first[2][0].get_segments()], [[4, 8], [2, 4], [1, 2]])
    np.testing.assert_allclose(second[0].get_ydata(), [6, 5, 4])
    assert first[0].get_color() != second[0].get_color()
    assert first[0].get_marker() != second[0].get_marker()
    assert legend(ax) == ["a", "b"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training frames", "error of field (meV)")
    ax.figure.canvas.draw()
    assert "20" in [text.get_text() for text in ax.get_xticklabels()]


def test_learning_curves_need_positive_values_that_fit():
    with pytest.raises(InputError, match=r"for n sizes, got \(2,\) and \(3,\)"):
        plotting.learning_curve([1, 2, 3], [1, 2], label="a", unit="b")
    with pytest.raises(InputError, match="Expected sizes and errors above zero, which logarithmic axes need"):
        plotting.learning_curve([1, 2], [0.0, 1.0], label="a", unit="b")


def test_magnetisation_and_cumulants_with_the_crossing():
    temperatures = np.array([100.0, 200.0, 300.0])
    small, large = np.array([[0.9, 0.7, 0.4], [0.01, 0.02, 0.03]]), [0.9, 0.6, 0.2]
    axes = plotting.magnetisation_curve(
        temperatures, {4: small, 8: large}, binder={4: [0.66, 0.6, 0.5], 8: [0.66, 0.6, 0.45]}, critical=(201.5, 3.25)
    )
    upper, lower = axes
    np.testing.assert_allclose(upper.containers[0].lines[0].get_ydata(), small[0])
    heights = [np.ptp(segment[:, 1]) for segment in upper.containers[0].lines[2][0].get_segments()]
    np.testing.assert_allclose(heights, 2 * small[1])
    np.testing.assert_allclose(upper.containers[1].lines[0].get_ydata(), large)
    np.testing.assert_allclose(lower.containers[1].lines[0].get_ydata(), [0.66, 0.6, 0.45])
    assert legend(upper) == ["4", "8"]
    assert upper.get_legend().get_title().get_text() == "size"
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("magnetisation $M/M_0$", "Binder cumulant $U$")
    assert lower.get_xlabel() == "temperature (K)"
    for ax in axes:
        assert [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2] == [201.5]
        (band,) = ax.patches
        assert (band.get_x(), band.get_width()) == pytest.approx((198.25, 6.5))
    assert [text.get_text() for text in lower.texts] == [r"$T_c$ = 201.5 $\pm$ 3.2 K"]
    lower.figure.canvas.draw()


def test_magnetisation_on_one_given_axes():
    given = plt.subplots()[1]
    axes = plotting.magnetisation_curve([1.0, 2.0], {"bulk": [1.0, 0.5]}, critical=1.5, axes=given)
    assert axes == [given]
    assert [text.get_text() for text in given.texts] == ["$T_c$ = 1.5 K"]
    with pytest.raises(InputError, match="Expected 2 Axes, got 1: cumulants have one of their own"):
        plotting.magnetisation_curve([1.0], {"bulk": [1.0]}, binder={"bulk": [1.0]}, axes=given)
    with pytest.raises(InputError, match=r"for each of 2 temperatures, got shape \(3,\)"):
        plotting.magnetisation_curve([1.0, 2.0], {"bulk": [1.0, 2.0, 3.0]})


def test_wall_velocity_is_fitted_in_metres_per_second():
    times = np.linspace(0, 10, 21)
    noise = np.random.default_rng(0).normal(scale=0.1, size=21)
    ax = plotting.wall_position(times, 5.0 + 1.5 * times + noise)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 5.0 + 1.5 * times + noise)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 5.0 + 1.5 * times, atol=0.15)
    value, sign, error, unit = legend(ax)[1].split()
    assert (sign, unit) == (r"$\pm$", "m/s")
    assert float(value) == pytest.approx(150, abs=3 * float(error))
    assert 0.3 < float(error) < 3
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (ps)", "position of the wall (Å)")
    with pytest.raises(InputError, match="at least 3 points"):
        plotting.wall_position([0.0], [1.0])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (338.42, 3.81, r"338.4 $\pm$ 3.8 K"),
        (109.7862, 0.0013, r"109.7862 $\pm$ 0.0013 K"),
        (12345.6, 120.0, r"12346 $\pm$ 120 K"),
        (0.25, 0.0, r"0.250 $\pm$ 0.000 K"),
        (0.25, 1e-17, r"0.250000 $\pm$ 0.000000 K"),
        (1.0, float("nan"), r"1.000 $\pm$ nan K"),
    ],
)
def test_values_with_errors(value, error, text):
    assert with_error(value, error, "K") == text


def test_temperatures_that_are_not_there_are_left_out():
    times = np.arange(3.0)
    axes = plotting.magnetisation_and_temperatures(times, times, None, times + 1)
    assert legend(axes[1]) == ["spins"]
    axes = plotting.magnetisation_and_temperatures(times, times, None, None)
    assert axes[1].get_legend() is None


def test_energy_drift_of_other_energies():
    ax = plotting.energy_drift([0.0, 1.0, 2.0], [1.0, 2.0, 4.0], label="conserved energy", unit="meV")
    assert legend(ax)[0] == "conserved energy"
    assert ax.get_ylabel() == "change of conserved energy (meV)"


def test_a_relaxation_shows_what_moved():
    upper, lower = plotting.relaxation([-1.0, -1.5, -1.6], [0.5, 0.1, 0.01], [1e-2, 1e-3, 1e-5])
    np.testing.assert_allclose(upper.lines[0].get_ydata(), [600, 100, 0], atol=1e-9)
    assert legend(lower) == ["force (eV/Å)", "torque (eV)"]
    np.testing.assert_allclose(lower.lines[1].get_ydata(), [1e-2, 1e-3, 1e-5])
    assert (upper.get_ylabel(), lower.get_xlabel()) == ("energy above the last (meV)", "step")
    upper.figure.canvas.draw()
    given = plt.subplots(2)[1]
    assert plotting.relaxation([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], axes=given) is given
    assert not given[1].lines
    given[0].figure.canvas.draw()
    with pytest.raises(InputError, match=r"got shapes \(2,\) and \(1,\)"):
        plotting.relaxation([0.0, 0.0], [1.0], [1.0, 1.0])
