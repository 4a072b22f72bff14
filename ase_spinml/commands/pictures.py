"""Figures that commands put together from the pictures of :mod:`ase_spinml.plotting`."""

import os

import numpy as np

from ase_spinml import plotting
from ase_spinml.errors import InputError
from ase_spinml.moments import transverse, unit_rows


def save(figure, path):
    """Write a figure; the file appears when it is complete. InputError for an ending that matplotlib does not know."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        figure.savefig(part)
        os.replace(part, path)
    except ValueError as error:
        raise InputError(f"Expected a picture ending in .png, .pdf or .svg, got {path.name!r}: {error}.") from None
    finally:
        part.unlink(missing_ok=True)


def figure(width, height):
    """A new figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def parity_picture(labels, results):
    """Predictions against labels, one panel for each kind that is there.

    labels: list of :class:`ase_spinml.models.labels.Labels`; results: list of dict as a model predicts them.
    """
    panels = list(_panels(labels, results))
    if not panels:
        raise InputError("Expected labelled frames to draw, got none that model and frames share.")
    drawn = figure(5.0 * len(panels), 5.5)
    for ax, (name, unit, pairs) in zip(np.atleast_1d(drawn.subplots(1, len(panels))), panels, strict=True):
        reference, predicted = (np.concatenate([np.ravel(x) for x in side]) for side in zip(*pairs, strict=True))
        shift = reference.mean() if name == "energy" else 0.0
        plotting.parity(reference - shift, predicted - shift, label=name, unit=unit, ax=ax)
    return drawn


def _panels(labels, results):
    """Name, unit and pairs (labels, predictions) of every kind of label; forces and energies in meV."""
    pairs = {"energy": [], "forces": [], "stress": [], "field m*H": []}
    for label, result in zip(labels, results, strict=True):
        if label.energy is not None and "energy" in result:
            pairs["energy"].append([1e3 * x / len(label.moments) for x in (label.energy, result["energy"])])
        if label.forces is not None and "forces" in result:
            pairs["forces"].append([1e3 * label.forces, 1e3 * result["forces"]])
        if label.stress is not None and "stress" in result:
            pairs["stress"].append([1e3 * label.stress, 1e3 * result["stress"]])
        known = label.labelled_spins
        factor = 1e3 * label.lengths[known, None]
        if known.any():
            spins = unit_rows(label.moments)
            fields = [transverse(each, spins)[known] for each in (label.fields, result["exchange_fields"])]
            pairs["field m*H"].append([factor * each for each in fields])
    units = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å$^3$", "field m*H": "meV"}
    for name, found in pairs.items():
        if found:
            yield name, units[name], found


LOGS = (b"Time[ps]", b"step ")
"""How the logs of dynamics and of a relaxation start."""


def log_picture(path):
    """The picture of a log: energy, magnetisation and temperatures of dynamics; energy and forces of a relaxation."""
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    if first.split()[0] == "step":
        energies, forces, torques = _numbers(path, [line.split()[2:] for line in lines], 3).T
        drawn = figure(6.4, 6.0)
        plotting.relaxation(energies, forces, torques, axes=drawn.subplots(2, 1, sharex=True))
        return drawn
    names = first.split()
    rows = _numbers(path, [line.split() for line in lines], len(names))
    return _dynamics_picture(dict(zip(names, rows.T, strict=True)))


def _dynamics_picture(columns):
    drawn = figure(6.4, 8.0)
    upper, middle, lower = drawn.subplots(3, 1, sharex=True)
    conserved = np.isfinite(columns["Econs[eV]"]).all()
    name, label = ("Econs[eV]", "conserved energy") if conserved else ("Etot[eV]", "total energy")
    plotting.energy_drift(columns["Time[ps]"], 1e3 * columns[name], label=label, unit="meV", ax=upper)
    upper.set(xlabel="")
    temperatures = [columns[name] if np.nan_to_num(columns[name]).any() else None for name in ("T[K]", "Tspin[K]")]
    values = (columns["Time[ps]"], columns["|M|/N[muB]"], *temperatures)
    plotting.magnetisation_and_temperatures(*values, axes=(middle, lower))
    return drawn


def _numbers(path, rows, count):
    """Rows of words as numbers, (n, count)."""
    try:
        return np.array([[float(word) for word in row] for row in rows]).reshape(-1, count)
    except ValueError as error:
        raise InputError(f"Expected lines of {count} numbers in {path}, got others: {error}.") from None


def trajectory_picture(frames, times):
    """Total energy and magnetisation along a trajectory; times (n,) in ps."""
    from ase_spinml.moments import get_moments

    drawn = figure(6.4, 6.0)
    upper, lower = drawn.subplots(2, 1, sharex=True)
    energies = [1e3 * frame.get_total_energy() / len(frame) for frame in frames]
    plotting.energy_drift(times, energies, ax=upper)
    lower.plot(times, [np.linalg.norm(get_moments(frame).mean(axis=0)) for frame in frames], color=plotting.COLOURS[0])
    upper.set(xlabel="")
    lower.set(xlabel="time (ps)", ylabel=r"magnetisation ($\mu_B$/atom)")
    return drawn


def texture_picture(atoms, in_space):
    """Spins of a frame, in space or seen from above."""
    drawn = figure(6.4, 5.6)
    if in_space:
        plotting.spin_texture_3d(atoms, ax=drawn.add_subplot(projection="3d"))
    else:
        plotting.spin_texture(atoms, ax=drawn.subplots())
    return drawn
