"""Frames whose network inputs and their derivatives are computed once and stored.

A network sees K components of the features, and features do not change while it is trained. A frame with labels along
D directions (of its spins, atoms and strain) needs no more than the components (N, K) and their derivatives (N K, D): a
step is then one product with this matrix instead of two passes through the descriptor.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ase_spinml.models.design import VOIGT, Directions, jacobians, tangents

CHUNK = 32
"""Components worked on at a time."""
MATRIX = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
"""Place of each element of a symmetric tensor in Voigt order."""


@dataclass
class StoredFrame:
    """What the training of a network needs of a frame of n atoms.

    Attributes
    ----------
    components : (n, K)
        Inputs of the networks, see :class:`ase_spinml.models.components.Components`.
    derivatives : (n K, D)
        Along tangents of labelled spins, then positions, then strains in Voigt order. Or (m, K, 2), of each labelled
        atom's components along the tangents of its own spin.
    sizes : list of three int, or None
        Directions of each sort; None with the derivatives by own spins.
    spins : (m,) long; tangents : (m, 2, 3)
        Atoms with a field, and tangents of their spins.
    """

    components: torch.Tensor
    derivatives: torch.Tensor
    sizes: list
    spins: torch.Tensor
    tangents: torch.Tensor

    def __len__(self):
        return len(self.components)

    def to(self, device, dtype):
        """The same on a device, in a precision."""
        names = ("components", "derivatives", "tangents")
        moved = {name: getattr(self, name).to(device=device, dtype=dtype) for name in names}
        return replace(self, spins=self.spins.to(device), **moved)


def sizes_of(label):
    """Directions of each sort that a frame's labels ask for: tangents of spins, positions, strains."""
    forces, stress = label.forces is not None, label.stress is not None
    return [2 * int(label.labelled_spins.sum()), 3 * len(label.moments) * forces, 6 * stress]


def store(graph, label, components, centred=False):
    """The :class:`StoredFrame` of a Graph of one frame on the CPU.

    With ``centred``, for networks of which each acts on its own spin alone.
    """
    structure, table = graph.structure, components.table
    found = components(graph.features, structure.species)
    spins, sizes = np.flatnonzero(label.labelled_spins), sizes_of(label)
    along = structure.positions.new_tensor(tangents(structure.spins.numpy()[spins]))
    if centred:
        own = _own_derivatives(graph, table)[:, spins].transpose(0, 1) @ along.transpose(1, 2)
        return StoredFrame(found, own.contiguous(), None, torch.as_tensor(spins), along)
    slopes = found.new_zeros(sum(sizes), *found.shape)
    for columns, part in graph.parts:
        pages = [(structure.species[part.atoms] == z, page[columns]) for z, page in enumerate(table)]
        start = 0
        for group in _directions(structure, sizes, spins, along):
            for pick, jacobian in jacobians(part, group):
                target = slopes[start + pick.start : start + pick.stop, part.atoms]
                for mine, page in pages:
                    target[:, mine] += jacobian[:, mine] @ page
            start += group.count
    return StoredFrame(found, slopes.flatten(1).T.contiguous(), sizes, torch.as_tensor(spins), along)


def _own_derivatives(graph, table):
    """Derivatives of the components of every atom by its own spin, (K, n, 3)."""
    found = []
    for part in table.split(CHUNK, dim=2):
        sensitivity = part.permute(2, 0, 1)[:, graph.structure.species]
        found.append(graph.pullback(sensitivity, lattice=False, centred=True).spins)
    return torch.cat(found)


def _directions(structure, sizes, spins, along):
    """The directions of each sort, as for a design matrix."""
    n, like = len(structure), structure.positions
    found = []
    if sizes[0]:
        turned = like.new_zeros(len(spins), 2, n, 3)
        turned[np.arange(len(spins)), :, spins] = along
        found.append(Directions(sizes[0], spins=turned.flatten(0, 1)))
    if sizes[1]:
        found.append(Directions(sizes[1], positions=torch.eye(3 * n, dtype=like.dtype).view(3 * n, n, 3)))
    if sizes[2]:
        virial = like.new_zeros(6, 1, 3, 3)
        for k, (a, b) in enumerate(VOIGT):
            virial[k, 0, a, b] += 0.5
            virial[k, 0, b, a] += 0.5
        found.append(Directions(sizes[2], virial=virial))
    return found


@dataclass
class Slopes:
    """Derivatives of B energies, named as in a Gradient; those by spins across the moments, where there are labels."""

    spins: torch.Tensor
    positions: torch.Tensor | None = None
    virial: torch.Tensor | None = None

    @property
    def lattice(self):
        return self.positions is not None


class StoredGraph:
    """Several frames as one graph, with the face of :class:`ase_spinml.models.graph.Graph`.

    Parameters
    ----------
    structure : Structure
        The frames as one, N atoms.
    frames : list of StoredFrame

    Attributes
    ----------
    features : (N, K)
    """

    def __init__(self, structure, frames):
        self.structure, self._frames = structure, frames
        self.features = torch.cat([frame.components for frame in frames])
        starts = np.cumsum([0, *(len(frame) for frame in frames)]).tolist()
        self._atoms = [slice(a, a + len(frame)) for a, frame in zip(starts, frames, strict=False)]
        self._labelled = torch.cat([a + frame.spins for a, frame in zip(starts, frames, strict=False)])
        self._tangents = torch.cat([frame.tangents for frame in frames])
        if frames[0].sizes is None:
            self._own = torch.cat([frame.derivatives for frame in frames])

    def pullback(self, sensitivity, lattice=True, centred=False):
        """Derivatives of B energies with dE/dx = ``sensitivity`` (B, N, K), zero where there are no labels.

        Returns
        -------
        Slopes
            Differentiable with respect to the sensitivity; without positions and virials if not ``lattice``.
            ``centred`` is as the frames were stored.
        """
        batch, found = len(sensitivity), []
        if centred:
            slopes = torch.einsum("bmk,mkt->bmt", sensitivity.index_select(1, self._labelled), self._own)
            return Slopes(self._turned(slopes))
        for frame, atoms in zip(self._frames, self._atoms, strict=True):
            products = sensitivity[:, atoms].flatten(1) @ frame.derivatives
            found.append(products.split(frame.sizes, dim=1))
        spins, positions, strains = zip(*found, strict=True)
        spins = self._turned(torch.cat(spins, dim=1).view(batch, -1, 2))
        if not lattice:
            return Slopes(spins)
        positions = [_filled(x, 3 * len(frame)) for x, frame in zip(positions, self._frames, strict=True)]
        strains = torch.stack([_filled(x, 6) for x in strains], dim=1)
        return Slopes(spins, torch.cat(positions, dim=1).view(batch, -1, 3), strains[..., MATRIX])

    def _turned(self, slopes):
        """Derivatives by spins (B, N, 3) from those along the tangents of labelled ones (B, m, 2)."""
        turned = torch.einsum("bnt,nta->bna", slopes, self._tangents)
        return turned.new_zeros(len(slopes), len(self.structure), 3).index_copy(1, self._labelled, turned)


def _filled(part, size):
    """Derivatives (B, size), zeros if there are none."""
    return part if part.shape[1] else part.new_zeros(len(part), size)
