"""Agreement of the files of one run, step by step."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.vasp.lines import Damaged
from ase_spinml.io.vasp.oszicar import half_unit

TOLERANCES = {"free_energy": 1e-6, "energy": 1e-6, "cell": 1e-6, "forces": 2e-6, "stress": 2e-8}
_ADVICE = (
    "the files belong to different runs or are damaged, put those of one run together, or read with damaged='keep' to "
    "get the steps before"
)


def compare_runs(runs):
    """InputError unless all files tell of the same atoms and the same kind of spin; ``runs``: of Run by kind."""
    first, *others = runs.values()
    for other in others:
        for name in ("symbols", "spin"):
            a, b = getattr(first, name), getattr(other, name)
            if a is not None and b is not None and a != b:
                raise InputError(
                    f"Expected the same {'atoms' if name == 'symbols' else name} in {first.file} and {other.file}, "
                    f"got {_short(a)} and {_short(b)}: put the files of one run together."
                )


def compare(steps, files):
    """Damaged unless all files agree, to the digits that they print, about one ionic step.

    Parameters
    ----------
    steps : dict of str -> Step or OszicarStep
        By kind of file.
    files : RunFiles
    """
    full = {kind: step for kind, step in steps.items() if kind not in ("oszicar", "poscar")}
    for kind, step in list(full.items())[1:]:
        first = next(iter(full.values()))
        for name, tolerance in TOLERANCES.items():
            a, b = getattr(first, name), getattr(step, name)
            if a is not None and b is not None and np.abs(np.subtract(a, b)).max() > tolerance:
                _differ(name, first.run.file, step.run.file, step.number)
        apart = (first.positions - step.positions) @ np.linalg.inv(first.cell)
        if np.abs((apart - np.round(apart)) @ first.cell).max() > 2e-5:
            _differ("positions", first.run.file, files.found[kind].name, step.number)
    found = steps.get("oszicar")
    if found is None:
        return
    for step in full.values():
        for name in ("free_energy", "energy"):
            value = getattr(step, name)
            if abs(value - getattr(found, name)) > 1.02 * half_unit(value) + 1e-8:
                _differ(name, step.run.file, files.found["oszicar"].name, found.number)


def _differ(name, first, second, number):
    raise Damaged(
        f"Expected the same {name.replace('_', ' ')} of ionic step {number} in {first} and {second}, "
        f"got different ones: {_ADVICE}."
    )


def _short(value):
    return value if isinstance(value, str) else f"{len(value)} atoms"
