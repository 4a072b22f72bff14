"""Energies between magnetic states."""

from ase_spinml.plotting.style import COLOURS, canvas, look


def energy_path(path, *, ax=None):
    """Energy along a path between two magnetic states: images, the curve through them, the barrier in the legend.

    Parameters
    ----------
    path : ase_spinml.landscape.path.EnergyPath
        As from ``SpinNEB.path()``.
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    ax = canvas(ax)
    start = path.energies[0]
    x, energy = path.curve()
    ax.plot(x, 1e3 * (energy - start), color=COLOURS[0], lw=1.5, label=f"barrier {1e3 * path.barrier():.2f} meV")
    ax.plot(path.coordinates, 1e3 * (path.energies - start), ls="", ms=5, label="images", **look(1))
    ax.axhline(0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="geodesic distance (rad)", ylabel="energy above the first state (meV)")
    ax.legend(fontsize="small")
    return ax
