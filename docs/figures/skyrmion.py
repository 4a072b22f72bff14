"""Figure of tutorial 10: skyrmion, saddle and path of its collapse.

python docs/figures/skyrmion.py    # runs the tutorial, writes skyrmion.png beside this file
"""

import runpy
from pathlib import Path

import matplotlib

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    matplotlib.use("Agg")
    tutorial = runpy.run_path(str(HERE.parents[1] / "tutorials" / "10_skyrmion_and_its_collapse.py"))
    tutorial["draw"]().savefig(HERE / "skyrmion.png", dpi=110)
