"""What all pictures share: colours, markers, new Axes, checks of series."""

import numpy as np

from ase_spinml.errors import InputError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Those of Okabe and Ito, told apart with any colour vision."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")


def pyplot():
    """matplotlib.pyplot, imported when something is drawn."""
    import matplotlib.pyplot as plt

    return plt


def canvas(ax):
    """``ax``, or the Axes of a new figure for None."""
    return pyplot().subplots(layout="constrained")[1] if ax is None else ax


def strip_below(ax):
    """New Axes in the lower quarter of the subplot ``ax``, which shrinks to the rest."""
    rows = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(3, 1))
    ax.set_subplotspec(rows[0])
    ax.tick_params(labelbottom=False)
    return ax.figure.add_subplot(rows[1], sharex=ax)


def look(k):
    """Colour and marker of the k-th group."""
    return {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}


def series(x, y, least=2):
    """Two arrays (n,) of one length; raises InputError unless n is at least ``least``."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < least:
        raise InputError(
            f"two series of one length, at least {least} points, are needed, got shapes {x.shape} and {y.shape}"
        )
    return x, y


def plain_logarithmic(*axes):
    """Label logarithmic axes with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def with_error(value, error, unit):
    """A value and its standard error with two digits of the error, and the unit, as text for matplotlib."""
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 6)) if error > 0 else 3
    return f"{value:.{digits}f} $\\pm$ {error:.{digits}f} {unit}"
