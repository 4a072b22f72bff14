"""Figure of tutorial 11: energies of phases, error of the kernel polynomial method, a quench.

python docs/figures/itinerant.py    # runs the tutorial, writes itinerant.png beside this file
"""

import runpy
from pathlib import Path

import matplotlib

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    matplotlib.use("Agg")
    tutorial = runpy.run_path(str(HERE.parents[1] / "tutorials" / "11_itinerant_magnets.py"))
    tutorial["draw"]().savefig(HERE / "itinerant.png", dpi=100)
