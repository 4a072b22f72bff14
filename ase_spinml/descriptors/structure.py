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
    sites : (N, K) long or None
        For lattices: the site at every offset from a site, -1 where there is none.
    parameters : (n_frames, P) or None
        Numbers on which features of the whole frame depend.
    frames : (N,) long or None
        For several frames as one graph (:func:`concatenate`): the frame of each atom.
    n_frames : int
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
    sites: torch.Tensor | None = None
    parameters: torch.Tensor | None = None
    frames: torch.Tensor | None = None
    n_frames: int = 1
    cache: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.species)

    def with_spins(self, spins):
        """The same lattice with other spins (N, 3): lattice work in the cache is kept."""
        return replace(self, spins=spins)

    def with_positions(self, positions):
        """The same neighbours and cell with other positions (N, 3) and an empty cache."""
        return replace(self, positions=positions, cache={})


def concatenate(structures):
    """Several structures as one graph without edges between them.

    Parameters
    ----------
    structures : list of Structure
        All with a table of slots or all without.

    Returns
    -------
    Structure
        Atoms and pairs in the order given; its ``volume`` is 0, as it has no single one.
    """
    atoms = np.cumsum([0, *(len(s) for s in structures)]).tolist()
    pairs = np.cumsum([0, *(len(s.i) for s in structures)]).tolist()
    slots = None
    if structures[0].slots is not None:
        slots = _joined_slots([s.slots for s in structures], [len(s.i) for s in structures], pairs)
    sites = None
    if structures[0].sites is not None:
        firsts = zip([s.sites for s in structures], atoms, strict=False)
        sites = torch.cat([torch.where(table >= 0, table + first, -1) for table, first in firsts])
    counts = torch.tensor([len(s) for s in structures])
    return Structure(
        species=torch.cat([s.species for s in structures]),
        positions=torch.cat([s.positions for s in structures]),
        spins=torch.cat([s.spins for s in structures]),
        i=torch.cat([s.i + first for s, first in zip(structures, atoms, strict=False)]),
        j=torch.cat([s.j + first for s, first in zip(structures, atoms, strict=False)]),
        pair_shifts=torch.cat([s.pair_shifts for s in structures]),
        slots=slots,
        volume=0.0,
        sites=sites,
        parameters=None if structures[0].parameters is None else torch.cat([s.parameters for s in structures]),
        frames=torch.repeat_interleave(torch.arange(len(structures)), counts).to(structures[0].species.device),
        n_frames=len(structures),
    )


def _joined_slots(tables, own, before):
    """Tables of slots one below the other: pair p of a frame becomes p + first, its reverse moves past all pairs."""
    total, width = before[-1], max(table.shape[1] for table in tables)
    joined = []
    for table, count, first in zip(tables, own, before, strict=False):
        moved = torch.where(table >= count, table + (total - count) + first, table + first)
        moved = torch.where(table >= 0, moved, -1)
        joined.append(torch.nn.functional.pad(moved, (0, width - table.shape[1]), value=-1))
    return torch.cat(joined)


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
    positions : (B, N, 3), eV/Angstrom; virial : (B, n_frames, 3, 3), eV
        dE/dR and, for each frame, the sum over its pairs of dE/dr (x) r; None when only spins are wanted.
    spins : (B, N, 3), eV
        dE/de for each unit spin (not yet projected).

    With ``centred``, the energy E_i of each atom is differentiated with its own spin alone, neighbours frozen: rows are
    dE_i/de_i. Positions make no sense then.
    """

    def __init__(self, structure, batch, lattice=True, centred=False):
        like = structure.positions
        self.centred = centred
        self.spins = like.new_zeros(batch, len(structure), 3)
        self.positions = like.new_zeros(batch, len(structure), 3) if lattice else None
        self.virial = like.new_zeros(batch, structure.n_frames, 3, 3) if lattice else None
        self._frames = structure.frames

    @property
    def lattice(self):
        return self.positions is not None

    def add_virial(self, atoms, slope, vector):
        """Add dE/dr (x) r of pairs: ``slope`` (B, P, 3) by their ``vector`` (P, 3), of the frames of ``atoms`` (P,)."""
        if self._frames is None:
            self.virial += (slope.transpose(1, 2) @ vector).unsqueeze(1)
            return
        products = (slope.unsqueeze(3) * vector.unsqueeze(1)).flatten(2)
        add_rows(self.virial.view(len(slope), -1, 9), self._frames.index_select(0, atoms), products)


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
