"""Spins in space."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask
from ase_spinml.plotting.style import COLOURS, canvas, pyplot

DOWN_TO_UP = (COLOURS[1], "0.3", COLOURS[0])
"""Colours of spins along -z, in the plane and along +z; none as light as the page."""


def spin_texture(atoms, *, ax=None, colorbar=True):
    """Magnetic atoms seen from +z: colour says how far a spin points up or down, the arrow its part in the plane.

    Parameters
    ----------
    atoms : ase.Atoms
        With moments; atoms without one are left out, higher ones cover lower ones.
    ax : matplotlib Axes, optional
        A new figure by default.
    colorbar : bool
        Draw the scale of the colours beside the picture.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        No atom has a moment.
    """
    magnetic = _magnetic(atoms)
    from matplotlib.collections import EllipseCollection

    ax = canvas(ax)
    order = np.argsort(atoms.positions[magnetic, 2], kind="stable")  # what is higher covers what is below
    places, spins = atoms.positions[magnetic][order], get_spins(atoms)[magnetic][order]
    apart, places = _apart(places), places[:, :2]
    size = np.full(len(places), apart)
    where = {"offsets": places, "offset_transform": ax.transData, "units": "xy"}
    discs = EllipseCollection(size, size, 0 * size, cmap="RdBu", **where)
    discs.set(array=spins[:, 2], clim=(-1, 1), alpha=0.8, linewidth=0)
    ax.add_collection(discs)
    arrows = {"pivot": "mid", "angles": "xy", "units": "xy", "scale_units": "xy", "scale": 1 / apart, "minlength": 0}
    ax.quiver(*places.T, *spins[:, :2].T, width=0.1 * apart, color="black", **arrows)
    ax.update_datalim([places.min(axis=0) - apart / 2, places.max(axis=0) + apart / 2])
    ax.autoscale_view()
    ax.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal")
    if colorbar:
        ax.figure.colorbar(discs, ax=ax, label="$e_z$", shrink=0.85)
    return ax


def spin_texture_3d(atoms, *, ax=None, colorbar=True):
    """Spins of the magnetic atoms as arrows in space, coloured by how far they point along z.

    Parameters
    ----------
    atoms : ase.Atoms
        With moments; atoms without one are left out. Arrows are of one length, centred on their atoms.
    ax : matplotlib Axes with ``projection="3d"``, optional
        A new figure by default.
    colorbar : bool
        Draw the scale of the colours beside the picture.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InputError
        No atom has a moment, flat Axes.
    """
    magnetic = _magnetic(atoms)
    if ax is not None and ax.name != "3d":
        raise InputError('Expected three-dimensional Axes, got flat ones: make them with projection="3d".')
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    if ax is None:
        ax = pyplot().subplots(subplot_kw={"projection": "3d"}, layout="constrained")[1]
    places, spins = atoms.positions[magnetic], get_spins(atoms)[magnetic]
    length = 0.8 * _apart(places)
    scale = ScalarMappable(Normalize(-1, 1), LinearSegmentedColormap.from_list("up and down", DOWN_TO_UP))
    arrows = {"length": length, "pivot": "middle", "arrow_length_ratio": 0.4, "lw": 1.8}
    ax.quiver(*places.T, *spins.T, colors=scale.to_rgba(spins[:, 2]), **arrows)
    low, high = places.min(axis=0) - length / 2, places.max(axis=0) + length / 2
    for label, axis in zip("xyz", (ax.xaxis, ax.yaxis, ax.zaxis), strict=True):
        axis.set_label_text(f"{label} (Å)")
        axis.labelpad = 2 if label == "z" else 8
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]), box_aspect=high - low)
    extent = high - low
    for axis in np.flatnonzero(extent < 0.25 * extent.max()):  # no room for more
        (ax.set_xticks, ax.set_yticks, ax.set_zticks)[axis]([round((low[axis] + high[axis]) / 2, 2)])
    if colorbar:
        ax.figure.colorbar(scale, ax=ax, label="$e_z$", shrink=0.7, pad=0.15)
    return ax


def is_layered(atoms):
    """Whether magnetic atoms lie above one another, so that a view from above hides some: True or False.

    Raises InputError if no atom has a moment.
    """
    places = atoms.positions[_magnetic(atoms)]
    return bool(np.ptp(places[:, 2]) > _apart(places))


def _magnetic(atoms):
    """Which atoms carry a moment (N,); InputError if none does."""
    magnetic = magnetic_mask(atoms)
    if not magnetic.any():
        raise InputError("Expected a frame with moments to draw, got none above zero: set them with set_moments.")
    return magnetic


def _apart(places):
    """Median distance to the nearest neighbour among places (n, 3)."""
    from scipy.spatial import cKDTree

    return np.median(cKDTree(places).query(places, 2)[0][:, 1]) if len(places) > 1 else 1.0
