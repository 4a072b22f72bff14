"""The frames of a training: who prepares which, what the linear part leaves of their labels, and batches of them."""

from dataclasses import replace

import numpy as np
import torch

from ase_spinml.descriptors.structure import concatenate
from ase_spinml.devices import torch_dtype
from ase_spinml.models.baseline import baseline_results, subtract
from ase_spinml.models.batches import make_batch
from ase_spinml.models.components import ComponentGraph, Components
from ase_spinml.models.graph import Graph
from ase_spinml.models.heads import mirror_signs, odd_columns
from ase_spinml.models.networks import Inputs
from ase_spinml.models.stored import StoredGraph, sizes_of, store

MOST = 20_000
"""Numbers per atom that may be stored: beyond that, reading them takes as long as computing them."""


class TrainingData:
    """Frames ready to be put into batches; each worker prepares its own, once.

    Frames are dealt out in the order of a permutation, to the workers in turn: a run of frames in that order is shared
    out evenly.

    Parameters
    ----------
    model : SpinNN
        With its linear part.
    frames : list of ase.Atoms
    labels : list of Labels
        Changed in place: they become what baseline and linear part leave of them.
    inputs : list of Inputs
        Of each species.
    workers : Workers

    Attributes
    ----------
    order : (n_frames,) array
        The permutation.
    stored : bool
        Whether derivatives of the components are stored.
    scales : list of float
        Units of the networks in eV: the spread of the energies per atom (the size of m_i H_i without energies), or
        those of a model of torques.
    """

    def __init__(self, model, frames, labels, inputs, workers):
        descriptor = model.descriptor_
        self.order = np.random.default_rng(model.rng).permutation(len(frames))
        self._mine = set(self.order[workers.rank :: workers.size].tolist())
        self._labels, self._sigmas = labels, model.sigmas
        self._device, self._dtype = workers.device, torch_dtype(model.dtype)
        self._head, blocks = model._head, descriptor.blocks()
        components = Components(inputs, mirror_signs(blocks, model.parity))
        epochs = model.epochs * model.n_members
        self.stored = self._head.centred or _worth_storing(labels, components.width, epochs)
        self._components = components.to(self._device, self._dtype)
        self._structures, self._frames = {}, {}
        self._blocks = descriptor.blocks(self._dtype, self._device)
        energies, turns = torch.zeros(2, len(frames), dtype=torch.float64)
        for k in sorted(self._mine):
            structure = _aligned(descriptor.structure(frames[k]))
            turns[k] = _turning(labels[k])
            energies[k] = self._remainder(labels[k], frames[k], structure, model)
            graph = Graph(blocks, structure)
            if self.stored:
                frame = store(graph, labels[k], components, self._head.centred)
            else:
                frame = components(graph.features, structure.species)
            self._frames[k] = frame.to(device=self._device, dtype=self._dtype)
            self._structures[k] = descriptor.structure(frames[k], self._dtype, self._device)
        if self._head.conservative:
            energies = workers.sum(energies)[[label.energy is not None for label in labels]]
            turns = workers.sum(turns)[[bool(label.labelled_spins.any()) for label in labels]]
            known = energies.std(correction=0) if len(energies) > 1 else turns.square().mean().sqrt()
            self.scales = [max(float(known), 1e-4)]  # also if there is nothing to take a mean of
        else:
            self.scales = model.linear_.scales_

    @staticmethod
    def _remainder(label, frame, structure, model):
        """Leave what baseline and linear part do not explain of a label; the energy per atom without the latter, eV."""
        if model.baseline is not None:
            subtract(label, baseline_results(model.baseline, frame))
        energy = 0.0
        if label.energy is not None:
            energy = (label.energy - model.linear_.offsets_[structure.species].sum()) / len(structure)
        subtract(label, model.linear_.evaluator().results(structure, label.lengths))
        return energy

    def batches(self, order, size):
        """Batches of the frames of ``order``, ``size`` at a time: of each what this worker has, None if nothing."""
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        return [self._batch([k for k in group.tolist() if k in self._mine]) for group in groups]

    def _batch(self, frames):
        if not frames:
            return None
        structures, labels, known = ([x[k] for k in frames] for x in (self._structures, self._labels, self._frames))
        joined = concatenate(structures)
        if self.stored:
            graph = StoredGraph(joined, known)
        else:
            graph = ComponentGraph(Graph(self._blocks, joined), torch.cat(known), self._components.table)
        return make_batch(graph, structures, labels, self._sigmas)

    def networks(self, hidden, generator):
        """Untrained networks on the components, without a linear part."""
        inputs, mirror = self._components.inputs(), self._components.mirror
        linear = mirror.new_zeros(self._head.count, len(inputs), len(mirror))
        network = self._head.network(inputs, hidden, linear, self.scales, generator, mirror)
        return network.to(device=self._device, dtype=self._dtype)


def _turning(label):
    """Root mean square of m_i H_i in eV, 0 without field labels."""
    known = label.labelled_spins
    return float(np.sqrt(np.mean((label.lengths[known, None] * label.fields[known]) ** 2))) if known.any() else 0.0


def _aligned(structure):
    """The structure in memory of torch, where matrix products round alike in every run; that of NumPy is anywhere."""
    return replace(
        structure, **{name: getattr(structure, name).clone() for name in ("positions", "spins", "pair_shifts")}
    )


def find_inputs(descriptor, frames, most):
    """Inputs of the networks of each species: up to ``most`` components of the features of all frames."""
    blocks = descriptor.blocks()
    structures = [descriptor.structure(frame) for frame in frames]
    features = torch.cat([Graph(blocks, structure).features for structure in structures])
    species = torch.cat([structure.species for structure in structures])
    odd = torch.cat([odd_columns(block) for block in blocks.values()])
    return [Inputs.of(features[species == z], most, odd) for z in range(len(descriptor.species))]


def _worth_storing(labels, width, epochs):
    """Whether the derivatives of ``width`` components by atom are stored.

    They cost about as much as one epoch of a frame for each direction of its labels, after which an epoch hardly costs
    anything; and they are MOST numbers per atom at most. (Derivatives by an atom's own spin alone are always few.)
    """
    atoms = np.array([len(label.moments) for label in labels])
    directions = np.array([sum(sizes_of(label)) for label in labels])
    return bool(directions.mean() <= epochs and width * (atoms @ directions) <= MOST * atoms.sum())
