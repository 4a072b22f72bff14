"""Training frames as batches: several frames as one graph, their labels as tensors, and residuals against them."""

from dataclasses import dataclass

import numpy as np
import torch

from ase_spinml.models.design import KINDS, VOIGT
from ase_spinml.models.heads import spin_slopes


@dataclass
class Batch:
    """Frames of one step of the training.

    Attributes
    ----------
    graph : Graph, StoredGraph or ComponentGraph
        All frames as one, N atoms.
    species : (N,) long
    frames : (N,) long
        Frame of each atom.
    rows : dict
        Index, targets and standard deviations (n,) of the labels of each kind that are known: energies per atom by
        frame (n,), forces by atom (n, 3), stress by frame (n, 6), transverse fields by atom (n, 3).
    volumes, counts : (n_frames,)
        Cell volumes in Angstrom^3, numbers of atoms.
    lengths : (N,)
        Moments in mu_B, 1 where there is none.
    """

    graph: object
    species: torch.Tensor
    frames: torch.Tensor
    rows: dict
    volumes: torch.Tensor
    counts: torch.Tensor
    lengths: torch.Tensor

    @property
    def lattice(self):
        """Whether derivatives by positions or strain are wanted."""
        return "forces" in self.rows or "stress" in self.rows


def make_batch(graph, structures, labels, sigmas):
    """A :class:`Batch` of frames, on the device and in the precision of their structures.

    Parameters
    ----------
    graph : Graph, StoredGraph or ComponentGraph
        All frames as one.
    structures : list of Structure
    labels : list of Labels
    sigmas : dict
        sigma_energy, sigma_forces, sigma_stress, sigma_field.
    """
    joined = graph.structure

    def put(x):
        return joined.positions.new_tensor(np.asarray(x))

    rows = {}
    for kind in KINDS:
        index, targets, spreads = _known(kind, labels, sigmas)
        if len(index):
            rows[kind] = torch.as_tensor(index, device=joined.species.device), put(targets), put(spreads)
    lengths = np.concatenate([label.lengths for label in labels])
    return Batch(
        graph=graph,
        species=joined.species,
        frames=joined.frames,
        rows=rows,
        volumes=put([max(s.volume, 1e-300) for s in structures]),
        counts=put([len(s) for s in structures]),
        lengths=put(np.where(lengths > 0, lengths, 1.0)),
    )


def _known(kind, labels, sigmas):
    """Rows, targets and standard deviations of the labels of one kind."""
    index, targets, spreads, start = [], [], [], 0
    for k, label in enumerate(labels):
        n, value = len(label.moments), getattr(label, "fields" if kind == "field" else kind)
        own = np.arange(start, start + n)
        if kind == "field":
            keep = label.labelled_spins
            rows, value = own[keep], _across(value, label.moments)[keep] if keep.any() else np.zeros((0, 3))
        elif value is None:
            rows, value = [], np.zeros((0, 3))
        elif kind == "forces":
            rows = own
        else:
            rows, value = [k], [value / n] if kind == "energy" else [value]
        if len(rows):
            index.append(rows)
            targets.append(value)
            spreads.append(np.full(len(rows), label.sigmas.get(f"sigma_{kind}", sigmas[f"sigma_{kind}"])))
        start += n
    return tuple(np.concatenate(x) if x else np.zeros(0) for x in (index, targets, spreads))


def _across(fields, moments):
    """Part of the fields (N, 3) perpendicular to the moments (N, 3)."""
    norm = np.einsum("ia,ia->i", moments, moments)
    along = np.einsum("ia,ia->i", fields, moments) / np.where(norm > 0, norm, 1.0)
    return fields - along[:, None] * moments


def predictions(batch, energies, gradient):
    """What the labels of a batch are compared with, by kind, for all frames or atoms.

    Parameters
    ----------
    batch : Batch
    energies : (N,) or None
        Atomic energies in eV; a model of torques alone has none.
    gradient : Gradient
        Derivatives of what the head has.
    """
    spins = batch.graph.structure.spins
    slope = spin_slopes(gradient.spins, spins)
    across = slope - (slope * spins).sum(1, keepdim=True) * spins
    out = {"field": -across / batch.lengths[:, None]}
    if energies is None:
        return out
    totals = energies.new_zeros(len(batch.counts)).index_add(0, batch.frames, energies)
    out["energy"] = totals / batch.counts
    if gradient.lattice:
        out["forces"] = -gradient.positions[0]
        tensor = gradient.virial[0] / batch.volumes[:, None, None]
        tensor = 0.5 * (tensor + tensor.transpose(1, 2))
        out["stress"] = torch.stack([tensor[:, a, b] for a, b in VOIGT], dim=1)
    return out


def squares(batch, found):
    """Sums of squared residuals over their sigmas by kind, and the numbers of residuals."""
    sums, counts = {}, {}
    for kind, (index, targets, sigmas) in batch.rows.items():
        residuals = (found[kind][index] - targets).reshape(len(index), -1) / sigmas[:, None]
        sums[kind], counts[kind] = residuals.square().sum(), residuals.numel()
    return sums, counts
