"""Electrons that hop on a lattice and couple to classical spins: the Hamiltonian as a matrix, and its derivatives.

    H = sum_b [c_i^+ A_b c_j + h.c.] + sum_i w_i c_i^+ c_i - J sum_i S_i . c_i^+ sigma c_i

with bonds b from site i to site j, blocks A_b (2, 2) in the space of the electron's spin (-t for plain hopping),
on-site energies w_i and classical spins S_i of length 1 (0 where there is none). hbar = 1; energies are in any one
unit, the hopping t for instance. Orbitals are numbered 2 i + s, s = 0 for spin up along z.

For J -> infinity electrons are bound to follow the spins (double exchange; Anderson and Hasegawa, Phys. Rev. 100, 675
(1955)): the spinor chi_i along S_i is the one orbital of a site, the blocks become numbers chi_i^+ A_b chi_j and the
constant -J per electron is left out.

A density matrix rho_{ab} = <c_b^+ c_a> comes back from the solvers in two parts: ``site`` (..., N, o, o), rho_ii, and
``bond`` (..., P, o, o), rho_ji with the phase of the bond taken off, o being the number of orbitals of a site. So
dE = sum_i tr(dh_i rho_ii) + 2 Re sum_b tr(dA_b bond_b), also when averaged over twists.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from ase_spinml.errors import InputError

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""Pauli matrices, (3, 2, 2)."""


class SDHamiltonian:
    """Hopping, disorder and coupling of N sites: all of the Hamiltonian but the spins, which are arguments.

    Parameters
    ----------
    n_sites : int
        N.
    i, j : (P,) int arrays
        Sites of each bond, every bond once; both directions come of it.
    blocks : (P, 2, 2) complex array
        A_b, see the module; :func:`hopping_blocks` makes them.
    coupling : float
        J; ``numpy.inf`` for double exchange.
    onsite : (N,) array, optional
        w_i.
    shifts : (P, 3) array, optional
        Lattice translations S of the second site, which twists act on.

    Attributes
    ----------
    orbitals : int
        o, orbitals of a site: 2, or 1 for double exchange.
    size : int
        o N, dimension of the matrices.
    """

    def __init__(self, n_sites, i, j, blocks, coupling, onsite=None, shifts=None):
        self.n_sites, self.i, self.j, self.blocks = n_sites, np.asarray(i), np.asarray(j), np.asarray(blocks, complex)
        self.coupling = coupling
        self.orbitals = 1 if np.isinf(coupling) else 2
        self.size = self.orbitals * n_sites
        self.onsite = np.zeros(n_sites) if onsite is None else np.asarray(onsite, float)
        self.shifts = np.zeros((len(self.i), 3)) if shifts is None else np.asarray(shifts, float)
        self._find_pattern()

    def dense(self, spins, twists=None):
        """Matrices (..., M, M), or (..., K, M, M) with twists; Hermitian, M = o N.

        Parameters
        ----------
        spins : (..., N, 3) array
            Unit rows, or zero.
        twists : (K, 3) array, optional
            k in fractions of the reciprocal cell: a bond that crosses the boundary has the phase exp(2 pi i k.S).
        """
        entries = self._entries(spins, twists)
        matrices = np.zeros((*entries.shape[:-1], self.size**2), complex)
        matrices[..., self._cells] = entries
        return matrices.reshape(*entries.shape[:-1], self.size, self.size)

    def sparse(self, spins, twist=None):
        """One matrix (M, M) as a scipy csr_array whose pattern is that of the bonds whatever the spins; ``twist`` (3,).

        Rows are sorted and duplicates summed, so :meth:`density` understands data on its pattern.
        """
        entries = self._entries(spins, None if twist is None else np.asarray(twist)[None])
        data = entries if twist is None else entries[0]
        return csr_array((data, self._columns, self._pointers), shape=(self.size, self.size))

    def density(self, entries, twist=None):
        """Parts ``site`` (N, o, o) and ``bond`` (P, o, o) of a density matrix known on the pattern of :meth:`sparse`.

        ``entries`` (nnz,) are rho_ab in the order of that matrix's data.
        """
        o, p = self.orbitals, len(self.i)
        values = entries[self._cell_of_value]
        bond = values[p * o * o : 2 * p * o * o].reshape(p, o, o)
        if twist is not None:
            bond = bond * self.phases(np.asarray(twist)[None])[0][:, None, None]
        return values[2 * p * o * o :].reshape(self.n_sites, o, o), bond

    def phases(self, twists):
        """exp(2 pi i k.S), (K, P)."""
        return np.exp(2j * np.pi * np.asarray(twists) @ self.shifts.T)

    def bounds(self, twists=None):
        """Energies (low, high) between which all levels lie, whatever the spins.

        Those of hopping and disorder alone, to a hundredth of their width beyond what Lanczos' method finds, and the
        coupling on either side.
        """
        bare = SDHamiltonian(self.n_sites, self.i, self.j, self.blocks, 0.0, self.onsite, self.shifts)
        found = []
        for twist in np.zeros((1, 3)) if twists is None else twists:
            matrix = bare.sparse(np.zeros((self.n_sites, 3)), twist)
            found.append(_extremes(matrix))
        low, high = np.min(found, axis=0)[0], np.max(found, axis=0)[1]
        beyond = 0.01 * (high - low) + 1e-6 + (abs(self.coupling) if self.orbitals == 2 else 0.0)
        return float(low - beyond), float(high + beyond)

    def fields(self, spins, site, bond=None):
        """-dE/dS_i of the electrons, (..., N, 3): J tr(sigma rho_ii).

        For double exchange it takes ``bond`` too, and the part along the spin is the energy of the site's bonds, with
        the other sign and halved: E is bilinear in the two spinors of a bond.
        """
        if self.orbitals == 2:
            return self.coupling * np.einsum("sab,...nba->...ns", SIGMA, site).real
        lifted = self._lift(spins, bond)
        at_i = np.einsum("sab,pbc,...pca->...ps", SIGMA, self.blocks, lifted).real
        at_j = np.einsum("sab,pcb,...pac->...ps", SIGMA, self.blocks.conj(), lifted.conj()).real
        fields = np.zeros(spins.shape)
        flat = fields.reshape(-1, self.n_sites, 3)
        for frame, first, second in zip(
            flat, at_i.reshape(-1, *at_i.shape[-2:]), at_j.reshape(flat.shape[0], -1, 3), strict=True
        ):
            np.subtract.at(frame, self.i, first)
            np.subtract.at(frame, self.j, second)
        return fields

    def bond_slopes(self, spins, bond, derivatives):
        """2 Re tr(dA_b bond_b): what the energy of every bond changes by with its block.

        ``derivatives`` (P, ..., 2, 2) of the blocks, with any further axes; the blocks themselves give bond energies.
        Result (P, ...).
        """
        lifted = bond if self.orbitals == 2 else self._lift(spins, bond)
        return 2 * np.einsum("p...ab,pba->p...", derivatives, lifted).real

    def _lift(self, spins, bond):
        """chi_j bond chi_i^+, (..., P, 2, 2)."""
        chi = spinors(spins)
        return np.einsum("...pa,...p,...pb->...pab", chi[..., self.j, :], bond[..., 0, 0], chi[..., self.i, :].conj())

    def _values(self, spins, twists):
        """Contributions to the matrix before they are summed, (..., V): bonds, their adjoints, sites."""
        spins = np.asarray(spins, float)
        blocks = self.blocks
        if self.orbitals == 1:
            chi = spinors(spins)
            blocks = np.einsum("...pa,pab,...pb->...p", chi[..., self.i, :].conj(), blocks, chi[..., self.j, :])
            blocks = blocks[..., None, None]
        sites = self.onsite[:, None, None] * np.eye(self.orbitals)
        if self.orbitals == 2:
            sites = sites - self.coupling * np.einsum("...ns,sab->...nab", spins, SIGMA)
        lead = spins.shape[:-2]
        if twists is not None:
            lead = (*lead, len(twists))
            blocks = blocks[..., None, :, :, :] * self.phases(twists)[:, :, None, None]
            sites = np.expand_dims(sites, -4) if sites.ndim > 3 else sites
        parts = [blocks, blocks.conj().swapaxes(-1, -2), sites]
        return np.concatenate(
            [np.broadcast_to(part, (*lead, *part.shape[-3:])).reshape(*lead, -1) for part in parts], -1
        )

    def _entries(self, spins, twists):
        """Elements of the matrix on its pattern, (..., nnz)."""
        values = self._values(spins, twists)
        flat = values.reshape(-1, values.shape[-1])
        return (self._sum @ flat.T).T.reshape(*values.shape[:-1], -1)

    def _find_pattern(self):
        o, n = self.orbitals, self.n_sites
        site = np.concatenate([self.i, self.j, np.arange(n)])
        other = np.concatenate([self.j, self.i, np.arange(n)])
        rows = o * site[:, None, None] + np.arange(o)[:, None] + np.zeros((o, o), int)
        columns = o * other[:, None, None] + np.arange(o)
        flat = (rows * self.size + columns).ravel()
        self._cells, self._cell_of_value = np.unique(flat, return_inverse=True)
        self._columns = self._cells % self.size
        self._pointers = np.searchsorted(self._cells, self.size * np.arange(self.size + 1))
        shape = (len(self._cells), len(flat))
        self._sum = csr_array((np.ones(len(flat)), (self._cell_of_value, np.arange(len(flat)))), shape=shape)


def _extremes(matrix):
    """Lowest and highest eigenvalue of a sparse Hermitian matrix, to a thousandth."""
    if matrix.shape[0] <= 128:
        return tuple(np.linalg.eigvalsh(matrix.toarray())[[0, -1]])
    start = np.random.default_rng(0).normal(size=matrix.shape[0])
    return tuple(eigsh(matrix, 1, which=end, tol=1e-3, v0=start, return_eigenvectors=False)[0] for end in ("SA", "LA"))


def hopping_blocks(hopping, rashba=None, directions=None):
    """Blocks A_b = -t_b - i alpha_b [sigma x d_b]_z of bonds, (P, 2, 2).

    The second part is Rashba's spin-orbit coupling; on a square lattice at long waves it is 2 alpha (sigma x k)_z.

    Parameters
    ----------
    hopping : (P,) array
        t_b, positive for a band with its bottom at k = 0.
    rashba : (P,) array, optional
        alpha_b.
    directions : (P, 3) array, optional
        Unit vectors d_b from the first site of the bond to the second.
    """
    blocks = -np.multiply.outer(np.asarray(hopping, float), np.eye(2, dtype=complex))
    if rashba is not None:
        axes = np.cross(directions, [0.0, 0.0, 1.0])  # [sigma x d].z = sigma.(d x z)
        blocks = blocks - 1j * np.einsum("p,ps,sab->pab", rashba, axes, SIGMA)
    return blocks


def block_derivatives(slopes, rashba, rashba_slopes, vectors):
    """Derivatives of :func:`hopping_blocks` by the bond vectors, (P, 3, 2, 2).

    Parameters
    ----------
    slopes, rashba_slopes : (P,) array
        dt/dr and d alpha/dr.
    rashba : (P,) array
        alpha_b.
    vectors : (P, 3) array
        From the first site of the bond to the second.
    """
    distances = np.linalg.norm(vectors, axis=1)[:, None, None]
    along = vectors / distances[:, 0]
    dyads = along[:, :, None] * along[:, None, :]
    turned = (np.eye(3) - dyads) / distances  # d(direction)/d(vector)
    change = rashba[:, None, None] * turned + rashba_slopes[:, None, None] * dyads  # [p, a, c]: of alpha d_c by r_a
    axes = np.cross(change, [0.0, 0.0, 1.0])
    return -np.einsum("p,pa,st->past", slopes, along, np.eye(2)) - 1j * np.einsum("pas,sbc->pabc", axes, SIGMA)


def matrix_bonds(hopping):
    """Bonds of a hopping matrix t_ij: sites i < j and blocks of its elements other than zero.

    Parameters
    ----------
    hopping : (N, N) array
        Hermitian, zero on the diagonal.

    Returns
    -------
    i, j : (P,) int arrays
    blocks : (P, 2, 2) complex array

    Raises
    ------
    InputError
        Another shape, elements that are not finite, not Hermitian, a diagonal.
    """
    hopping = np.asarray(hopping)
    if hopping.ndim != 2 or hopping.shape[0] != hopping.shape[1] or not np.isfinite(hopping).all():
        raise InputError(f"Expected a hopping matrix of shape (N, N), all finite, got shape {hopping.shape}.")
    largest = np.abs(hopping - hopping.conj().T).max(initial=0.0)
    if largest > 1e-12 * max(1.0, np.abs(hopping).max(initial=0.0)):
        raise InputError(
            f"Expected a Hermitian hopping matrix, got one that differs from its adjoint by {largest:.2g}: give t_ji "
            "as the complex conjugate of t_ij."
        )
    if np.diagonal(hopping).any():
        raise InputError("Expected a hopping matrix with a diagonal of zeros: give on-site energies as disorder.")
    i, j = np.nonzero(np.triu(hopping))
    return i, j, -hopping[i, j, None, None] * np.eye(2)


def spinors(spins):
    """Spinors (..., 2) along unit vectors (..., 3): (cos(t/2), sin(t/2) exp(i f)) for polar angle t and azimuth f."""
    x, y, z = np.moveaxis(np.asarray(spins, float), -1, 0)
    across = np.hypot(x, y)
    larger = np.sqrt(0.5 * (1.0 + np.abs(z)))
    smaller = across / (2.0 * larger)
    up, down = np.where(z >= 0, larger, smaller), np.where(z >= 0, smaller, larger)
    phase = np.where(across > 0, (x + 1j * y) / np.where(across > 0, across, 1.0), 1.0)
    return np.stack([up, down * phase], axis=-1)
