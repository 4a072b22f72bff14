"""Second derivatives of the energy of a crystal with respect to the directions of its spins.

Spin (i, S) of cell S is turned along its tangents t_i1, t_i2 = e_i x t_i1. With the transverse F = m H in eV, the
derivatives are

    K_ia,jSb = d^2 E / (dx_ia dx_jSb) = -t_jSb . dF_jS/dx_ia,

covariant on the spheres, so that the block of a spin with itself holds the restoring field of all others. Translations
leave K alone: rows of one cell are enough. They are found in a supercell, where a coupling stands for the sum over all
images of the second spin, and are put down to the nearest one.

SpinGAP is differentiated exactly, by forward automatic differentiation of its analytic fields; any other calculator by
central differences of ``exchange_fields``.
"""

import warnings

import numpy as np
from ase import Atoms

from ase_spinml import checks
from ase_spinml.analysis.curls import tangent_frames
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import exponential, rotation_matrices
from ase_spinml.moments import FIELDS, get_moments, set_moments, transverse
from ase_spinml.terms import is_conservative, terms_of

STEP = 3e-4
"""Turn of the central differences in radians; errors of third order and rounding are below 1e-7."""


class Supercell:
    """A crystal repeated until every coupling shorter than a cutoff is met once.

    Parameters
    ----------
    atoms : ase.Atoms
        N atoms with moments and a calculator that gives ``exchange_fields``.
    cutoff : float
        Angstrom.
    spiral : tuple of two (3,) arrays, optional
        Wave vector k and axis of a spiral: spins of cell S are those of cell 0, turned about the axis by 2 pi k.S. The
        supercell is one cell wider on either side then, as its boundary does not fit the spiral.

    Attributes
    ----------
    frame : ase.Atoms
        M atoms, with moments and the calculator; first those of cell 0, so that terms of single atoms find theirs.
    repeats : (3,) int array
    site : (M,) int array; cell : (M, 3) int array
        The atom of the crystal that each atom is an image of, and in which cell.
    home : (n,) int array
        The n magnetic atoms of cell 0, in the order of the crystal.
    rotations : (M, 3, 3) array
        How the spins of each atom's cell are turned against those of cell 0.

    Raises
    ------
    InputError
        No usable moments, calculator or cutoff; fields that are no derivatives of an energy.
    """

    def __init__(self, atoms, cutoff, spiral=None):
        checks.calculator(atoms, (FIELDS,))
        checks.positive("cutoff", cutoff, "Angstrom")
        if not is_conservative(atoms.calc):
            raise InputError(
                "Expected fields that are derivatives of an energy, got torques that are not: second derivatives of an "
                "energy need a model with head='conservative', or terms without currents."
            )
        moments = get_moments(atoms)
        if not moments.any():
            raise InputError("Expected a state with moments, got zero rows only: set moments first.")
        k, axis = spiral if spiral is not None else (np.zeros(3), np.array([0.0, 0.0, 1.0]))
        heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.complete().array), axis=0)
        repeats = np.where(atoms.pbc, np.floor(2 * cutoff / heights).astype(int) + 1, 1)
        self.repeats = np.where(atoms.pbc & (np.asarray(k) != 0), repeats + 2, repeats)
        ranges = [(np.arange(n) + n // 2) % n - n // 2 for n in self.repeats]  # 0, 1, ..., -1
        cells = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        self.site, self.cell = np.tile(np.arange(len(atoms)), len(cells)), np.repeat(cells, len(atoms), axis=0)
        self.rotations = rotations(axis, 2 * np.pi * self.cell @ k)
        self.home = np.flatnonzero(~self.cell.any(axis=1) & moments.any(axis=1)[self.site])
        self.frame = Atoms(
            numbers=atoms.numbers[self.site],
            positions=atoms.positions[self.site] + self.cell @ atoms.cell.array,
            cell=atoms.cell.array * self.repeats[:, None],
            pbc=atoms.pbc,
            info=dict(atoms.info),
        )
        set_moments(self.frame, np.einsum("mab,mb->ma", self.rotations, moments[self.site]))
        self.frame.calc = atoms.calc

    def index(self, site, cell):
        """Atoms (P,) of the supercell for atoms (P,) of the crystal and cells (P, 3) or (3,), images included."""
        numbers = np.ravel_multi_index(np.mod(cell, self.repeats).T, self.repeats)
        return numbers * (self.site.max() + 1) + site


def rotations(axis, angles):
    """Rotation matrices (n, 3, 3) about an axis (3,) by angles (n,) in radians, counter-clockwise."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angles = np.asarray(angles)[:, None, None]
    return np.eye(3) + np.sin(angles) * generator + (1 - np.cos(angles)) * generator @ generator


def fields(frame, spins):
    """Transverse F = m H (M, 3), eV, of the calculator of ``frame`` for other directions ``spins`` (M, 3)."""
    lengths = np.linalg.norm(get_moments(frame), axis=1)[:, None]
    turned = frame.copy()
    set_moments(turned, lengths * spins)
    found = sum(weight * term.get_property(FIELDS, turned) for term, weight in terms_of(frame.calc))
    return transverse(lengths * found, spins)


def curvature(supercell, spins, tangents, automatic=True):
    """K_ia,mb in eV for the magnetic atoms i of cell 0 and all atoms m of the supercell.

    Parameters
    ----------
    supercell : Supercell
    spins : (M, 3) array
        Directions; unit rows, zero without a moment.
    tangents : (M, 2, 3) array
        Tangents of every atom.
    automatic : bool
        Differentiate SpinGAP exactly; False takes central differences of every term.

    Returns
    -------
    (n, 2, M, 2) array
    """
    changes = np.zeros((len(supercell.home), 2, len(spins), 3))
    frame = supercell.frame.copy()
    for term, weight in terms_of(supercell.frame.calc):
        frame.calc = term
        find = _automatic if automatic and _is_kernel_model(term) else _differences
        for i, atom in enumerate(supercell.home):
            for a in range(2):
                turn = np.zeros_like(spins)
                turn[atom] = tangents[atom, a]
                changes[i, a] += weight * find(frame, spins, turn)
    return -np.einsum("iamx,mbx->iamb", changes, tangents)


def frames_of(supercell, spins):
    """Tangents (M, 2, 3) for spins (M, 3): those of cell 0, turned along with a spiral."""
    own = np.zeros((supercell.site.max() + 1, 2, 3))
    own[supercell.site[supercell.home]] = tangent_frames(spins[supercell.home])
    return np.einsum("mab,mkb->mka", supercell.rotations, own[supercell.site])


def _differences(frame, spins, turn):
    """dF (M, 3) in eV when the spins turn by rows ``turn`` (M, 3), of length 1 or 0.

    Fields are carried back along the turns; divided by the sine, bilinear energies are differentiated exactly.
    """
    sides = []
    for tangents in (STEP * turn, -STEP * turn):
        there = fields(frame, exponential(spins, tangents))
        sides.append(np.einsum("mba,mb->ma", rotation_matrices(spins, tangents), there))
    return (sides[0] - sides[1]) / (2 * np.sin(STEP))


def _is_kernel_model(term):
    """Whether a term is a SpinCalculator of a SpinGAP without a baseline."""
    if getattr(term, "model", None) is None:
        return False
    from ase_spinml.models.gap import SpinGAP

    return isinstance(term.model, SpinGAP) and term.model.baseline_name is None


def _automatic(frame, spins, turn):
    """As :func:`_differences`, exactly: with s = dE/de, dF is -ds + (e.s) de up to parts along the spins."""
    import torch
    from torch.autograd import forward_ad

    model, device = frame.calc.model, frame.calc.device
    turned = frame.copy()
    set_moments(turned, np.linalg.norm(get_moments(frame), axis=1)[:, None] * spins)
    model.check_frame(turned)
    structure = model.descriptor_.structure(turned, device=device)
    turn = np.where(structure.spins.cpu().numpy().any(axis=1)[:, None], turn, 0.0)
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.filterwarnings("ignore", message="`torch.jit")  # of torch, when it loads its rules of differentiation
        moving = forward_ad.make_dual(structure.spins, torch.as_tensor(turn, device=device))
        slopes, change = forward_ad.unpack_dual(model.evaluator(device).spin_slopes(structure.with_spins(moving)))
    along = np.einsum("mx,mx->m", slopes.cpu().numpy(), spins)[:, None]
    return along * turn - change.cpu().numpy()
