"""What networks see of the features while they are trained: components, computed once and in double precision.

The components of small variance are differences of large features, which single precision would lose.
"""

import copy

import torch

from ase_spinml.models.networks import Inputs


class Components:
    """The components of all species as K columns; those odd under time reversal have columns of their own.

    Parameters
    ----------
    inputs : list of Inputs
        Of each species.
    mirror : (F,)
        -1 for features whose sign nothing may depend on, else 1.

    Attributes
    ----------
    width : int
        K.
    mirror : (K,)
        The same for the components.
    table : (n_species, F, K)
        What each feature counts in each component.
    """

    def __init__(self, inputs, mirror):
        self._inputs = inputs
        odd = [_odd(own.directions, mirror) for own in inputs]
        even, others = max(int((~x).sum()) for x in odd), max(int(x.sum()) for x in odd)
        self._places = [torch.where(x, even + x.cumsum(0) - 1, (~x).cumsum(0) - 1) for x in odd]
        self.width, self.mirror = even + others, torch.cat([mirror.new_ones(even), -mirror.new_ones(others)])
        self.table = mirror.new_zeros(len(inputs), len(mirror), self.width)
        for page, own, place in zip(self.table, inputs, self._places, strict=True):
            page[:, place] = own.directions

    def __call__(self, features, species):
        """Components (N, K) of features (N, F) of atoms of the given species (N,)."""
        out = features.new_zeros(len(features), self.width)
        for z, (own, place) in enumerate(zip(self._inputs, self._places, strict=True)):
            rows = torch.nonzero(species == z)
            out[rows, place] = own(features[rows.squeeze(1)])
        return out

    def inputs(self):
        """Inputs of each species that take its components out of the K columns."""
        unit = torch.eye(self.width, dtype=self.table.dtype)
        return [Inputs(unit.new_zeros(self.width), unit[:, place]) for place in self._places]

    def to(self, device, dtype):
        """The same with the table on a device, in a precision."""
        moved = copy.copy(self)
        moved.table = self.table.to(device=device, dtype=dtype)
        return moved


def _odd(directions, mirror):
    """Which components are made of mirrored features, (K,) of bool."""
    share = directions[mirror < 0].square().sum(0)
    return share > 0.5 * directions.square().sum(0)


class ComponentGraph:
    """A graph seen through its components, with the face of :class:`ase_spinml.models.graph.Graph`.

    Parameters
    ----------
    graph : Graph
        Of N atoms.
    features : (N, K)
        Their components.
    table : (n_species, F, K)
        As in :class:`Components`.
    """

    def __init__(self, graph, features, table):
        self.structure, self.features = graph.structure, features
        self._graph, self._table = graph, table

    def pullback(self, sensitivity, lattice=True, centred=False):
        """Derivatives of B energies with dE/dx = ``sensitivity`` (B, N, K), a Gradient."""
        species = self.structure.species
        onto = sensitivity.new_zeros(*sensitivity.shape[:2], self._table.shape[1])
        for z, page in enumerate(self._table):
            rows = torch.nonzero(species == z).squeeze(1)
            onto = onto.index_copy(1, rows, sensitivity.index_select(1, rows) @ page.T)
        return self._graph.pullback(onto, lattice=lattice, centred=centred)
