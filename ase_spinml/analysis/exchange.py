"""Exchange tensors J_ij of any energy of spins, from its second derivatives at a reference state.

A table (i, j, S, J) couples atom i to the image of atom j in cell S, with a tensor J (3, 3) in eV,

    E = -(1/2) sum over all rows of e_i . J e_j,

every pair listed from both its ends, J_ji = J_ij^T. The tensor has three parts, J e_i.e_j, D.(e_i x e_j) and a
symmetric traceless one.

Spins keep their length, so that a reference state determines only what is transverse to both spins, the four numbers
t_ia . J t_jb = -d^2 E / (dx_ia dx_jb). The rest comes from the same state turned as a whole. If the energy stays the
same then (no spin-orbit coupling), the derivatives turn along and need not be computed again; if not, they are taken
at three states whose main axis lies along z, x and y (for spins along z), and J is the tensor that fits all of them
best: a component seen twice is the mean. What is more than bilinear in the spins, such as biquadratic exchange B,
enters as seen from the reference: J + 2 B in a ferromagnet, J - 2 B between opposite spins.
"""

import numpy as np

from ase_spinml.analysis.curvature import Supercell, curvature, fields, frames_of
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import exponential
from ase_spinml.moments import get_spins, magnetic_mask, random_directions, transverse
from ase_spinml.neighbors import NeighborList

INVARIANT = 1e-7
"""Fields that turn with all spins to this accuracy, relative to the largest, are those of an energy without axes."""


def exchange_tensors(atoms, cutoff, automatic=True):
    """Exchange tensors of all pairs of magnetic atoms closer than a cutoff.

    Parameters
    ----------
    atoms : ase.Atoms
        N atoms in the reference state, with a calculator that gives ``exchange_fields``. Cells smaller than twice the
        cutoff are repeated internally.
    cutoff : float
        Angstrom. Couplings beyond it are folded back onto nearer images where the supercell does not resolve them, so
        cover the range of the energy: that of its neighbours for pairs, twice that for three-body models.
    automatic : bool
        Differentiate SpinGAP exactly; False takes central differences for every calculator.

    Returns
    -------
    i, j : (P,) int arrays
        Atoms.
    S : (P, 3) int array
        Cell of the second atom relative to the first.
    J : (P, 3, 3) array
        eV.

    Raises
    ------
    InputError
        No usable moments, calculator or cutoff, torques that derive from no energy, no two magnetic atoms within the
        cutoff.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg
    >>> from ase_spinml.analysis import exchange_tensors
    >>> atoms = Atoms("Fe", cell=[2.5, 9, 9], pbc=(True, False, False), magmoms=[[0, 0, 2.0]])
    >>> atoms.calc = Heisenberg(exchange=[0.010])
    >>> i, j, S, J = exchange_tensors(atoms, cutoff=3.0)
    >>> S[:, 0].tolist(), J[:, 0, 0].round(6).tolist()         # both neighbours, 10 meV
    ([-1, 1], [0.01, 0.01])
    """
    supercell = Supercell(atoms, cutoff)
    i, j, S = magnetic_pairs(atoms, cutoff)
    first = np.searchsorted(supercell.site[supercell.home], i)
    second = supercell.index(j, S)
    spins = get_spins(supercell.frame)
    invariant = turns_along(supercell.frame)
    designs, seen, start = [], [], None
    for rotation in orientations(spins):
        turned = spins @ rotation.T
        tangents = frames_of(supercell, spins) @ rotation.T
        if start is None or not invariant:
            start = curvature(supercell, turned, tangents, automatic)
        designs.append(np.einsum("pax,pby->pabxy", tangents[supercell.home[first]], tangents[second]))
        seen.append(-start[first, :, second, :])
    design = np.stack(designs, axis=1).reshape(len(i), -1, 9)
    J = np.einsum("pxk,pk->px", np.linalg.pinv(design, rcond=1e-6), np.stack(seen, axis=1).reshape(len(i), -1))
    J = J.reshape(-1, 3, 3)
    return i, j, S, 0.5 * (J + J[reverse(i, j, S)].transpose(0, 2, 1))


def decompose(J):
    """Isotropic, antisymmetric and symmetric parts of exchange tensors, in the unit of the tensors.

    Parameters
    ----------
    J : (P, 3, 3) array

    Returns
    -------
    isotropic : (P,) array
        A third of the trace; positive is ferromagnetic.
    dmi : (P, 3) array
        D with e_i.J e_j = ... + D.(e_i x e_j), the sign of :class:`~ase_spinml.calculators.analytic.Heisenberg`.
    anisotropic : (P, 3, 3) array
        The symmetric traceless rest.

    Raises
    ------
    InputError
        Another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import decompose
    >>> isotropic, dmi, anisotropic = decompose(np.array([[[0.02, 0.003, 0], [-0.003, 0.02, 0], [0, 0, 0.02]]]))
    >>> isotropic.round(6).tolist(), dmi.round(6).tolist()
    ([0.02], [[0.0, 0.0, 0.003]])
    """
    J = np.asarray(J, dtype=float)
    if J.ndim != 3 or J.shape[1:] != (3, 3):
        raise InputError(f"Expected exchange tensors of shape (P, 3, 3), got shape {J.shape}.")
    isotropic = np.trace(J, axis1=1, axis2=2) / 3
    odd = 0.5 * (J - J.transpose(0, 2, 1))
    dmi = np.stack([odd[:, 1, 2], odd[:, 2, 0], odd[:, 0, 1]], axis=1)
    return isotropic, dmi, J - odd - isotropic[:, None, None] * np.eye(3)


def magnetic_pairs(atoms, cutoff):
    """Pairs (i, j, S) of magnetic atoms closer than ``cutoff``, from both ends, sorted; InputError if none."""
    pairs, magnetic = NeighborList(cutoff), magnetic_mask(atoms)
    pairs.update(atoms.positions, atoms.cell.array, atoms.pbc)
    i, j = np.concatenate([pairs.i, pairs.j]), np.concatenate([pairs.j, pairs.i])
    S = np.concatenate([pairs.shifts, -pairs.shifts]).astype(int)
    both = magnetic[i] & magnetic[j]
    if not both.any():
        raise InputError(f"Expected magnetic atoms closer than {cutoff:g} Angstrom, got none: give a longer cutoff.")
    i, j, S = i[both], j[both], S[both]
    order = np.lexsort([*S.T[::-1], j, i])
    return i[order], j[order], S[order]


def reverse(i, j, S):
    """Row (P,) that lists the pair of each sorted row from its other end."""
    order = np.lexsort([*-S.T[::-1], i, j])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return back


def orientations(spins):
    """Rotations (3, 3, 3) that leave the main axis n of a state (N, 3) where it is, or permute u, v, n in turn."""
    n = np.linalg.eigh(spins.T @ spins)[1][:, -1]
    u = np.eye(3)[np.argmin(np.abs(n))]
    u = np.cross(n, u) / np.linalg.norm(np.cross(n, u))
    basis = np.stack([u, np.cross(n, u), n])
    return [basis.T @ np.roll(basis, k, axis=0) for k in range(3)]


def turns_along(frame):
    """Whether fields turn with the spins when all turn by one angle: no spin-orbit coupling, no fields or axes.

    Tried on spins up to 20 degrees off those of the frame, for one rotation about no axis of the crystal.
    """
    spins = get_spins(frame)
    tilts = transverse(random_directions(len(spins), 1), spins)
    tilted = exponential(spins, np.radians(20) * tilts)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    here, there = fields(frame, tilted), fields(frame, tilted @ rotation.T)
    return bool(np.abs(here @ rotation.T - there).max() <= INVARIANT * np.abs(here).max())
