"""Test of labels before training: do energies and exchange fields of a set of frames mean the same thing?"""

import numpy as np
from ase import Atoms

from ase_spinml.errors import InputError
from ase_spinml.io.labels.fit import FieldFit, field_rows
from ase_spinml.io.labels.slope import regress
from ase_spinml.io.labels.torque_balance import TorqueBalance
from ase_spinml.io.labels.verdict import verdict
from ase_spinml.models.labels import read_labels

INDUCED = 0.1
"""Elements whose mean moment is below this share of the largest are taken as non-magnetic: theirs follow the others."""

GROUPS = 12
"""Groups of frames that the jackknife leaves out in turn."""

SAME = 1e-12
"""Relative difference below which energies are the same number."""

SPARE = 4
"""Frames needed beyond one per element."""


def check_labels(frames, *, cutoff=4.5, magnetic=None, tolerance=0.25, max_frames=200, rng=0):
    """Compare exchange fields with energies: find a wrong sign, factor, unit or order of atoms before training.

    A linear exchange model (pairs, squares of pairs, triplets) is fitted to the fields alone; the energies it implies
    are regressed against the energy labels, next to a lattice part and a constant per element. Fields f times too large
    imply energies f times too large. Torques that have to add up to zero tell eV/mu_B from eV and good from shuffled
    atoms.

    Parameters
    ----------
    frames : list of ase.Atoms
        With (N, 3) moments in mu_B, energies in eV (``atoms.calc``) and ``exchange_fields`` in eV/mu_B; rows of NaN are
        atoms whose field is not known. Frames without energy or fields are left out of the test. Frames should differ
        in their spins; 10 are usually enough.
    cutoff : float
        Range of the exchange model in Angstrom.
    magnetic : list of str, optional
        Elements whose moments count; by default those with a mean moment above a tenth of the largest.
    tolerance : float
        Largest departure of the factor from 1 that passes. A model of the fields is never complete and energies of
        a constrained calculation carry its penalty, so a few percent mean nothing.
    max_frames : int
        Of larger sets as many frames are chosen by chance.
    rng : seed or numpy Generator

    Returns
    -------
    dict
        factor, factor_error : by how much the fields are larger than the energies imply, 1 when right, and its
        standard error (jackknife over frames; what the model misses is not in it).
        ok : True, False, or None when the frames cannot tell.
        message : one sentence, what was found and the likely cause.
        factor_per_direction : the factor if the fields were -dE/de in eV, not -dE/dm.
        field_explained : share of the squared turnings m_i H_i of left-out frames that the model explains, at most 1.
        correlation : of energy labels and implied energies.
        energy_spread, energy_scatter : standard deviation of the energy labels without constants, and of what the
        regression leaves, eV/atom.
        torque_balance, torque_balance_per_direction, torque_balance_shuffled : as
        :class:`ase_spinml.io.labels.torque_balance.TorqueBalance`.
        length_weight, length_weight_error : 1 if the torques balance best for fields per mu_B, 0 if per direction.
        n_frames, magnetic, mean_moment (mu_B) : what was used.
        implied_energies, measured_energies : (n_frames,) eV/atom without constants and lattice part, to be plotted.

    Raises
    ------
    InputError
        No frames; too few with both energy and fields; fields that are all zero; energies all the same; spins all
        parallel; moments that are missing or collinear; labels of wrong shape or not finite; parameters out of range.
    """
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    _check_parameters(cutoff, tolerance, max_frames)
    rng = np.random.default_rng(rng)
    frames, labels = _complete(frames)
    if len(frames) > max_frames:
        chosen = np.sort(rng.choice(len(frames), max_frames, replace=False))
        frames, labels = [frames[k] for k in chosen], [labels[k] for k in chosen]
    magnetic = _magnetic(frames, labels, magnetic)
    counting = [np.isin(frame.get_chemical_symbols(), magnetic) for frame in frames]
    for label, counts in zip(labels, counting, strict=True):
        label.only(counts)
    _check_amount(frames, labels)
    _check_spread(frames, labels)
    groups = rng.permutation(len(frames)) % min(len(frames), GROUPS)
    rows = field_rows(frames, labels, magnetic, cutoff, rng)
    fits = [FieldFit(rows, power, groups) for power in (1, 0)]
    slope, per_direction = (regress(fit) for fit in fits)
    balance = TorqueBalance(labels, counting, groups, rng)
    found = {
        "factor": slope.factor,
        "factor_error": slope.factor_error,
        "factor_per_direction": per_direction.factor,
        "field_explained": max(fit.explained() for fit in fits),
        "correlation": slope.correlation,
        "energy_spread": slope.spread,
        "energy_scatter": slope.scatter,
        "torque_balance": balance.per_moment,
        "torque_balance_per_direction": balance.per_direction,
        "torque_balance_shuffled": balance.shuffled,
        "length_weight": balance.weight,
        "length_weight_error": balance.weight_error,
        "n_frames": len(frames),
        "magnetic": magnetic,
        "mean_moment": float(np.mean(np.concatenate(rows.lengths))),
        "implied_energies": slope.implied,
        "measured_energies": slope.measured,
    }
    ok, message = verdict(found, slope, balance, tolerance)
    return {"ok": ok, "message": message} | found


def _check_parameters(cutoff, tolerance, max_frames):
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"Expected a cutoff above zero in Angstrom, got {cutoff}.")
    if not 0 < tolerance < 0.5:
        raise InputError(f"Expected a tolerance between 0 and 0.5, got {tolerance}: a half would let a factor 2 pass.")
    if not max_frames > SPARE:
        raise InputError(f"Expected max_frames above {SPARE}, got {max_frames}.")


def _complete(frames):
    """Frames with both energy and fields, and their labels."""
    if not frames:
        raise InputError("Expected frames with energies and exchange_fields, got an empty list.")
    labels = [read_labels(frame, f"frame {k}") for k, frame in enumerate(frames)]
    energies = sum(label.energy is not None for label in labels)
    fields = sum(bool(label.labelled_spins.any()) for label in labels)
    for name, count, where in (
        ("energies", energies, "atoms.calc, as ase.io.read does"),
        ("exchange_fields", fields, "arrays['exchange_fields'], (N, 3) in eV/mu_B"),
    ):
        if count == 0:
            raise InputError(f"Expected frames with {name}, got {len(frames)} without: put them into {where}.")
    both = [k for k, label in enumerate(labels) if label.energy is not None and label.labelled_spins.any()]
    return [frames[k] for k in both], [labels[k] for k in both]


def _magnetic(frames, labels, magnetic):
    species = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    if magnetic is not None:
        unknown = sorted(set(magnetic) - set(species))
        if unknown:
            raise InputError(f"Expected magnetic to name elements of the frames, got {', '.join(unknown)}.")
        return list(magnetic)
    symbols = np.concatenate([frame.get_chemical_symbols() for frame in frames]) if frames else np.array([])
    lengths = np.concatenate([label.lengths for label in labels]) if labels else np.array([])
    mean = {symbol: lengths[symbols == symbol].mean() for symbol in species}
    return [symbol for symbol in species if mean[symbol] > INDUCED * max(mean.values())]


def _check_amount(frames, labels):
    needed = SPARE + len({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    if len(frames) < needed:
        raise InputError(
            f"Expected at least {needed} frames with both energy and exchange_fields, got {len(frames)}: give more."
        )
    if not any(np.nan_to_num(label.fields).any() for label in labels):
        raise InputError(
            "Expected exchange_fields other than zero, got zeros only: mark fields that are not known with NaN."
        )


def _check_spread(frames, labels):
    per_atom = np.array([label.energy / len(frame) for frame, label in zip(frames, labels, strict=True)])
    if np.ptp(per_atom) < SAME * max(np.abs(per_atom).max(), 1.0):
        raise InputError(
            f"Expected energies that differ between frames, got {per_atom[0]:.6f} eV/atom for all {len(frames)}: "
            "give frames with different spins, each with its own energy."
        )
