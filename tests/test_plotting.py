"""Pictures: what is drawn and what the labels say, on a canvas without a screen."""

import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ase_spinml import plotting
from ase_spinml.errors import InputError

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_import_without_matplotlib():
    code = "import sys, ase_spinml.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_parity_tells_rmse_and_shows_residuals():
    reference = np.array([[0.0, 1.0], [2.0, 3.0]])
    ax = plotting.parity(reference, reference + np.array([3.0, -3.0]), label="energy", unit="meV/atom")
    assert legend(ax) == ["RMSE 3 meV/atom"]
    assert ax.get_ylabel() == "predicted energy (meV/atom)"
    residuals = ax.figure.axes[1]
    assert residuals.get_xlabel() == "reference energy (meV/atom)"
    np.testing.assert_array_equal(residuals.lines[0].get_ydata(), [3.0, -3.0, 3.0, -3.0])
    ax.figure.canvas.draw()


def test_parity_by_group_on_given_axes():
    given = plt.subplots()[1]
    groups = ["SOSO-GAP", "Heisenberg", "SOSO-GAP"]
    ax = plotting.parity([1.0, 1.0, 2.0], [1.0, 5.0, 2.0], label="field", unit="meV", groups=groups, ax=given)
    assert ax is given
    assert legend(ax) == ["SOSO-GAP: RMSE 0 meV", "Heisenberg: RMSE 4 meV"]


def test_parity_of_unequal_shapes():
    with pytest.raises(InputError) as caught:
        plotting.parity(np.zeros(3), np.zeros(2), label="energy", unit="eV")
    assert str(caught.value) == (
        "reference and predicted values must have one shape and at least one value, got (3,) and (2,): "
        "give the prediction for every reference value"
    )
    with pytest.raises(InputError) as caught:
        plotting.parity(np.zeros(3), np.zeros(3), label="energy", unit="eV", groups=["a"])
    assert str(caught.value) == "groups must name each of the 3 values, got 1 names"


def test_energy_drift_is_fitted():
    times = np.linspace(0, 2, 11)
    ax = plotting.energy_drift(times, -500.0 + 0.25 * times)
    assert legend(ax) == ["total energy", r"drift 0.250000 $\pm$ 0.000000 meV/atom/ps"]
    assert ax.lines[0].get_ydata()[0] == 0.0
    noise = np.random.default_rng(0).normal(size=2000)
    errors = [plotting.runs._drift(np.arange(100.0), part)[2] for part in noise.reshape(20, 100)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.sqrt(12) / 100**1.5, rel=0.2)
    with pytest.raises(InputError) as caught:
        plotting.energy_drift([0.0], [1.0])
    assert str(caught.value) == "two series of one length, at least 3 points, are needed, got shapes (1,) and (1,)"


def test_magnetisation_and_temperatures():
    times = np.arange(4.0)
    axes = plotting.magnetisation_and_temperatures(times, times, times + 1, times + 2, target=300)
    assert legend(axes[1]) == ["lattice", "spins", "bath"]
    np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), times + 2)
    axes = plotting.magnetisation_and_temperatures(times, times, times, times, target=times + 3, electrons=times + 4)
    assert legend(axes[1]) == ["lattice", "spins", "electrons", "bath"]
    np.testing.assert_array_equal(axes[1].lines[2].get_ydata(), times + 4)
    np.testing.assert_array_equal(axes[1].lines[3].get_ydata(), times + 3)
    given = plt.subplots(2)[1]
    assert plotting.magnetisation_and_temperatures(times, times, times, times, axes=given) is given
    with pytest.raises(InputError, match=r"got shapes \(4,\) and \(3,\)"):
        plotting.magnetisation_and_temperatures(times, times, times[:3], times)


def test_error_against_angle_takes_the_rmse_of_each_range():
    ax = plotting.error_against_angle([5.0, 15.0, 180.0], [3.0, -4.0, 1.0], label="energy", unit="meV/atom")
    np.testing.assert_allclose(ax.lines[1].get_xdata(), [10.0, 170.0])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [np.sqrt(12.5), 1.0])
    assert ax.get_ylabel() == "error of energy (meV/atom)"


def test_calibration_compares_errors_with_predictions():
    rng = np.random.default_rng(0)
    predicted = 10 ** rng.uniform(-2, 0, 4000)
    scores = rng.normal(size=4000)
    errors = 1.5 * predicted * scores / scores.std()
    ax = plotting.calibration(errors.reshape(40, 100), predicted.reshape(40, 100), label="field", unit="meV")
    assert legend(ax) == ["each value", "RMSE, z-scores 1.50"]
    assert ax.get_xlabel() == "predicted error of field (meV)"
    (container,) = ax.containers
    line, _, (bars,) = container.lines
    assert len(line.get_xdata()) == 10
    ratio = line.get_ydata() / line.get_xdata()
    np.testing.assert_allclose(ratio, 1.5, rtol=0.15)
    heights = np.array([segment[1, 1] - segment[0, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(heights, 2 * line.get_ydata() / np.sqrt(800), rtol=1e-6)
    assert 0.3 < np.mean(((ratio - 1.5) * line.get_xdata() / (0.5 * heights)) ** 2) < 2.5
    ax.figure.canvas.draw()


def test_calibration_of_few_values_on_given_axes():
    given = plt.subplots()[1]
    ax = plotting.calibration([0.0, 2.0], [1.0, 1.0], label="energy", unit="meV", ax=given)
    assert ax is given
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(), [np.sqrt(2)])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.0])
    with pytest.raises(InputError) as caught:
        plotting.calibration(np.zeros(3), np.ones(2), label="energy", unit="eV")
    assert str(caught.value) == (
        "errors and standard deviations must have one shape and at least one value, and the latter be above zero, got "
        "shapes (3,) and (2,): leave out atoms without a prediction"
    )
    with pytest.raises(InputError, match="and the latter be above zero"):
        plotting.calibration(np.zeros(3), np.zeros(3), label="energy", unit="eV")
