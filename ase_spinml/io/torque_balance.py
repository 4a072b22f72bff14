"""Whether the torques of a frame add up to zero, as they must where only relative directions count.

Without spin-orbit coupling the energy does not change when all spins turn together, so the torques e_i x t_i with
t_i = -dE/de_i add up to zero in every frame. No model enters. The balance

    b = sqrt( sum over frames |sum_i e_i x t_i|^2 / sum over frames and atoms |t_i|^2 )

is small when the fields are taken in the right unit and belong to their atoms; when torques are unrelated it is 1 or,
near a ferromagnet, as small as the mean transverse field. Spin-orbit coupling leaves a part of its own.
"""

import numpy as np

from ase_spinml.moments import transverse, unit_rows


class TorqueBalance:
    """Balance of frames with fields for all their moments.

    Parameters
    ----------
    labels : list of ase_spinml.models.labels.Labels
    magnetic : list of (N,) bool arrays
        Atoms whose moments count.
    groups : (n,) int array
        Groups of frames for the jackknife.
    rng : numpy Generator
        Shuffles fields for :attr:`shuffled`.

    Attributes
    ----------
    per_moment, per_direction : float
        b if the fields are -dE/dm (eV/mu_B), and if they are -dE/de (eV); nan when no frame is complete.
    shuffled : float
        b of the fields shuffled among the atoms of every frame.
    log_ratio, log_ratio_error : float
        ln(per_direction / per_moment) and its jackknife error over groups: above zero when eV/mu_B fits better.
    """

    def __init__(self, labels, magnetic, groups, rng):
        squares = np.full((len(labels), 3, 2), np.nan)
        for k, (label, counts) in enumerate(zip(labels, magnetic, strict=True)):
            atoms = np.flatnonzero(counts & (label.lengths > 0))
            if len(atoms) < 2 or not label.labelled_spins[atoms].all():
                continue
            spins, lengths = unit_rows(label.moments[atoms]), label.lengths[atoms, None]
            fields = label.fields[atoms]
            mixed = fields[rng.permutation(len(atoms))]
            for row, turning in enumerate((lengths * fields, fields, lengths * mixed)):
                squares[k, row] = _squares(spins, turning)
        complete = np.isfinite(squares).all(axis=(1, 2))
        squares, groups = squares[complete], np.asarray(groups)[complete]
        self.per_moment, self.per_direction, self.shuffled = _balance(squares)
        self.log_ratio = _log_ratio(squares)
        names = np.unique(groups)
        left_out = [_log_ratio(squares[groups != name]) for name in names] if len(names) > 1 else [np.nan]
        self.log_ratio_error = float(np.sqrt((len(left_out) - 1) * np.var(left_out)))


def _squares(spins, turning):
    """Squared sum of torques, and sum of squares, for unit spins and turnings (n, 3)."""
    torques = np.cross(spins, transverse(turning, spins))
    return np.sum(torques.sum(axis=0) ** 2), np.sum(torques**2)


def _balance(squares):
    """b for squares (n, 3, 2): three floats, nan without frames."""
    net, total = squares[..., 0].sum(axis=0), squares[..., 1].sum(axis=0)
    return [float(np.sqrt(a / b)) if b > 0 else float("nan") for a, b in zip(net, total, strict=True)]


def _log_ratio(squares):
    moment, direction, _ = _balance(squares)
    return float(np.log(direction / moment)) if moment > 0 and direction > 0 else float("nan")
