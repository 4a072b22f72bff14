"""Pictures of spin waves, structure factors, spins in space, and films of spins."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_spinml import Heisenberg, SpinDynamics, plotting, set_moments
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, random_directions
from ase_spinml.plotting.spins import DOWN_TO_UP

mpl.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture
def layer():
    """4 x 3 spins at random in a plane, two of them without a moment."""
    atoms = Atoms("Fe", cell=[1, 1, 9]).repeat((4, 3, 1))
    moments = 2 * random_directions(12, 1)
    moments[[2, 7]] = 0.0
    set_moments(atoms, moments)
    return atoms


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_magnon_bands_with_map_and_measured_points():
    distances = np.linspace(0, 2, 5)
    bands = np.stack([distances, 3 - distances], axis=1)
    energies = np.linspace(0, 4, 9)
    intensity = 1 + np.outer(energies, distances)
    ax = plotting.magnon_bands(
        distances,
        bands,
        ticks=[0, 1, 2],
        labels=["Γ", "X", "M"],
        intensity=(energies, intensity),
        measured=([0.5, 1.5], [0.6, 1.4], [0.1, 0.2]),
    )
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines[:2]], bands.T)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["Γ", "X", "M"]
    mesh = ax.collections[0]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(9, 5), intensity)
    assert mesh.norm.vmax == intensity.max()
    assert mesh.norm.vmin == intensity.max() / 1e4
    points = ax.containers[0].lines
    np.testing.assert_allclose(points[0].get_ydata(), [0.6, 1.4])
    np.testing.assert_allclose([np.ptp(s[:, 1]) for s in points[2][0].get_segments()], [0.2, 0.4])
    assert set(legend(ax)) == {"spin-wave theory", "measured"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("wave vector", "energy (meV)")
    assert ax.get_xlim() == (0, 2)
    assert ax.get_ylim()[0] == 0
    assert len(ax.figure.axes) == 2
    ax.figure.canvas.draw()


def test_one_magnon_band_alone():
    given = plt.subplots()[1]
    ax = plotting.magnon_bands([0, 1, 2], [0.0, 1.0, 0.5], unit="THz", ax=given)
    assert ax is given
    assert ax.get_ylabel() == "energy (THz)"
    assert ax.get_legend() is None
    for arguments, words in (
        (([0, 1], np.zeros((3, 2))), r"got \(2,\), \(3, 2\), 0 ticks and 0 labels"),
        (([0, 1], np.zeros((2, 2)), [0], []), "1 ticks and 0 labels"),
    ):
        with pytest.raises(InputError, match=words):
            plotting.magnon_bands(*arguments[:2], ticks=(arguments[2:] or [()])[0])
    with pytest.raises(InputError, match=r"above zero of shape \(2, 3\), energies by distances, got \(3, 2\)"):
        plotting.magnon_bands([0, 1, 2], [0, 0, 0], intensity=([0, 1], np.ones((3, 2))))


def test_structure_factor_map():
    qx, qy = np.linspace(-1, 1, 5), np.linspace(-2, 2, 9)
    intensity = 0.1 + np.abs(np.sin(qy))[:, None] + qx**2
    ax = plotting.structure_factor(qx, qy, intensity)
    mesh = ax.collections[0]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(9, 5), intensity)
    assert mesh.norm.vmin == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$q_x$ (1/Å)", "$q_y$ (1/Å)")
    assert ax.get_aspect() == 1
    assert ax.figure.axes[1].get_ylabel() == "$S(q)$"
    ax = plotting.structure_factor(qx, qy, intensity, logarithmic=True, colorbar=False, unit="r.l.u.", ax=ax)
    assert isinstance(ax.collections[-1].norm, mpl.colors.LogNorm)
    assert ax.get_xlabel() == "$q_x$ (r.l.u.)"
    ax.figure.canvas.draw()
    with pytest.raises(InputError, match=r"Expected a map of shape \(9, 5\) for these qy and qx, got \(5, 9\)"):
        plotting.structure_factor(qx, qy, intensity.T)
    with pytest.raises(InputError, match="Expected values above zero on a logarithmic scale"):
        plotting.structure_factor(qx, qy, 0 * intensity, logarithmic=True)


def test_spins_in_space(layer):
    ax = plotting.spin_texture_3d(layer)
    (arrows,) = ax.collections
    spins = np.delete(get_spins(layer), [2, 7], axis=0)
    places = np.delete(layer.positions, [2, 7], axis=0)
    shafts = np.array(arrows._segments3d[: len(spins)])
    np.testing.assert_allclose(np.mean(shafts, axis=1), places, atol=1e-9)
    np.testing.assert_allclose(np.abs(shafts[:, 1] - shafts[:, 0]), 0.8 * np.abs(spins), atol=1e-9)
    colours = mpl.colors.LinearSegmentedColormap.from_list("", DOWN_TO_UP)((spins[:, 2] + 1) / 2)
    np.testing.assert_allclose(arrows.get_edgecolor()[: len(spins)], colours, atol=0.01)
    assert [ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()] == ["x (Å)", "y (Å)", "z (Å)"]
    assert ax.figure.axes[1].get_ylabel() == "$e_z$"
    ax.figure.canvas.draw()
    with pytest.raises(
        InputError, match='Expected three-dimensional Axes, got flat ones: make them with projection="3d"'
    ):
        plotting.spin_texture_3d(layer, ax=plt.subplots()[1])


def test_colours_of_directions_stand_out_from_the_page():
    for colour in DOWN_TO_UP:
        red, green, blue = mpl.colors.to_rgb(colour)
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.6


def test_the_view_from_above_shows_all_atoms_and_the_higher_ones_on_top(layer):
    assert not plotting.is_layered(layer)
    ax = plotting.spin_texture(layer)
    assert ax.get_xlim()[0] < -0.5
    assert ax.get_xlim()[1] > 3.5
    crystal = bulk("Fe", cubic=True) * 2
    crystal = crystal[::-1]
    set_moments(crystal, 2.0 * random_directions(16, 0))
    assert plotting.is_layered(crystal)
    discs = plotting.spin_texture(crystal).collections[0]
    order = np.argsort(crystal.positions[:, 2], kind="stable")
    np.testing.assert_allclose(np.asarray(discs.get_array()), get_spins(crystal)[order, 2])


@pytest.mark.parametrize("in_space", [False, True])
def test_films_as_gif(layer, in_space, tmp_path):
    from PIL import Image

    frames = [layer.copy() for _ in range(3)]
    for k, frame in enumerate(frames):
        set_moments(frame, 2.0 * random_directions(12, k))
    path = plotting.animate(frames, tmp_path / "a.gif", times=[0.0, 0.1, 0.2], in_space=in_space, dpi=40)
    assert path == tmp_path / "a.gif"
    with Image.open(path) as film:
        assert film.n_frames == 3
        assert film.size == (256, 192)
        assert film.info["duration"] == 100
        pictures = []
        for k in range(3):
            film.seek(k)
            pictures.append(np.asarray(film.convert("RGB"), dtype=float))
    assert np.abs(pictures[0] - pictures[1]).max() > 50
    assert [item.name for item in tmp_path.iterdir()] == ["a.gif"]


def test_films_of_trajectories(layer, tmp_path):
    from PIL import Image

    layer.calc = Heisenberg([0.01])
    SpinDynamics(layer, 0.1, trajectory=tmp_path / "a.traj").run(1)
    plotting.animate(tmp_path / "a.traj", tmp_path / "a.gif", dpi=30)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 2


def test_films_that_cannot_be_made(layer, tmp_path, monkeypatch):
    from matplotlib import animation

    monkeypatch.setattr(animation.writers, "is_available", lambda name: name == "pillow")
    for frames, name, times, sentence in (
        ([layer], "a.avi", None, "Expected a film ending in .gif or .mp4, got 'a.avi'."),
        (
            [layer],
            "a.mp4",
            None,
            "Expected the program ffmpeg to write a.mp4, found none: install it, or write a .gif.",
        ),
        ([], "a.gif", None, "Expected frames, and a time for each or none, got 0 frames."),
        ([layer], "a.gif", [0.0, 1.0], "Expected frames, and a time for each or none, got 1 frames."),
    ):
        with pytest.raises(InputError) as caught:
            plotting.animate(frames, tmp_path / name, times=times)
        assert str(caught.value).startswith(sentence)
    assert not list(tmp_path.iterdir())


def test_every_public_name_of_plotting_has_a_docstring():
    for name in plotting.__all__:
        assert name.isupper() or getattr(plotting, name).__doc__
