"""Label check of whole data sets and of copies with one mistake each.

python benchmarks/label_check.py > docs/results/labels.txt                # third-party sets from ../shared/data
python benchmarks/label_check.py --sets fe_dft                            # the set that the package ships
python benchmarks/label_check.py --data DIRECTORY
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
import torch

from ase_spinml import get_moments
from ase_spinml.demo import load_frames
from ase_spinml.io import check_labels

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("fe_dft", "fe16", "fe128", "fege64", "nio32")


def copies(frames):
    """The frames, and copies with one mistake each, by name."""
    rng = np.random.default_rng(0)

    def changed(change):
        out = []
        for frame in frames:
            copy = frame.copy()
            copy.calc = frame.calc
            copy.arrays["exchange_fields"] = change(frame, frame.arrays["exchange_fields"].copy())
            out.append(copy)
        return out

    def permuted(frame, fields):
        for number in np.unique(frame.numbers):
            mine = np.flatnonzero(frame.numbers == number)
            fields[mine] = fields[rng.permutation(mine)]
        return fields

    return {
        "as they are": frames,
        "sign flipped": changed(lambda frame, fields: -fields),
        "twice": changed(lambda frame, fields: 2 * fields),
        "half": changed(lambda frame, fields: 0.5 * fields),
        "atoms permuted": changed(permuted),
        "m H for H": changed(lambda frame, fields: np.linalg.norm(get_moments(frame), axis=1)[:, None] * fields),
    }


def main():
    """Print one line for every set and copy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the third-party sets")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        frames = load_frames() if name == "fe_dft" else ase.io.read(options.data / f"{name}.extxyz", ":")
        for mistake, copy in copies(frames).items():
            found = check_labels(copy)
            factor = f"{found['factor']:.3f} +- {found['factor_error']:.3f}"
            message = found["message"].split(" (factor")[0].replace(f" from {found['n_frames']} frames", "")
            print(f"{name:<8}{mistake:<16}{factor:<18}{found['ok']!s:<7}{message}", flush=True)


if __name__ == "__main__":
    main()
