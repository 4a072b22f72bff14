"""SOSO, the smooth overlap of spin orientations: descriptor of spin-decorated atomic environments."""

import math
import numbers

import numpy as np
import torch
from ase import Atoms
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ase_spinml.descriptors.basis import spin_smearing
from ase_spinml.descriptors.chirality import Chirality
from ase_spinml.descriptors.density import Density
from ase_spinml.descriptors.pairs import PairBlock
from ase_spinml.descriptors.spectrum import PowerSpectrum
from ase_spinml.descriptors.spinorbit import SpinOrbit
from ase_spinml.descriptors.structure import species_indices, structure_from_atoms
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins, magnetic_mask
from ase_spinml.neighbors import NeighborList


class SOSO(TransformerMixin, BaseEstimator):
    """Invariant features of every atom's surroundings and of the spins in it (arXiv:2403.10769).

    The features are blocks by body order. Block ``pair``: c[Z, n, l] = sum_j h_n(r_ij) a_l P_l(e_i.e_j), the two-body
    form of the paper. Block ``angle`` (``body_order=3``): power spectra of the spin-decorated neighbour density, that
    is P_l(angle jik) times 1, e_i.e_j, (e_i.e_j)(e_i.e_k) and e_j.e_k. Block ``spin-orbit``: what the joint rotation
    group allows beyond, see :class:`ase_spinml.descriptors.spinorbit.SpinOrbit`. Without that block the features are
    unchanged by separate rotations of space and of all spins, by inversion and by time reversal. Block ``chirality``:
    e_i.(e_j x e_k), odd under time reversal.

    It is a scikit-learn transformer: parameters by keyword, ``get_params``, ``clone`` and pipelines work.

    Parameters
    ----------
    species : list of str
        Elements, magnetic or not.
    cutoff : float
        Range in Angstrom.
    n_max : int
        Radial functions of the pair block.
    spin_l_max : int
        Highest power l of P_l(e_i.e_j) in the pair block.
    body_order : 2 or 3
    spin_orbit : bool
        Add the spin-orbit block.
    chirality : bool
        Add scalar chiralities of a spin and two neighbours (:class:`ase_spinml.descriptors.chirality.Chirality`), for
        networks; SpinGAP, whose energy is even under time reversal, refuses them.
    n_max_angular, l_max : int
        Radial functions and highest angular momentum of the angle block.
    spin_l_max_angular : int
        1: spins enter the angle block as vectors; L > 1 adds P_2(e_i.e_j) .. P_L(e_i.e_j).
    width : float
        Gaussian width of an atom in Angstrom.
    spin_smearing : "heat" or "von-mises-fisher"
        Smearing of a spin on the sphere.
    spin_width : float
        Its width in radian; 0 is a point spin.
    magnetic : list of str, optional
        Elements whose moments count; those of all others (small induced ones, say) are taken as zero. By default the
        elements that :meth:`fit` finds with moments, and all elements before that.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_spinml import SOSO, set_moments
    >>> atoms = bulk("Fe", cubic=True)
    >>> set_moments(atoms, [[0, 0, 2.2], [2.2, 0, 0]])
    >>> descriptor = SOSO(species=["Fe"], cutoff=5.0, n_max=8, spin_l_max=3, body_order=2)
    >>> descriptor(atoms).shape
    (2, 32)
    >>> descriptor.get_feature_names_out()[8]
    'pair Fe n=1 l=1'
    """

    def __init__(
        self,
        species,
        cutoff=5.0,
        n_max=8,
        spin_l_max=3,
        body_order=3,
        *,
        spin_orbit=False,
        chirality=False,
        n_max_angular=5,
        l_max=4,
        spin_l_max_angular=1,
        width=0.5,
        spin_smearing="heat",
        spin_width=0.5,
        magnetic=None,
    ):
        self.species = species
        self.cutoff = cutoff
        self.n_max = n_max
        self.spin_l_max = spin_l_max
        self.body_order = body_order
        self.spin_orbit = spin_orbit
        self.chirality = chirality
        self.n_max_angular = n_max_angular
        self.l_max = l_max
        self.spin_l_max_angular = spin_l_max_angular
        self.width = width
        self.spin_smearing = spin_smearing
        self.spin_width = spin_width
        self.magnetic = magnetic
        self._check()

    def _check(self):
        if isinstance(self.species, str) or not len(self.species) or len(set(self.species)) != len(self.species):
            raise InputError(f"species must be a list of different element symbols, got {self.species!r}")
        if self.body_order not in (2, 3):
            raise InputError(f"body_order must be 2 or 3, got {self.body_order!r}")
        for name, least in {
            "n_max": 1,
            "spin_l_max": 0,
            "n_max_angular": 1,
            "l_max": 0,
            "spin_l_max_angular": 1,
        }.items():
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"{name} must be an integer >= {least}, got {value!r}")
        for name in ("cutoff", "width"):
            if not isinstance(getattr(self, name), numbers.Real) or not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a positive length in Angstrom, got {getattr(self, name)!r}")
        unknown = sorted(set(self.magnetic or ()) - set(self.species))
        if unknown:
            raise InputError(f"magnetic= names {', '.join(unknown)}, which species= does not contain")
        spin_smearing(self.spin_smearing, self.spin_width, 1)

    @property
    def main_block(self):
        """The block of highest body order, on which kernels are not linear."""
        return "angle" if self.body_order == 3 else "pair"

    def magnetic_species(self):
        """Elements taken as magnetic: ``magnetic=``, else those found by :meth:`fit`, else all."""
        if self.magnetic is not None:
            return list(self.magnetic)
        return list(getattr(self, "magnetic_species_", self.species))

    def fit(self, frames, y=None):
        """Find the magnetic elements of some frames (list of ase.Atoms with moments); returns self.

        Raises InputError when an element (one of ``magnetic=``, if given) has zero moments on some atoms and not on
        others, and when one of ``magnetic=`` has zero moments only.
        """
        seen = {}
        for frame in _frame_list(frames):
            for symbol, magnetic in zip(frame.get_chemical_symbols(), magnetic_mask(frame), strict=True):
                seen.setdefault(symbol, set()).add(bool(magnetic))
        counting = seen if self.magnetic is None else [z for z in self.magnetic if z in seen]
        mixed = [z for z in counting if len(seen[z]) == 2]
        if mixed:
            raise InputError(
                f"{mixed[0]} has moments on some atoms and zero moments on others: give every {mixed[0]} atom its "
                "moment vector, or leave the frames with zero moments out"
            )
        zero = [z for z in self.magnetic or () if seen.get(z) == {False}]
        if zero:
            raise InputError(f"magnetic= names {zero[0]}, but every {zero[0]} atom has a zero moment: set its moments")
        if self.magnetic is None:
            self.magnetic_species_ = [z for z in self.species if True in seen.get(z, ())]
        self.is_fitted_ = True
        return self

    def blocks(self, dtype=torch.float64, device="cpu"):
        """The blocks by name, as objects that compute features and pull derivatives back."""
        magnetic = [z in self.magnetic_species() for z in self.species]
        smearing = spin_smearing(self.spin_smearing, self.spin_width, max(self.spin_l_max, self.spin_l_max_angular))
        made = {
            "pair": PairBlock(
                self.cutoff, self.n_max, self.width, smearing[: self.spin_l_max + 1], magnetic, dtype, device
            )
        }

        def density(spin_l_max):
            radial = (self.cutoff, self.n_max_angular, self.l_max, self.width)
            return Density(*radial, smearing[: spin_l_max + 1], len(self.species), dtype, device)

        if self.body_order == 3:
            made["angle"] = PowerSpectrum(density(self.spin_l_max_angular), magnetic, dtype, device)
        if self.spin_orbit:
            made["spin-orbit"] = SpinOrbit(self.cutoff, 4, self.width, smearing, magnetic, dtype, device)
        if self.chirality:
            made["chirality"] = Chirality(density(1), magnetic, device)
        return made

    def structure(self, atoms, dtype=torch.float64, device="cpu", neighbor_list=None):
        """Tensors of one frame, a :class:`ase_spinml.descriptors.structure.Structure`.

        Parameters
        ----------
        atoms : ase.Atoms
            With (N, 3) moments.
        neighbor_list : NeighborList, optional
            A list to use and to bring up to date; by default a new one without skin.

        Raises
        ------
        InputError
            For an empty frame, unknown species, missing or collinear moments, positions that are not finite.
        """
        if len(atoms) == 0:
            raise InputError("a frame needs at least one atom, got an empty ase.Atoms")
        kinds = species_indices(atoms, self.species)
        spins = self.spins(atoms)
        pairs = NeighborList(self.cutoff) if neighbor_list is None else neighbor_list
        pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
        with_slots = self.body_order > 2 or self.spin_orbit or self.chirality
        return structure_from_atoms(atoms, kinds, spins, pairs, with_slots, dtype, device)

    def spins(self, atoms):
        """Unit spins (N, 3) as the descriptor sees them: zero rows for elements outside ``magnetic=``."""
        spins = get_spins(atoms)
        if self.magnetic is not None:
            spins[~np.isin(atoms.get_chemical_symbols(), self.magnetic)] = 0.0
        return spins

    def __call__(self, atoms):
        """Features of every atom, (N, n_features).

        Parameters
        ----------
        atoms : ase.Atoms
            With (N, 3) moments in mu_B.
        """
        structure = self.structure(atoms)
        blocks = self._fixed_blocks().values()
        return np.concatenate(
            [torch.cat([part.features for part in block.parts(structure)]).numpy() for block in blocks], axis=1
        )

    def transform(self, frames):
        """Features of all atoms of all frames, one below the other, (sum N, n_features)."""
        check_is_fitted(self, "is_fitted_")
        return np.concatenate([self(frame) for frame in _frame_list(frames)])

    def get_feature_names_out(self, input_features=None):
        """Names telling block, species, n and l of every feature, (n_features,) array of str."""
        magnetic = [z in self.magnetic_species() for z in self.species]
        names = [n for block in self._fixed_blocks().values() for n in block.names(self.species, magnetic)]
        return np.array(names, dtype=object)

    @property
    def n_features(self):
        """Number of features of one atom."""
        return sum(block.n_features for block in self._fixed_blocks().values())

    def _fixed_blocks(self):
        """Double-precision blocks on the CPU, made once for the present parameters."""
        key = repr((self.get_params(), self.magnetic_species()))
        if getattr(self, "_blocks_key", None) != key:
            self._check()
            self._blocks, self._blocks_key = self.blocks(), key
        return self._blocks

    def __getstate__(self):
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ("_blocks", "_blocks_key")}


def _frame_list(frames):
    """A list of frames from a list or a single frame; refuses an empty one."""
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("at least one frame is needed, got an empty list")
    return frames
