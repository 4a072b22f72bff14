"""LatticeDescriptor: spins on the sites of a planar lattice, as seen by the point group of a site."""

import math
import numbers

import numpy as np
import torch
from ase import Atoms
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ase_spinml.descriptors.conditioned import Conditioned
from ase_spinml.descriptors.lattice_block import LatticeBlock, Variables
from ase_spinml.descriptors.point_groups import find_group, permutation, point_group
from ase_spinml.descriptors.structure import Structure
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins
from ase_spinml.neighbors import NeighborList

SAME = 0.02
"""Distance in Angstrom within which a site is where the lattice has one."""


class LatticeDescriptor(TransformerMixin, BaseEstimator):
    """Invariant features of the spins around every site of a planar lattice (Chern et al., arXiv:2604.11513).

    Bonds e_0.e_j, e_j.e_k and scalar chiralities e_0.(e_j x e_k) of the neighbours within a radius are projected on the
    irreducible representations of the point group of a site, and combined to power spectra, relative phases and a
    bispectrum: see :class:`ase_spinml.descriptors.lattice_block.LatticeBlock`. Features are invariant under that group
    and under rotations of all spins, and do not change with the size of the lattice. Sites that are missing, at open
    ends, count as sites without a spin.

    It is a scikit-learn transformer with the face of :class:`~ase_spinml.SOSO`.

    Parameters
    ----------
    radius : float
        Range in Angstrom (lattice models count distances in the lattice spacing, 1 Angstrom).
    pair_radius : float
        Largest distance of two neighbours whose bond and chirality are features.
    group : str
        "auto", the largest group of the lattice, or one of C1, C2, C3, C4, C6, D1, D2, D3, D4, D6: a bias leaves only
        operations that keep its direction, D1 with the mirror line along it.
    axis : float
        Angle in degrees of a mirror line with x, for a named group.
    chirality : bool
        Scalar chiralities, which bring features that are odd under time reversal, for networks.
    cross : bool
        All products of bonds of one irrep, beyond powers and phases.
    parameters : sequence of str
        Names of numbers in ``atoms.info``, "voltage" for one, that a model shall depend on: all features times their
        first and second powers are features, too.

    Examples
    --------
    >>> from ase_spinml import LatticeDescriptor
    >>> from ase_spinml.electrons import spin_lattice
    >>> atoms = spin_lattice("square", (6, 6), "AFM")
    >>> features = LatticeDescriptor(radius=2.0, pair_radius=1.0).fit([atoms])(atoms)
    >>> len(features), bool(abs(features - features[0]).max() < 1e-12)      # all sites are alike
    (36, True)
    """

    magnetic = None
    """All sites carry spins."""
    main_block = "lattice"

    def __init__(
        self, radius=3.0, pair_radius=1.0, group="auto", *, axis=0.0, chirality=False, cross=False, parameters=()
    ):
        self.radius = radius
        self.pair_radius = pair_radius
        self.group = group
        self.axis = axis
        self.chirality = chirality
        self.cross = cross
        self.parameters = parameters
        if isinstance(parameters, str):
            raise InputError(f"Expected parameters to be a list of names, got {parameters!r}: write [{parameters!r}].")
        for name in ("radius", "pair_radius"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not 0 < value < math.inf:
                raise InputError(f"Expected {name} to be a positive length in Angstrom, got {value!r}.")
        if group != "auto":
            point_group(group)

    @property
    def cutoff(self):
        """Range in Angstrom."""
        return self.radius

    @property
    def species(self):
        """The one element of the sites."""
        check_is_fitted(self, "species_")
        return self.species_

    def magnetic_species(self):
        """The one element of the sites."""
        return list(self.species)

    def fit(self, frames, y=None):
        """Find element, neighbours and point group of a lattice from frames (list of ase.Atoms); returns self.

        Raises InputError for sites of several elements or without moments, sites out of one plane, a radius without
        neighbours, frames that are no lattice, and a group that the lattice does not have.
        """
        frames = _frame_list(frames)
        self.species_ = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
        if len(self.species_) > 1:
            raise InputError(
                f"Expected sites of one element, got {', '.join(self.species_)}: use SOSO for unlike atoms."
            )
        self.offsets_ = self._find_offsets(frames)
        self.group_ = self._find_group()
        return self

    def _find_offsets(self, frames):
        """Vectors to all neighbours of any site, (K, 2), by distance and angle."""
        found = []
        for frame in frames:
            if np.ptp(frame.positions[:, 2]) > SAME:
                raise InputError("Expected sites in one plane z = const, got a thicker lattice: use SOSO for it.")
            _, _, vectors = self._pairs(frame)
            found.append(np.unique(np.round(np.vstack([vectors, -vectors])[:, :2], 6), axis=0))
        points = np.unique(np.vstack(found), axis=0)
        if not len(points):
            raise InputError(f"Expected neighbours within radius={self.radius} Angstrom of a site, got none: raise it.")
        if len(np.unique(np.round(points / SAME), axis=0)) > 10 * (self.radius + 1) ** 2 * math.pi:
            raise InputError(
                f"Expected the sites of a lattice, got {len(points)} different neighbours: use SOSO for amorphous ones."
            )
        points = np.array([group.mean(0) for group in _clusters(points, SAME)])
        return points[np.lexsort([np.arctan2(points[:, 1], points[:, 0]), np.round(np.linalg.norm(points, axis=1), 3)])]

    def _find_group(self):
        if self.group == "auto":
            return find_group(self.offsets_)
        group = point_group(self.group, math.radians(self.axis))
        if any(permutation(self.offsets_, matrix) is None for matrix in group.matrices):
            raise InputError(
                f"Expected a group of the lattice, got {self.group} with axis={self.axis:g}, which moves neighbours to "
                f"places without any; the lattice has {find_group(self.offsets_).name}."
            )
        return group

    def _pairs(self, atoms):
        pairs = NeighborList(self.radius + SAME)
        pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
        vectors = atoms.positions[pairs.j] - atoms.positions[pairs.i] + pairs.shifts @ atoms.cell.array
        return pairs.i, pairs.j, vectors

    def blocks(self, dtype=torch.float64, device="cpu"):
        """The block by its name, as an object that computes features and pulls derivatives back."""
        variables = Variables(self.offsets_, self.group_, self.pair_radius)
        block = LatticeBlock(variables, self.group_, self.chirality, self.cross, dtype, device)
        return {"lattice": Conditioned(block, self.parameters) if self.parameters else block}

    def structure(self, atoms, dtype=torch.float64, device="cpu", neighbor_list=None):
        """Tensors of one frame; its neighbours are those of the lattice, whatever ``neighbor_list``.

        Raises InputError for an empty frame, another element, missing moments, missing parameters, and sites where the
        lattice has none.
        """
        if len(atoms) == 0:
            raise InputError("a frame needs at least one atom, got an empty ase.Atoms")
        strangers = sorted(set(atoms.get_chemical_symbols()) - set(self.species))
        if strangers:
            raise InputError(
                f"the descriptor knows sites of {self.species[0]}, but the frame contains {', '.join(strangers)}"
            )
        nothing = torch.zeros(0, dtype=torch.long, device=device)
        return Structure(
            species=torch.zeros(len(atoms), dtype=torch.long, device=device),
            positions=torch.as_tensor(atoms.positions, dtype=dtype, device=device),
            spins=torch.as_tensor(self.spins(atoms), dtype=dtype, device=device),
            i=nothing,
            j=nothing,
            pair_shifts=torch.zeros(0, 3, dtype=dtype, device=device),
            slots=None,
            volume=float(abs(np.linalg.det(atoms.cell.array))),
            sites=torch.as_tensor(self._site_table(atoms), device=device),
            parameters=torch.as_tensor([self.parameter_values(atoms)], dtype=dtype, device=device),
        )

    def parameter_values(self, atoms):
        """Values of the parameters of a frame, a list of float."""
        values = [atoms.info.get(name) for name in self.parameters]
        for name, value in zip(self.parameters, values, strict=True):
            if not isinstance(value, (numbers.Real, np.number)) or not math.isfinite(value):
                raise InputError(
                    f"Expected atoms.info[{name!r}] to be a number, as the descriptor has parameters="
                    f"{list(self.parameters)}, got {value!r}: set it on every frame."
                )
        return [float(value) for value in values]

    def _site_table(self, atoms):
        """Site at every offset, (N, K), -1 where there is none."""
        i, j, vectors = self._pairs(atoms)
        table = np.full((len(atoms), len(self.offsets_)), -1, dtype=np.int64)
        tree = cKDTree(self.offsets_)
        for centre, neighbor, vector in ((i, j, vectors), (j, i, -vectors)):
            distance, place = tree.query(vector[:, :2])
            wrong = (distance > 2 * SAME) & (np.linalg.norm(vector, axis=1) < self.radius + 0.5 * SAME)
            if wrong.any():
                k = int(centre[np.argmax(wrong)])
                raise InputError(
                    f"Expected the lattice that the descriptor was fitted to, got a neighbour of site {k} where it has "
                    "none: use frames of the same lattice."
                )
            right = distance <= 2 * SAME
            table[centre[right], place[right]] = neighbor[right]
        return table

    def spins(self, atoms):
        """Unit spins (N, 3)."""
        return get_spins(atoms)

    def __call__(self, atoms):
        """Features of every site, (N, n_features)."""
        return self.transform(atoms)

    def transform(self, frames):
        """Features of all sites of all frames, one below the other, (sum N, n_features)."""
        check_is_fitted(self, "species_")
        block = self.blocks()["lattice"]
        parts = (part for frame in _frame_list(frames) for part in block.parts(self.structure(frame)))
        return np.concatenate([part.features.numpy() for part in parts])

    def get_feature_names_out(self, input_features=None):
        """Names telling parity, kind and irrep of every feature, (n_features,) array of str."""
        return np.array(self.blocks()["lattice"].names(None, None), dtype=object)

    @property
    def n_features(self):
        """Number of features of one site."""
        return self.blocks()["lattice"].n_features


def _clusters(points, size):
    """Points closer than ``size`` to each other, a list of (n, 2) arrays."""
    left = list(range(len(points)))
    while left:
        near = [k for k in left if np.linalg.norm(points[k] - points[left[0]]) < size]
        left = [k for k in left if k not in near]
        yield points[near]


def _frame_list(frames):
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("at least one frame is needed, got an empty list")
    return frames
