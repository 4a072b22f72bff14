"""Whether the torques of a frame add up to zero, as they must where only relative directions count.

Without spin-orbit coupling the energy does not change when all spins turn together, so the torques e_i x t_i with
t_i = -dE/de_i add up to zero in every frame. No model enters. The balance

    b = sqrt( sum over frames |sum_i e_i x t_i|^2 / sum over frames and atoms |t_i|^2 )

is small when the fields are taken in the right unit and belong to their atoms; when torques are unrelated it is 1 or,
near a ferromagnet, as small as the mean transverse field. Spin-orbit coupling leaves a part of its own.

The unit: with t_i = [(1 - w) <m> + w m_i] H_i, a mixture of fields per direction (w = 0) and per mu_B (w = 1), the sum
of torques is linear in w, and its least squares over frames give w. What spin-orbit coupling adds is unrelated to how
lengths differ, so it widens the error of w and does not shift it.
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
    weight, weight_error : float
        w and its jackknife error over groups.
    contrast : float
        Change of b between the units, all frames together: how much lengths differ. What rounding of the moments makes
        of equal lengths is no measure of the unit.
    """

    def __init__(self, labels, magnetic, groups, rng):
        frames = list(zip(labels, magnetic, groups, strict=True))
        complete = [(label, counts, group) for label, counts, group in frames if _complete(label, counts)]
        lengths = [label.lengths[counts] for label, counts, _ in complete]
        mean = np.mean(np.concatenate(lengths)) if complete else np.nan
        net, total = np.zeros((len(complete), 3, 3)), np.zeros((len(complete), 3))
        for k, (label, counts, _) in enumerate(complete):
            atoms = np.flatnonzero(counts & (label.lengths > 0))
            spins, fields, length = unit_rows(label.moments[atoms]), label.fields[atoms], label.lengths[atoms, None]
            mixed = fields[rng.permutation(len(atoms))]
            for row, turning in enumerate((length * fields, mean * fields, length * mixed)):
                torques = np.cross(spins, transverse(turning, spins))
                net[k, row], total[k, row] = torques.sum(axis=0), np.sum(torques**2)
        self.per_moment, self.per_direction, self.shuffled = (
            _ratio(np.sum(net[:, row] ** 2), total[:, row].sum()) for row in range(3)
        )
        change = net[:, 0] - net[:, 1]
        self.contrast = _ratio(np.sum(change**2), total[:, 0].sum())
        groups = np.array([group for *_, group in complete])
        self.weight = _weight(net[:, 1], change)
        names = np.unique(groups)
        left_out = [_weight(net[groups != name, 1], change[groups != name]) for name in names]
        self.weight_error = float(np.sqrt((len(names) - 1) * np.var(left_out))) if len(names) > 1 else float("nan")


def _complete(label, counts):
    """Whether all moments of a frame that count, at least two, have a field."""
    counts = counts & (label.lengths > 0)
    return counts.sum() > 1 and bool(label.labelled_spins[counts].all())


def _weight(start, change):
    """w that minimises the squares of start + w change, (n, 3) each; nan where nothing changes."""
    square = np.sum(change**2)
    return float(-np.sum(start * change) / square) if square > 0 else float("nan")


def _ratio(a, b):
    return float(np.sqrt(a / b)) if b > 0 else float("nan")
