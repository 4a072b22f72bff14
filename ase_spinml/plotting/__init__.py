"""Pictures of models and runs: matplotlib Axes in, the same Axes out.

Every function draws on ``ax`` when given, otherwise on a new figure, and returns the Axes for further work; saving is
the caller's (``ax.figure.savefig(...)``). Colours are those of Okabe and Ito, told apart with any colour vision; what
colour separates, a marker or a line style separates as well. matplotlib is imported when something is drawn.
"""

from ase_spinml.plotting.landscape import energy_path
from ase_spinml.plotting.movies import animate
from ase_spinml.plotting.parity import parity, residuals
from ase_spinml.plotting.quality import calibration, error_against_angle, learning_curve
from ase_spinml.plotting.runs import energy_drift, magnetisation_and_temperatures, relaxation, wall_position
from ase_spinml.plotting.scattering import magnon_bands, structure_factor
from ase_spinml.plotting.spins import is_layered, spin_texture, spin_texture_3d
from ase_spinml.plotting.style import COLOURS, MARKERS
from ase_spinml.plotting.thermal import magnetisation_curve

__all__ = [
    "COLOURS",
    "MARKERS",
    "animate",
    "calibration",
    "energy_drift",
    "energy_path",
    "error_against_angle",
    "is_layered",
    "learning_curve",
    "magnetisation_and_temperatures",
    "magnetisation_curve",
    "magnon_bands",
    "parity",
    "relaxation",
    "residuals",
    "spin_texture",
    "spin_texture_3d",
    "structure_factor",
    "wall_position",
]
