"""A fitted kernel model at work: structures in, energies and derivatives out."""

import numpy as np
import torch

from ase_spinml.descriptors.structure import Gradient
from ase_spinml.moments import transverse


class Evaluator:
    """A fitted SpinGAP on a device: structures in, energies and derivatives out.

    Kernels are collapsed where they can be: a linear term to a vector, zeta = 2 to a quadratic form, whatever the
    number of sparse points.
    """

    def __init__(self, model, device, dtype):
        self.blocks = model.descriptor_.blocks(dtype, device)
        self._terms = []
        start = 0
        for term in model.terms_:
            weights = term.whitening @ torch.as_tensor(model.column_weights_[start : start + term.size])
            start += term.size

            def put(x):
                return x.to(dtype=dtype, device=device)

            function = term.kernel.collapse(put(term.points), put(weights), put(term.scale))
            self._terms.append((term.block, term.species, function))
        self._offsets = torch.as_tensor(model.offsets_, dtype=dtype, device=device)
        self._model = model

    @torch.no_grad()
    def __call__(self, structure, lattice=True):
        """Atomic energies (N,) in eV, and the Gradient of their sum (without positions if not ``lattice``)."""
        energies = self._offsets.index_select(0, structure.species).clone()
        gradient = Gradient(structure, 1, lattice=lattice)
        for name, block in self.blocks.items():
            terms = [t for t in self._terms if t[0] == name]
            for part in block.parts(structure):
                species = structure.species[part.atoms]
                x = part.features
                if len(terms) == 1 and len(self._offsets) == 1:
                    energy, slope = terms[0][2](x)
                    energies[part.atoms] += energy
                    part.pullback(slope.unsqueeze(0), gradient)
                    continue
                sensitivity = torch.zeros_like(x)
                for _, z, function in terms:
                    rows = torch.nonzero(species == z).squeeze(1)
                    energy, slope = function(x.index_select(0, rows))
                    energies[part.atoms] = energies[part.atoms].index_add(0, rows, energy)
                    sensitivity.index_add_(0, rows, slope)
                part.pullback(sensitivity.unsqueeze(0), gradient)
        return energies, gradient

    def results(self, structure, lengths, lattice=True):
        """ASE results without baseline and ``magmoms``, for moment lengths (N,) in mu_B.

        Without ``lattice`` no forces and no stress, at about half the cost.
        """
        energies, gradient = self(structure, lattice)
        return structure_results(energies, gradient.spins[0], gradient, structure, lengths)

    def spin_slopes(self, structure):
        """dE/de_i of unit spins, (N, 3) eV."""
        return self(structure, lattice=False)[1].spins[0]

    def moment_lengths(self, structure):
        """Adiabatic moment lengths M(x_i), (N,) mu_B; zero for non-magnetic species."""
        model = self._model
        lengths = np.zeros(len(structure))
        features = {
            name: torch.cat([part.features for part in block.parts(structure)]).cpu().double()
            for name, block in self.blocks.items()
        }
        species = structure.species.cpu()
        for symbol, weights in model.length_weights_.items():
            z = list(model.descriptor_.species).index(symbol)
            mine = species == z
            if mine.any():
                lengths[mine.numpy()] = length_columns(model.terms_, features, mine, z) @ weights[:-1] + weights[-1]
        return lengths


def structure_results(energies, slopes, gradient, structure, lengths):
    """ASE results of atomic energies (N,), slopes s_i = -m_i H_i (N, 3) and derivatives by positions if there are any.

    Without energies (None) only fields.
    """
    effective = effective_fields(slopes, structure.spins, lengths)
    out = {
        "exchange_fields": transverse(effective, structure.spins.cpu().numpy()),
        "effective_fields": effective,
    }
    if energies is None:
        return out
    out["energy"] = out["free_energy"] = float(energies.sum())
    out["energies"] = energies.cpu().numpy()
    if gradient.lattice:
        out["forces"] = -gradient.positions[0].cpu().numpy()
        if structure.volume > 0:
            out["stress"] = stress(gradient, structure.volume)
    return out


def effective_fields(slope, spins, lengths):
    """Fields -(1/m_i) dE/de_i, (N, 3) eV/mu_B, with the part along e_i that the polynomials of the features have.

    slope: dE/de (N, 3) in eV; spins: (N, 3); lengths: (N,) in mu_B.
    """
    slope = slope.cpu().numpy()
    magnetic = (lengths > 0) & spins.any(1).cpu().numpy()
    return np.divide(-slope, lengths[:, None], out=np.zeros_like(slope), where=magnetic[:, None])


def stress(gradient, volume):
    """Stress (6,) in eV/A^3, Voigt order, ASE's sign: the symmetric part of the strain derivative at fixed moments."""
    tensor = gradient.virial[0, 0].cpu().numpy() / volume
    tensor = 0.5 * (tensor + tensor.T)
    return tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def length_columns(terms, features, mask, species):
    """Columns (n, r) on which the moment lengths of one species depend, for its atoms (mask (N,) of bool)."""
    return torch.cat([t.columns(features[t.block][mask]) for t in terms if t.species == species], dim=1).numpy()
