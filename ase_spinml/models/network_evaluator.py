"""A fitted SpinNN at work: structures in, energies and derivatives out."""

import copy

import numpy as np
import torch

from ase_spinml.descriptors.lattice import LatticeDescriptor
from ase_spinml.descriptors.structure import Gradient
from ase_spinml.models.evaluator import effective_fields, structure_results
from ase_spinml.models.heads import spin_slopes
from ase_spinml.moments import transverse


class NetworkEvaluator:
    """Members of a SpinNN on a device; the mean of the members is the model.

    Features of a chunk of atoms live only while the chunk is worked on, so memory does not grow with the number of
    features.

    Labels say nothing of the part of a field along its spin. On lattices it is that of bonds, which are linear in every
    spin. Networks of Legendre polynomials have any, many times the transverse part, and explicit time steps would
    follow it: there it is left out.
    """

    def __init__(self, model, device, dtype):
        self._bonds = isinstance(model.descriptor_, LatticeDescriptor)
        self.blocks = model.descriptor_.blocks(dtype, device)
        self._head = model._head
        self._networks = [copy.deepcopy(network).to(dtype=dtype, device=device) for network in model.networks_]
        if self._head.conservative:
            self._offsets = torch.as_tensor(model.linear_.offsets_, dtype=dtype, device=device)
        self._linear = model.linear_.evaluator(device, dtype)

    def __call__(self, structure, lattice=True, networks=None):
        """Atomic energies (N,) in eV of the mean of the members, and the Gradient of their sum.

        Without ``lattice`` the gradient has no positions. A model of torques has no energies (None), and the gradient
        has what its head needs.
        """
        energies, gradient = self._members(structure, lattice, mean=True)
        return (None if energies is None else energies[0]), gradient

    def spin_slopes(self, structure):
        """Slopes s_i = -m_i H_i (N, 3) in eV."""
        return self._slopes(structure, self(structure, lattice=False)[1])[0]

    def results(self, structure, lengths, lattice=True):
        """ASE results without baseline and ``magmoms``, for moment lengths (N,) in mu_B."""
        energies, gradient = self(structure, lattice)
        return structure_results(energies, self._slopes(structure, gradient)[0], gradient, structure, lengths)

    def members(self, structure, lengths):
        """Energies (M,) in eV, or None, and transverse fields (M, N, 3) in eV/mu_B of every member."""
        energies, gradient = self._members(structure, lattice=False, mean=False)
        spins = structure.spins.cpu().numpy()
        slopes = self._slopes(structure, gradient)
        fields = [transverse(effective_fields(slope, structure.spins, lengths), spins) for slope in slopes]
        return (None if energies is None else energies.sum(1).cpu().numpy()), np.array(fields)

    def _slopes(self, structure, gradient):
        """(B, N, 3) of B members."""
        slopes, spins = (
            spin_slopes(gradient.spins.unflatten(0, (-1, self._head.count)), structure.spins),
            structure.spins,
        )
        return slopes if self._bonds else slopes - (slopes * spins).sum(2, keepdim=True) * spins

    def moment_lengths(self, structure):
        """Adiabatic moment lengths M(x_i), (N,) mu_B, of the linear part."""
        return self._linear.moment_lengths(structure)

    def _members(self, structure, lattice, mean):
        """Energies (B, N) and Gradient of B = 1 (the mean) or as many models as there are members.

        The gradient holds B times as many derivatives as the head has.
        """
        models = 1 if mean else len(self._networks)
        head, count = self._head, models * self._head.count
        gradient = Gradient(structure, count, lattice=lattice and head.conservative, centred=head.centred)
        energies = self._offsets.index_select(0, structure.species).repeat(models, 1) if head.conservative else None
        chunked = dict(self.blocks)
        pair, whole, width = chunked.pop("pair", None), [], 0  # pairs of all atoms are one part
        if pair is not None:
            whole, width = pair.parts(structure), pair.n_features
            to_pair = whole[0].features.new_zeros(count, *whole[0].features.shape)
        chunks = zip(*(block.parts(structure) for block in chunked.values()), strict=True) if chunked else [()]
        for parts in chunks:
            atoms = parts[0].atoms if parts else slice(0, len(structure))
            features = [part.features[atoms] for part in whole] + [part.features for part in parts]
            energy, slopes = self._evaluate(torch.cat(features, dim=1), structure.species[atoms], mean)
            if energies is not None:
                energies[:, atoms] += energy
            if whole:
                to_pair[:, atoms] = slopes[..., :width]
            start = width
            for part in parts:
                end = start + part.features.shape[1]
                part.pullback(slopes[..., start:end], gradient)
                start = end
        for part in whole:
            part.pullback(to_pair, gradient)
        return energies, gradient

    def _evaluate(self, features, species, mean):
        """Energies (B, n), or None, and slopes (B * H, n, F)."""
        energies, slopes = zip(*(network.slopes(features, species) for network in self._networks), strict=True)
        slopes = torch.stack(slopes)
        energies = torch.stack(energies).detach() if self._head.conservative else None
        if mean:
            slopes = slopes.mean(0, keepdim=True)
            energies = None if energies is None else energies.mean(0, keepdim=True)
        return energies, slopes.flatten(0, 1)
