"""A frame as tensors: what descriptors and models see of an ase.Atoms."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ase_spinml.errors import InputError


@dataclass
class Structure:
    """Positions, spins and neighbours of one frame.

    Attributes
    ----------
    species : (N,) long
        Index of each atom's element in the descriptor's species.
    positions : (N, 3)
        Angstrom.
    spins : (N, 3)
        Unit vectors; zero rows for non-magnetic atoms.
    i, j : (P,) long; pair_shifts : (P, 3)
        Half list: r_ij = R_j + shift - R_i, Angstrom.
    slots : (N, K) long or None
        The same pairs, both directions, as a table (:meth:`ase_spinml.neighbors.NeighborList.slots`), where a
        descriptor needs it.
    volume : float
        Cell volume in Angstrom^3, 0 without a cell.
    cache : dict
        Work of the descriptor that depends on the lattice only; shared by frames that differ only in their spins.
    """

    species: torch.Tensor
    positions: torch.Tensor
    spins: torch.Tensor
    i: torch.Tensor
    j: torch.Tensor
    pair_shifts: torch.Tensor
    slots: torch.Tensor | None
    volume: float
    cache: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.species)

    def with_spins(self, spins):
        """The same lattice with other spins (N, 3): lattice work in the cache is kept."""
        return replace(self, spins=spins)

    def with_positions(self, positions):
        """The same neighbours and cell with other positions (N, 3) and an empty cache."""
        return replace(self, positions=positions, cache={})


def species_indices(atoms, species):
    """Index of every atom's element in ``species``, (N,).

    Raises InputError naming the element that the descriptor does not know.
    """
    order = {symbol: k for k, symbol in enumerate(species)}
    symbols = atoms.get_chemical_symbols()
    unknown = sorted(set(symbols) - set(order))
    if unknown:
        raise InputError(
            f"the descriptor knows the species {', '.join(species)}, but the frame contains {', '.join(unknown)}; "
            "add them to species= and fit again"
        )
    return np.array([order[s] for s in symbols], dtype=np.int64)


def structure_from_atoms(atoms, kinds, spins, pairs, with_slots, dtype, device):
    """Tensors of one frame.

    Parameters
    ----------
    atoms : ase.Atoms
    kinds : (N,) int array
        Species of every atom.
    spins : (N, 3) array
        Unit rows, zero for non-magnetic atoms.
    pairs : NeighborList
        Up to date for these atoms.
    with_slots : bool
        Whether the table of directed pairs is needed.
    """
    cell = atoms.cell.array

    def real(x):
        return torch.as_tensor(x, dtype=dtype, device=device)

    def index(x):
        return torch.as_tensor(x, device=device)

    return Structure(
        species=index(kinds),
        positions=real(atoms.positions),
        spins=real(spins),
        i=index(pairs.i),
        j=index(pairs.j),
        pair_shifts=real(pairs.shifts @ cell),
        slots=index(pairs.slots()) if with_slots else None,
        volume=float(abs(np.linalg.det(cell))),
    )


class Gradient:
    """Derivatives of B energies, accumulated by the parts of a descriptor.

    Attributes
    ----------
    positions : (B, N, 3), eV/Angstrom; virial : (B, 3, 3), eV
        dE/dR and sum over pairs of dE/dr (x) r; None when only spins are wanted.
    spins : (B, N, 3), eV
        dE/de for each unit spin (not yet projected).
    """

    def __init__(self, structure, batch, lattice=True):
        like = structure.positions
        self.spins = like.new_zeros(batch, len(structure), 3)
        self.positions = like.new_zeros(batch, len(structure), 3) if lattice else None
        self.virial = like.new_zeros(batch, 3, 3) if lattice else None

    @property
    def lattice(self):
        return self.positions is not None


def flat_index(index, batch, size):
    """Rows ``index`` of each of ``batch`` tables of ``size`` rows, as rows of the tables one below the other."""
    if batch == 1:
        return index
    return (index + size * torch.arange(batch, device=index.device).unsqueeze(1)).reshape(-1)


def add_rows(table, index, rows):
    """table[:, index] += rows for table (B, N, c) and rows (B, P, c), repeated indices added up, in place.

    One flat list of rows: adding along the second axis is twenty times slower.
    """
    batch, size, columns = table.shape
    table.view(-1, columns).index_add_(0, flat_index(index, batch, size), rows.reshape(-1, columns))
