"""Pictures of spin textures and of paths between them."""

import matplotlib as mpl
import numpy as np
import pytest
from ase import Atoms

from ase_spinml import set_moments
from ase_spinml.errors import InputError
from ase_spinml.landscape.path import EnergyPath
from ase_spinml.moments import random_directions
from ase_spinml.plotting import energy_path, spin_texture

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_texture_shows_magnetic_atoms_only():
    atoms = Atoms("Fe", cell=[1, 1, 9]).repeat((4, 4, 1))
    moments = random_directions(16, 1)
    moments[[2, 7]] = 0.0
    set_moments(atoms, 2 * moments)
    ax = spin_texture(atoms)
    discs, arrows = ax.collections
    shown = np.delete(moments, [2, 7], axis=0)
    assert np.abs(np.asarray(discs.get_array()) - shown[:, 2]).max() < 1e-12
    assert np.abs(np.asarray(arrows.U) - shown[:, 0]).max() < 1e-12
    assert len(ax.figure.axes) == 2
    assert spin_texture(atoms, ax=ax, colorbar=False) is ax
    ax.figure.canvas.draw()


def test_texture_needs_a_moment():
    atoms = Atoms("Fe2", positions=[[0, 0, 0], [1, 0, 0]])
    set_moments(atoms, np.zeros((2, 3)))
    with pytest.raises(InputError, match="Expected a frame with moments to draw"):
        spin_texture(atoms)


def test_path_shows_images_curve_and_barrier():
    ax = energy_path(EnergyPath([0.0, 1.0, 2.0], [1.0, 1.01, 1.0], [0.0, 0.0, 0.0]))
    curve, images = ax.lines[:2]
    assert images.get_ydata() == pytest.approx([0.0, 10.0, 0.0], abs=1e-9)
    assert curve.get_ydata().max() == pytest.approx(10.0, abs=1e-9)
    assert ax.get_legend().get_texts()[0].get_text() == "barrier 10.00 meV"
    ax.figure.canvas.draw()
