"""The Chebyshev recursion on vectors, forwards for moments and backwards for the density matrix.

Complex vectors and Hermitian matrices are worked on as real ones: an orbital has two rows, real part and imaginary
part. Hopping then keeps its zeros, and the products run at the speed of real numbers.
"""

import warnings

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array


def real_rows(vectors):
    """Complex vectors (M, R) as real ones (2 M, R)."""
    return np.ascontiguousarray(np.stack([vectors.real, vectors.imag], axis=1).reshape(-1, vectors.shape[1]))


def recursion_step(matrix, middle, half_width, device):
    """The function (x, y) -> 2 h x - y with h = (H - middle)/half_width on real rows, which writes over a third tensor.

    Parameters
    ----------
    matrix : csr_array (M, M)
        H, Hermitian.
    middle, half_width : float
        b and a.
    device : torch.device

    Returns
    -------
    callable
        (x, y, out) -> out, tensors (2 M, R) of the device; ``out`` may be ``y``.
    """
    shifted = (matrix - middle * csr_array((np.ones(matrix.shape[0]), *_diagonal(matrix.shape[0])))) * (2 / half_width)
    entries = coo_array(shifted)
    row, column, data = 2 * entries.row, 2 * entries.col, entries.data
    rows = np.concatenate([row, row + 1, row, row + 1])
    columns = np.concatenate([column, column + 1, column + 1, column])
    values = np.concatenate([data.real, data.real, -data.imag, data.imag])
    kept = values != 0
    size = 2 * matrix.shape[0]
    real = coo_array((values[kept], (rows[kept], columns[kept])), shape=(size, size)).tocsr()
    if device.type == "cpu" and not torch.backends.mkl.is_available():

        def plain(x, y, out):
            np.subtract(real @ x.numpy(), y.numpy(), out=out.numpy())
            return out

        return plain
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        parts = [torch.tensor(part, device=device) for part in (real.indptr, real.indices, real.data)]
        sparse = torch.sparse_csr_tensor(*parts, size=real.shape, check_invariants=True)
    return lambda x, y, out: torch.addmm(y, sparse, x, beta=-1.0, out=out)


def forward(step, start, half):
    """Moments of vectors and where the recursion ended.

    Parameters
    ----------
    step : callable
        As of :func:`recursion_step`.
    start : (2 M, R) tensor
        alpha_0.
    half : int
        Steps, L >= 2.

    Returns
    -------
    moments : (2 L,) array
        Summed over the vectors.
    last : (tensor, tensor)
        alpha_L, alpha_L-1.
    """
    previous, current = start, 0.5 * step(start, torch.zeros_like(start), torch.empty_like(start))
    even, odd = [_dot(start, start)], [_dot(current, start)]
    spare = torch.empty_like(start)
    for m in range(1, half):
        even.append(_dot(current, current))
        following = step(current, previous, spare if m == 1 else previous)
        previous, current = current, following
        odd.append(_dot(current, previous))
    even, odd = torch.stack(even).cpu().numpy(), torch.stack(odd).cpu().numpy()
    even[1:] = 2 * even[1:] - even[0]
    odd[1:] = 2 * odd[1:] - odd[0]
    return np.stack([even, odd], axis=1).ravel(), (current, previous)


def backward(step, start, last, weights, collect):
    """The derivative of sum_m w_m mu_m, handed out as outer products of vectors.

    Parameters
    ----------
    step, start, last
        As of :func:`forward`; the tensors of ``last`` are written over.
    weights : (2 L,) array
        w_m.
    collect : callable
        Called with (alpha_m, lambda_m+1, factor) for m = L - 1 ... 0: the derivative by h is twice the Hermitian part
        of the sum of factor alpha_m lambda_m+1^+.
    """
    even, odd = weights[::2], weights[1::2]
    half = len(even)
    current, previous = last
    following, spare = None, torch.empty_like(start)
    later, latest = torch.zeros_like(start), torch.zeros_like(start)
    for m in range(half, 0, -1):
        adjoint = step(later, latest, latest)
        if m < half:
            adjoint.add_(current, alpha=2.0 * even[m])
            adjoint.add_(following, alpha=odd[m])
        adjoint.add_(previous, alpha=odd[m - 1] if m > 1 else 0.5 * (odd[0] - odd[1:].sum()))
        collect(previous, adjoint, 2.0 if m > 1 else 1.0)
        later, latest = adjoint, later
        if m > 1:
            earlier = start if m == 2 else step(previous, current, spare if following is None else following)
            following, current, previous = current, previous, earlier


def _diagonal(size):
    return np.arange(size), np.arange(size + 1)


def _dot(a, b):
    return torch.dot(a.reshape(-1), b.reshape(-1))
