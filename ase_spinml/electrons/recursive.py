"""Recursive Green functions of a device made of slices, linear in its length.

The Hamiltonian has blocks h_nn (``onsite``) and h_n,n+1 (``hopping``, with its adjoint below). Adding slices one by
one from the right, with the self-energies of the leads at both ends,

    g_n = [z - h_nn - Sigma_n - h_n,n+1 g_n+1 h_n+1,n]^-1,     G_11 = g_1,
    G_n+1,n = g_n+1 h_n+1,n G_nn,    G_n,n+1 = G_nn h_n,n+1 g_n+1,    G_n+1,n+1 = g_n+1 + G_n+1,n h_n,n+1 g_n+1.

Source: A. MacKinnon, Z. Phys. B 59, 385 (1985); in this form A. Svizhenko, M. P. Anantram, T. R. Govindan, B. Biegel
and R. Venugopal, J. Appl. Phys. 91, 2343 (2002). All energies are worked on at once.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class GreenBlocks:
    """Blocks of the retarded Green function G(z) at E energies for L slices of b states.

    Attributes
    ----------
    diagonal : (L, E, b, b) tensor
        G_nn.
    upper, lower : (L - 1, E, b, b) tensors
        G_n,n+1 and G_n+1,n.
    first, last : (L, E, b, b) tensors
        G_n1 and G_nL, the columns at the leads; None if not asked for.
    """

    diagonal: torch.Tensor
    upper: torch.Tensor
    lower: torch.Tensor
    first: torch.Tensor | None
    last: torch.Tensor | None


def green_blocks(energies, onsite, hopping, left, right, columns=False):
    """Blocks of G(z) = [z - h - Sigma_L - Sigma_R]^-1.

    Parameters
    ----------
    energies : (E,) complex tensor
        z.
    onsite : (L, b, b) complex tensor
    hopping : (L - 1, b, b) complex tensor
    left, right : (E, b, b) complex tensors
        Self-energies of the leads on the first and the last slice.
    columns : bool
        Whether the columns at the leads are wanted as well.

    Returns
    -------
    GreenBlocks
    """
    slices, size = onsite.shape[:2]
    unit = torch.eye(size, dtype=onsite.dtype, device=onsite.device)
    alone = energies[:, None, None] * unit - onsite[:, None]
    alone[0] = alone[0] - left
    alone[-1] = alone[-1] - right
    adjoint = hopping.mH
    added = [torch.linalg.inv(alone[-1])]
    forth, back = [], []  # h_n,n+1 g_n+1 and g_n+1 h_n+1,n
    for n in reversed(range(slices - 1)):
        forth.append(hopping[n] @ added[-1])
        back.append(added[-1] @ adjoint[n])
        added.append(torch.linalg.inv(alone[n] - forth[-1] @ adjoint[n]))
    added, forth, back = added[::-1], forth[::-1], back[::-1]
    diagonal, upper, lower = [added[0]], [], []
    for n in range(slices - 1):
        upper.append(diagonal[-1] @ forth[n])
        lower.append(back[n] @ diagonal[-1])
        diagonal.append(added[n + 1] + lower[-1] @ forth[n])
    first, last = [diagonal[0]], [diagonal[-1]]
    if columns:
        chain = None
        for n in range(slices - 1):
            first.append(back[n] @ first[-1])
        for n in reversed(range(slices - 1)):
            chain = forth[n] if chain is None else forth[n] @ chain
            last.append(diagonal[n] @ chain)
    none = onsite.new_empty((0, len(energies), size, size))
    return GreenBlocks(
        torch.stack(diagonal),
        torch.stack(upper) if upper else none,
        torch.stack(lower) if lower else none,
        torch.stack(first) if columns else None,
        torch.stack(last[::-1]) if columns else None,
    )
