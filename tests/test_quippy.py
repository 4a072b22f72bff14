"""The quippy tutorial: a lattice GAP by gap_fit as the baseline of SOSO-GAP."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from ase_spinml import NonMagnetic

pytest.importorskip("quippy", reason="needs quippy: pip install ase_spinml[gap]")

TUTORIAL = Path(__file__).parents[1] / "tutorials" / "07_quippy_gap_plus_soso.py"


@pytest.fixture(scope="module")
def tutorial():
    """Everything the tutorial leaves behind, by name."""
    return runpy.run_path(str(TUTORIAL))


def test_tutorial_reaches_its_checked_numbers(tutorial):
    """The asserts at its end have passed; the table has every row."""
    assert list(tutorial["rmse"]) == ["quippy GAP", "SOSO-GAP", "GAP + SOSO-GAP"]


def test_forces_with_baseline_are_the_slope_of_the_energy(tutorial):
    model, frame = tutorial["both"], tutorial["test"][0].copy()
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = frame.copy()
        moved.positions[0, 0] += sign * step
        energies.append(model.predict(moved)["energy"])
    slope = (energies[1] - energies[0]) / (2 * step)
    np.testing.assert_allclose(model.predict(frame)["forces"][0, 0], slope, atol=1e-4)


def test_lattice_potential_takes_no_part_in_the_fields(tutorial):
    """The lattice potential gives energy and forces only; the fields are those of the remainder."""
    model, frame = tutorial["loaded"], tutorial["test"][0]
    with_baseline = model.predict(frame)
    model.baseline = NonMagnetic(tutorial["lattice"])
    np.testing.assert_array_equal(model.predict(frame)["exchange_fields"], with_baseline["exchange_fields"])
    assert model.predict(frame)["energy"] == pytest.approx(with_baseline["energy"], abs=1e-9)
