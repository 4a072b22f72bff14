"""Ladder of lambda: the same constrained run for several penalties, and its limit of an infinite one.

To leading order in 1/lambda the penalty is E_p = a/lambda, the energy without it E - E_p = E_inf - 2 E_p and the total
E = E_inf - E_p: so E + E_p is right to the next order already for a single run, whatever the mode.
"""

from pathlib import Path

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.vasp.reader import read_vasp
from ase_spinml.io.vasp.writer import write_vasp
from ase_spinml.moments import FIELDS, get_moments, get_spins, transverse, unit_rows


def write_ladder(folder, atoms, lambdas, **options):
    """Write job folders ``lambda_1``, ``lambda_10``, ... for one frame and several lambda.

    Parameters
    ----------
    folder : str or Path
    atoms : ase.Atoms
    lambdas : sequence of float
        At least two different values; a factor of 2 to 5 between neighbours, three or more values.
    **options
        As :func:`~ase_spinml.io.write_vasp` takes them; ``constraint`` and ``rwigs`` are needed.

    Returns
    -------
    list of Path
        The folders, by ascending lambda. Run them in that order, each from the wave functions of the one before.

    Raises
    ------
    InputError
        Fewer than two different values, or as :func:`~ase_spinml.io.write_vasp`.
    """
    lambdas = sorted({float(lam) for lam in lambdas})
    if len(lambdas) < 2:
        raise InputError(f"Expected at least two different lambdas, got {lambdas}: an extrapolation needs them.")
    return [write_vasp(Path(folder) / f"lambda_{lam:g}", atoms, lam=lam, **options)[0] for lam in lambdas]


def read_ladder(folder, **options):
    """Read the runs of a ladder back and extrapolate energy and fields to infinite lambda.

    Parameters
    ----------
    folder : str, Path or sequence of them
        Folder with ``lambda_*`` in it, or the run folders themselves.
    **options
        As :func:`~ase_spinml.io.read_vasp` takes them.

    Returns
    -------
    dict
        By ascending lambda: ``lambdas`` (L,), ``penalties`` E_p (L,) in eV, ``energies`` (L,) free energies without it,
        ``corrected`` (L,) free energies plus E_p, ``angles`` (L,) largest angle to a target in degrees, ``fields``
        (L, N, 3) in eV/mu_B.
        Limits: ``energy`` and ``energy_error`` in eV, ``exchange_fields`` (N, 3) and ``field_error`` in eV/mu_B, the
        largest. The error is the difference to the limit of one order less. ``slope``: exponent of E_p against
        lambda from the last two runs, -1 where the ladder is in its leading order. ``frame``: the frame of the limit.

    Raises
    ------
    InputError
        Fewer than two runs, different structures or equal lambdas, more than one ionic step.
    """
    runs = _runs(folder)
    options = {"max_angle": 180.0, "max_penalty": np.inf} | options
    frames = sorted((_last(run, options) for run in runs), key=lambda frame: frame.info["lambda"])
    lambdas = np.array([frame.info["lambda"] for frame in frames])
    _check(frames, lambdas)
    penalties = np.array([frame.info["penalty_energy"] for frame in frames])
    total = np.array([frame.info["free_energy_with_penalty"] for frame in frames])
    fields = np.array([frame.arrays[FIELDS] for frame in frames])
    energy, energy_error = extrapolate(lambdas, total - penalties)
    limit, field_errors = extrapolate(lambdas, fields)
    out = {
        "lambdas": lambdas,
        "penalties": penalties,
        "energies": total - penalties,
        "corrected": total + penalties,
        "angles": np.array([_angle(frame) for frame in frames]),
        "fields": fields,
        "energy": float(energy),
        "energy_error": float(energy_error),
        "field_error": float(np.nanmax(np.linalg.norm(field_errors, axis=1), initial=0.0)),
        "slope": _slope(lambdas, penalties),
    }
    out["frame"] = _limit_frame(frames[-1], limit, float(energy))
    out["exchange_fields"] = out["frame"].arrays[FIELDS]
    return out


def extrapolate(lambdas, values):
    """Limit of ``values`` (L, ...) for infinite lambda and its error, from the last three points.

    A parabola in 1/lambda through the last three, with its distance from the line through the last two as error; with
    two points the line, with its distance from the last point as error.
    """
    x = 1.0 / np.asarray(lambdas, dtype=float)
    values = np.asarray(values, dtype=float)
    line = _at_zero(x[-2:], values[-2:])
    if len(x) == 2:
        return line, np.abs(line - values[-1])
    parabola = _at_zero(x[-3:], values[-3:])
    return parabola, np.abs(parabola - line)


def _at_zero(x, values):
    """Value at zero of the polynomial through all points (Lagrange)."""
    out = 0.0
    for k in range(len(x)):
        others = np.delete(x, k)
        out = out + values[k] * np.prod(others / (others - x[k]))
    return out


def _runs(folder):
    if not isinstance(folder, (str, Path)):
        runs = [Path(run) for run in folder]
    else:
        runs = sorted(path for path in Path(folder).glob("lambda_*") if path.is_dir())
    if len(runs) < 2:
        raise InputError(f"Expected at least two run folders lambda_* in {folder}, got {len(runs)}.")
    return runs


def _last(run, options):
    frames = read_vasp(run, **options)
    if len(frames) != 1 or "lambda" not in frames[0].info or FIELDS not in frames[0].arrays:
        raise InputError(
            f"Expected one ionic step of a constrained run in {run}, got {len(frames)} "
            f"{'without fields' if len(frames) == 1 else 'steps'}: run the ladder at fixed positions."
        )
    return frames[0]


def _check(frames, lambdas):
    if len(set(lambdas.tolist())) != len(lambdas):
        raise InputError(f"Expected a different lambda in every run, got {lambdas.tolist()}.")
    first = frames[0]
    for frame in frames[1:]:
        same = (
            frame.get_chemical_symbols() == first.get_chemical_symbols()
            and np.allclose(frame.positions, first.positions, atol=1e-4)
            and np.allclose(frame.cell.array, first.cell.array, atol=1e-5)
            and frame.info["constraint_mode"] == first.info["constraint_mode"]
        )
        a, b = (f.arrays.get("target_moments") for f in (frame, first))
        if not same or (a is not None and b is not None and np.abs(unit_rows(a) - unit_rows(b)).max() > 1e-6):
            raise InputError(
                "Expected the same structure, mode and targets in every run of the ladder, got different ones: "
                "vary lambda alone."
            )


def _angle(frame):
    """Largest angle between moment and target in degrees; NaN without targets."""
    targets = frame.arrays.get("target_moments")
    if targets is None:
        return np.nan
    a, b = unit_rows(targets), get_spins(frame)
    known = a.any(axis=1) & b.any(axis=1)
    half = 0.5 * np.linalg.norm(a - b, axis=1)[known]
    return float(np.degrees(2 * np.arcsin(np.clip(half, 0, 1))).max(initial=0.0))


def _slope(lambdas, penalties):
    if (penalties[-2:] <= 0).any():
        return np.nan
    return float(np.diff(np.log(penalties[-2:]))[0] / np.diff(np.log(lambdas[-2:]))[0])


def _limit_frame(last, limit, energy):
    """Frame with moments along their targets, as long as in the last run, and the limits as labels."""
    moments = get_moments(last)
    targets = last.arrays.get("target_moments")
    if targets is not None:
        directions = unit_rows(targets)
        lengths = np.linalg.norm(moments, axis=1)[:, None]
        moments = np.where(directions.any(axis=1)[:, None], lengths * directions, moments)
    known = np.isfinite(limit).all(axis=1)
    fields = np.where(known[:, None], transverse(np.nan_to_num(limit), unit_rows(moments)), np.nan)
    kept = ("constraint_mode", "moments_source", "vasp_version")
    info = {name: last.info[name] for name in kept if name in last.info}
    frame = make_frame(
        last.get_chemical_symbols(),
        last.positions,
        last.cell.array,
        moments=moments,
        fields=fields,
        free_energy=energy,
        energy=energy,
        info=info | {"lambda": np.inf},
    )
    frame.set_array("field_known", known)
    return frame
