"""Rows of the design matrix: what each label says about the weights of a kernel model."""

from dataclasses import dataclass

import numpy as np
import torch

from ase_spinml.descriptors.structure import Gradient
from ase_spinml.models.kernels import Linear

KINDS = ("energy", "forces", "stress", "field")
WORK = 4_000_000
"""Numbers that one batch of directions may hold."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass
class Term:
    """One kernel on one block of features of the atoms of one species.

    Attributes
    ----------
    block : str; species : int
    kernel : see :mod:`ase_spinml.models.kernels`
    scale : (F,)
        Factor on every feature: features are of order one.
    points : (M, F)
        Sparse points, scaled.
    whitening : (M, r)
        Turns covariances with the points into columns of unit prior.
    group : int
        Which prior amplitude it has.
    """

    block: str
    species: int
    kernel: object
    scale: torch.Tensor
    points: torch.Tensor
    whitening: torch.Tensor
    group: int

    @property
    def size(self):
        return self.whitening.shape[1]

    def columns(self, x):
        """Whitened covariances (n, r) of features x (n, F) with the sparse points."""
        return self.kernel(x * self.scale, self.points) @ self.whitening

    def slopes(self, x, jacobian):
        """Derivatives (D, r) of the columns summed over atoms, for dx (D, n, F) along D directions."""
        if isinstance(self.kernel, Linear):
            return (jacobian.sum(1) * self.scale) @ self.points.T @ self.whitening
        x, jacobian = x * self.scale, jacobian * self.scale
        directions, n, size = jacobian.shape
        a, b = self.kernel.slopes(x, self.points)
        along = (jacobian.reshape(-1, size) @ self.points.T).view(directions, n, len(self.points))
        total = torch.einsum("dnb,nb->db", along, a)
        if b is not None:
            total = total + torch.einsum("dnf,nf->dn", jacobian, x) @ b
        return total @ self.whitening


@dataclass
class Directions:
    """Directions of differentiation: D linear functionals of dE/dR, the virial and dE/de.

    spins : (D, N, 3) or None; positions : (D, N, 3) or None; virial : (D, 1, 3, 3) or None
    """

    count: int
    spins: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    virial: torch.Tensor | None = None


def tangents(spins):
    """Two orthonormal tangent vectors of each unit spin, (N, 2, 3), for spins (N, 3) without zero rows."""
    axis = np.eye(3)[np.argmin(np.abs(spins), axis=1)]
    first = np.cross(spins, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(spins, first)], axis=1)


def field_directions(spins, lengths, atoms):
    """Tangent vectors over moment lengths: -dE along them are the transverse field components, (2 n, N, 3)."""
    frame = tangents(spins[atoms]) / lengths[atoms][:, None, None]
    directions = np.zeros((len(atoms), 2, len(spins), 3))
    directions[np.arange(len(atoms)), :, atoms] = frame
    return directions.reshape(-1, len(spins), 3)


def label_rows(labels, structure, sigmas):
    """What to differentiate for the labels of one frame, with targets and standard deviations.

    Parameters
    ----------
    labels : Labels
    structure : Structure
    sigmas : dict
        sigma_energy (eV/atom), sigma_forces (eV/A), sigma_stress (eV/A^3), sigma_field (eV/mu_B).

    Returns
    -------
    list of (kind, Directions or None, factor, targets, sigma)
        ``factor`` turns the derivative into the label; energy has no directions.
    """
    sigmas = {**sigmas, **labels.sigmas}
    n, like = len(structure), structure.positions
    rows = []
    if labels.energy is not None:
        rows.append(("energy", None, 1.0 / n, np.array([labels.energy / n]), sigmas["sigma_energy"]))
    if labels.forces is not None:
        unit = torch.eye(3 * n, dtype=like.dtype).view(3 * n, n, 3)
        rows.append(("forces", Directions(3 * n, positions=unit), -1.0, labels.forces.ravel(), sigmas["sigma_forces"]))
    if labels.stress is not None:
        virial = like.new_zeros(6, 1, 3, 3)
        for k, (a, b) in enumerate(VOIGT):
            virial[k, 0, a, b] += 0.5
            virial[k, 0, b, a] += 0.5
        factor = 1.0 / structure.volume
        rows.append(("stress", Directions(6, virial=virial), factor, labels.stress, sigmas["sigma_stress"]))
    known = np.flatnonzero(labels.labelled_spins)
    if len(known):
        spins = structure.spins.numpy()
        directions = field_directions(spins, labels.lengths, known)
        components = np.einsum("na,nka->nk", labels.fields[known], tangents(spins[known])).ravel()
        rows.append(
            (
                "field",
                Directions(len(directions), spins=like.new_tensor(directions)),
                -1.0,
                components,
                sigmas["sigma_field"],
            )
        )
    return rows


def jacobians(part, directions):
    """Derivatives of a part's features along directions, as batches (slice, (d, n, F)).

    Parts of fixed lattices know their derivatives along turns of spins. Of the others, a pullback is linear in the
    sensitivity it is given, so its transpose, the derivative along given directions, is the pullback's own gradient
    with respect to that sensitivity.
    """
    x = part.features
    batch = max(1, WORK // (x.numel() + 1))
    structure = part.structure
    lattice = directions.positions is not None or directions.virial is not None
    for start in range(0, directions.count, batch):
        pick = slice(start, min(start + batch, directions.count))
        count = pick.stop - pick.start
        if not lattice and hasattr(part, "along"):
            yield pick, part.along(directions.spins[pick])
            continue
        sensitivity = x.new_zeros(count, *x.shape).requires_grad_()
        gradient = Gradient(structure, count, lattice=lattice)
        part.pullback(sensitivity, gradient)
        total = x.new_zeros(())
        for name in ("spins", "positions", "virial"):
            wanted = getattr(directions, name)
            if wanted is not None:
                total = total + (getattr(gradient, name) * wanted[pick]).sum()
        if not total.requires_grad:  # no neighbours, nothing depends on anything
            yield pick, torch.zeros_like(sensitivity)
            continue
        yield pick, torch.autograd.grad(total, sensitivity)[0]


def design(blocks, terms, structure, wanted):
    """Columns of all terms for one frame.

    Parameters
    ----------
    blocks : dict of descriptor blocks
    terms : list of Term
    structure : Structure
    wanted : list of Directions or None
        None asks for the energy itself (one row).

    Returns
    -------
    list of (D, columns) arrays
        Energies or derivatives of the energy with respect to the whitened weights.
    """
    width = sum(term.size for term in terms)
    out = [np.zeros((1 if d is None else d.count, width)) for d in wanted]
    starts = np.cumsum([0] + [term.size for term in terms])
    for name, block in blocks.items():
        mine = [(term, slice(a, a + term.size)) for term, a in zip(terms, starts, strict=False) if term.block == name]
        for part in block.parts(structure):
            species = structure.species[part.atoms]
            chosen = [(term, columns, species == term.species) for term, columns in mine]
            for target, directions in zip(out, wanted, strict=True):
                if directions is None:
                    for term, columns, mask in chosen:
                        target[0, columns] += term.columns(part.features[mask]).sum(0).numpy()
                    continue
                for pick, jacobian in jacobians(part, directions):
                    for term, columns, mask in chosen:
                        target[pick, columns] += term.slopes(part.features[mask], jacobian[:, mask]).numpy()
    return out
