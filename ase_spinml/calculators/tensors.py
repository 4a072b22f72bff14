"""Fields of the closed-form terms as functions of torch tensors, for runs whose spins stay on a device.

A calculator takes part in such a run if it has the method ``torch_fields(atoms, device, dtype)``. It returns a function
of the spins (N, 3), unit rows, zero rows for non-magnetic atoms, that gives the fields H (N, 3) in eV/mu_B as tensors
of that device and dtype; what depends on positions and moment lengths is worked out once. A term whose attribute
``time`` matters reads it at every call, and gives its energy in eV, a tensor without dimensions, as a function
``torch_energy(atoms, device, dtype)`` of the same kind, from which the work of the driving follows.

All fields that are linear in the spins make one sparse matrix. It works on the components one after the other, all x,
all y, all z: spins stored in that order, as the columns of an (N, 3) view, are used without a copy.
"""

import warnings

import numpy as np
from scipy.sparse import coo_array, csr_array

from ase_spinml.moments import get_moments


def moment_lengths(atoms):
    """m_i in mu_B, (N,); one for atoms without a moment, so that it can be divided by."""
    lengths = np.linalg.norm(get_moments(atoms), axis=1)
    return np.where(lengths > 0, lengths, 1.0)


def heisenberg_fields(bonds, constants, vectors, lengths, device, dtype):
    """Transverse fields of bilinear, DM and biquadratic exchange.

    Parameters
    ----------
    bonds : Bonds
        P bonds between N atoms.
    constants : (3, P) array
        J, D and B of every bond, eV.
    vectors : (P, 3) array
        From the first atom of every bond to the second; only directions count.
    lengths : (N,) array
        m_i in mu_B.
    device, dtype
        Of torch.

    Returns
    -------
    callable
        Spins (N, 3) -> fields (N, 3) in eV/mu_B.
    """
    exchange, dmi, biquadratic = constants
    i, j = np.concatenate([bonds.i, bonds.j]), np.concatenate([bonds.j, bonds.i])
    axes = dmi[:, None] * vectors / np.linalg.norm(vectors, axis=1)[:, None]
    matrix = linear_matrix(i, j, np.tile(exchange, 2), np.concatenate([axes, -axes]), lengths)
    parts = [_linear(matrix, device, dtype)]
    if biquadratic.any():
        weights = 2.0 * np.tile(biquadratic, 2) / lengths[i]
        parts.append(_biquadratic(csr_array((weights, (i, j)), shape=2 * lengths.shape), device, dtype))

    def fields(spins):
        total = parts[0](spins)
        for part in parts[1:]:
            total = total + part(spins)
        return total

    return fields


def linear_matrix(i, j, exchange, axes, lengths):
    """Matrix (3N, 3N) of H_i = (1/m_i) sum_j (J_ij e_j + e_j x D_ij), in eV/mu_B, components one after the other.

    Parameters
    ----------
    i, j : (Q,) int arrays
        Directed bonds.
    exchange, axes : (Q,) array, (Q, 3) array
        J_ij and D_ij in eV.
    lengths : (N,) array
        m_i in mu_B.
    """
    n, (x, y, z) = len(lengths), axes.T
    elements = [(k, k, exchange) for k in range(3)]
    elements += [(0, 1, z), (0, 2, -y), (1, 0, -z), (1, 2, x), (2, 0, y), (2, 1, -x)]
    rows, columns, values = [], [], []
    for row, column, value in elements:
        filled = np.flatnonzero(value)
        rows.append(row * n + i[filled])
        columns.append(column * n + j[filled])
        values.append(value[filled] / lengths[i[filled]])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return coo_array(entries, shape=(3 * n, 3 * n)).tocsr()


def anisotropy_fields(chosen, axis, uniaxial, quartic, axes, cubic, lengths, device, dtype):
    """Fields of single-ion anisotropy; constants in eV, ``chosen`` (N,) bool, else as for exchange."""
    import torch

    axis, axes, weight = (
        torch.as_tensor(array, dtype=dtype, device=device) for array in (axis, axes, (chosen / lengths)[:, None])
    )

    def fields(spins):
        along = spins @ axis
        field = (along * (2.0 * uniaxial + 4.0 * quartic * along**2))[:, None] * axis
        if cubic:
            parts = spins @ axes.T
            squares = parts**2
            field = field - (2.0 * cubic * parts * (squares.sum(1, keepdim=True) - squares)) @ axes
        return field * weight

    return fields


def uniform_fields(field, magnetic, device, dtype):
    """The same field for all magnetic atoms.

    Parameters
    ----------
    field : callable
        Gives H, (3,), in eV/mu_B; called at every evaluation.
    magnetic : (N,) bool array
    device, dtype
        Of torch.

    Returns
    -------
    callable
        Spins (N, 3) -> fields (N, 3) in eV/mu_B.
    """
    import torch

    mask = torch.as_tensor(magnetic, dtype=dtype, device=device)
    kept = {}

    def fields(spins):
        value = tuple(float(component) for component in field())
        if value not in kept:
            kept.clear()
            kept[value] = torch.stack([mask * component for component in value]).T
        return kept[value]

    return fields


def uniform_energy(field, lengths, device, dtype):
    """-sum_i m_i e_i.H in eV of the field of :func:`uniform_fields`; ``lengths`` (N,) are the m_i in mu_B."""
    import torch

    lengths = torch.as_tensor(lengths, dtype=dtype, device=device)

    def energy(spins):
        total = (lengths[:, None] * spins).sum(0, dtype=torch.float64)
        return -sum(float(component) * total[k] for k, component in enumerate(field()))

    return energy


def _linear(matrix, device, dtype):
    apply = product(matrix, device, dtype)
    return lambda spins: apply(spins.T.reshape(-1)).view(3, -1).T


def _biquadratic(matrix, device, dtype):
    """H_i = sum_j w_ij (e_i.e_j) e_j = (sum_j w_ij e_j e_j^T) e_i, by the six components of the tensor."""
    apply = product(matrix, device, dtype)

    def fields(spins):
        x, y, z = spins.unbind(1)
        pairs = apply(spins.new_empty(len(spins), 6).copy_(_columns(x * x, y * y, z * z, x * y, y * z, z * x)))
        xx, yy, zz, xy, yz, zx = pairs.unbind(1)
        return _columns(xx * x + xy * y + zx * z, xy * x + yy * y + yz * z, zx * x + yz * y + zz * z)

    return fields


def _columns(*columns):
    """(n, len(columns)), stored one column after the other."""
    import torch

    return torch.stack(columns).T


def product(matrix, device, dtype):
    """Multiplication by a sparse matrix (m, n), as a function of tensors (n,) or (n, k)."""
    import torch

    # copies, which torch aligns, as the order of summation depends on that
    values = torch.tensor(matrix.data, dtype=dtype, device=device)
    if values.device.type == "cpu" and not torch.backends.mkl.is_available():
        own = csr_array((values.numpy(), matrix.indices, matrix.indptr), shape=matrix.shape)
        return lambda dense: torch.from_numpy(own @ dense.numpy())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pointers, columns = (torch.tensor(part, device=device) for part in (matrix.indptr, matrix.indices))
        sparse = torch.sparse_csr_tensor(pointers, columns, values, size=matrix.shape, check_invariants=True)
    return lambda dense: sparse @ dense
