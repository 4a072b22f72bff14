"""Energies that exchange fields imply, by a linear exchange model fitted to the fields alone.

A field says how the energy changes when one moment turns by e_i -> e_i + de_i: its turning t_i = m_i H_i = -dE/de_i,
transverse, in eV. A model E_spin = Phi.u that is linear in its features has turnings A.u with A = -dPhi/de, so the
fields alone give u and, but for a constant, the energies. Its features are those of
:class:`ase_spinml.descriptors.soso.SOSO`: pairs J(r) e_i.e_j, their squares, and triplets.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.linalg
import torch
from scipy.optimize import minimize_scalar

from ase_spinml.descriptors.soso import SOSO
from ase_spinml.errors import InputError
from ase_spinml.models.design import Directions, Term, design, field_directions, tangents
from ase_spinml.models.kernels import Linear

SPINS, LEAST_PER_FRAME, MOST_PER_FRAME = 400, 8, 32
"""How many atoms are asked for their fields, in all and in a frame: the weights are few, more would only add work."""

STRAIGHT = 1e-9
"""Turnings below this, for weights of order one, are those of parallel spins."""

CONDITION = 1e-10
"""Smallest ridge relative to the largest eigenvalue: below, double precision invents weights."""


@dataclass
class FieldRows:
    """What fields and energies of n frames say about F weights.

    Attributes
    ----------
    slopes : list of (D_k, F) arrays
        Turnings of D_k directions of frame k, by weight.
    fields, lengths : lists of (D_k,) arrays
        The labels' field components along the same directions, as given, and the moment lengths in mu_B.
    energies, composition : (n, F) and (n, n_species) arrays
        Energies per atom by weight; fractions of the species.
    labels : (n,) array
        Energy labels in eV/atom.
    block : (F,) int array
        Which kind of feature each weight belongs to.
    """

    slopes: list
    fields: list
    lengths: list
    energies: np.ndarray
    composition: np.ndarray
    labels: np.ndarray
    block: np.ndarray

    def turnings(self, power):
        """Targets (D_k,) per frame: fields times the moment length to a power, 1 if they are in eV/mu_B."""
        return [field * length**power for field, length in zip(self.fields, self.lengths, strict=True)]


def field_rows(frames, labels, magnetic, cutoff, rng):
    """Rows of all frames.

    Parameters
    ----------
    frames : list of ase.Atoms; labels : list of ase_spinml.models.labels.Labels
        With energies and fields.
    magnetic : list of str
        Elements whose moments count.
    cutoff : float
        Range of the model in Angstrom.
    rng : numpy Generator
        Chooses the atoms that are asked where there are many.

    Raises
    ------
    InputError
        A frame in which no atom has a neighbour within the cutoff.
    """
    species = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    descriptor = SOSO(species, cutoff, spin_l_max=2, n_max_angular=4, l_max=2, magnetic=magnetic).fit(frames)
    blocks = descriptor.blocks()
    terms = [
        _linear_term(name, z, group, block.n_features)
        for group, (name, block) in enumerate(blocks.items())
        for z in range(len(species))
    ]
    out = FieldRows([], [], [], [], [], [], np.concatenate([np.full(term.size, term.group) for term in terms]))
    most = int(np.clip(SPINS // len(frames), LEAST_PER_FRAME, MOST_PER_FRAME))
    for frame, label in zip(frames, labels, strict=True):
        structure = descriptor.structure(frame)
        if not len(structure.i):
            raise InputError(f"Expected a cutoff that reaches neighbours, got {cutoff} Angstrom, which reaches none.")
        spins = structure.spins.numpy()
        known = np.flatnonzero(label.labelled_spins & spins.any(axis=1))
        if len(known) > most:
            known = np.sort(rng.choice(known, most, replace=False))
        turns = field_directions(spins, np.ones(len(spins)), known)
        wanted = [None, Directions(len(turns), spins=structure.positions.new_tensor(turns))]
        energy, slopes = design(blocks, terms, structure, wanted)
        structure.cache.clear()
        out.slopes.append(-slopes)
        out.fields.append(np.einsum("na,nka->nk", label.fields[known], tangents(spins[known])).ravel())
        out.lengths.append(np.repeat(label.lengths[known], 2))
        out.energies.append(energy[0] / len(frame))
        out.composition.append([np.mean(frame.symbols == symbol) for symbol in species])
        out.labels.append(label.energy / len(frame))
    out.energies, out.composition, out.labels = map(np.array, (out.energies, out.composition, out.labels))
    return out


def _linear_term(block, species, group, size):
    unit = torch.eye(size, dtype=torch.float64)
    return Term(block, species, Linear(), torch.ones(size, dtype=torch.float64), unit, unit, group)


class FieldFit:
    """Weights of the exchange model from the fields alone: a Bayesian ridge whose strength maximises the evidence.

    Parameters
    ----------
    rows : FieldRows
    power : 0 or 1
        Power of the moment length that turns the labels into turnings.
    groups : (n,) int array
        Group of every frame; each group is left out once.

    Raises
    ------
    InputError
        All spins are parallel.
    """

    def __init__(self, rows, power, groups):
        self.rows, self.groups = rows, groups
        targets = rows.turnings(power)
        every = np.vstack(rows.slopes)
        if not np.abs(every).max(initial=0.0) > STRAIGHT:
            raise InputError(
                "Expected frames with spins at angles to each other, got parallel ones, which have no exchange fields: "
                "give noncollinear frames."
            )
        scale = np.zeros(every.shape[1])
        for block in np.unique(rows.block):  # every block gets the same share of the prior variance of a turning
            mine = rows.block == block
            scale[mine] = 1.0 / max(np.sqrt(np.sum(every[:, mine] ** 2) / len(every)), 1e-300)
        self.active = np.abs(every).max(axis=0) > 1e-12 * np.abs(every).max()
        self._scale = scale[self.active]
        self._slopes = [slopes[:, self.active] * self._scale for slopes in rows.slopes]
        self._targets = targets
        self._sums = {g: self._sum(np.flatnonzero(groups == g)) for g in np.unique(groups)}
        gram, right, square, count = (sum(parts) for parts in zip(*self._sums.values(), strict=True))
        self._ratio, self._noise = evidence_ridge(gram, right, square, count)
        self._all = gram, right

    def _sum(self, frames):
        slopes = np.vstack([self._slopes[k] for k in frames])
        targets = np.concatenate([self._targets[k] for k in frames])
        return slopes.T @ slopes, slopes.T @ targets, targets @ targets, len(targets)

    def solve(self, without=None):
        """Weights (F_active,), scaled, and their posterior covariance, from all groups or all but one."""
        gram, right = self._all
        if without is not None:
            gram, right = gram - self._sums[without][0], right - self._sums[without][1]
        inverse = scipy.linalg.inv(gram + np.eye(len(gram)) / self._ratio)
        return inverse @ right, self._noise * inverse

    def energies(self, without=None):
        """Spin energies per atom (n,) in eV implied by the fields, with their posterior covariance (n, n)."""
        weights, covariance = self.solve(without)
        features = self.rows.energies[:, self.active] * self._scale
        return features @ weights, features @ covariance @ features.T

    def explained(self):
        """Share of the squared turnings of left-out groups that the model of the others predicts, at most 1."""
        misfit = total = 0.0
        for group in self._sums:
            weights, _ = self.solve(without=group)
            for k in np.flatnonzero(self.groups == group):
                misfit += np.sum((self._targets[k] - self._slopes[k] @ weights) ** 2)
                total += np.sum(self._targets[k] ** 2)
        return 1.0 - misfit / total


def evidence_ridge(gram, right, square, count):
    """Ratio of prior to noise variance, and the noise variance, that make the targets most probable.

    Parameters
    ----------
    gram : (F, F); right : (F,); square : float; count : int
        A^T A, A^T t, t^T t and the number of targets t.
    """
    values, vectors = scipy.linalg.eigh(gram)
    values, along = np.maximum(values, 0.0), (vectors.T @ right) ** 2

    def noise(ratio):
        return max(square - np.sum(along * ratio / (1 + ratio * values)), 1e-14 * square) / count

    def loss(log_ratio):
        ratio = np.exp(log_ratio)
        return count * np.log(noise(ratio)) + np.sum(np.log1p(ratio * values))

    top = -np.log(CONDITION * values[-1])
    pieces = np.linspace(top - 28.0, top, 5)
    best = min(
        (minimize_scalar(loss, bounds=piece, method="bounded") for piece in pairwise(pieces)),
        key=lambda found: found.fun,
    )
    return np.exp(best.x), noise(np.exp(best.x))
