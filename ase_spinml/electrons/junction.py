"""A device of slices between two electrodes: the matrices, their checks, spectra and transmission.

Rows of a slice run over its sites and, fastest, over spin up and down: state 2 i + s. The first slice touches the left
lead, the last one the right lead, and only neighbouring slices are joined. A bath of constant density of states may
sit at every site: -i Gamma_b / 2 on the diagonal.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ase_spinml.electrons.leads import HERMITIAN, number
from ase_spinml.electrons.recursive import green_blocks
from ase_spinml.errors import InputError


@dataclass(frozen=True)
class Junction:
    """Left lead, L slices of b states, right lead.

    Parameters
    ----------
    onsite : (L, b, b) array or tensor
        Blocks h_nn, Hermitian; b = 2 for a chain, 2 Ly for a ribbon. Tensors keep their device.
    hopping : (L - 1, b, b) array or tensor
        Blocks h_n,n+1 (rows: slice n).
    leads : pair
        Left and right lead of :mod:`ase_spinml.electrons.leads`.
    bath : float
        Gamma_b, width of the coupling of every state to a bath; not below zero.
    shifts : pair of float
        Energies by which the bands of the leads are raised; :meth:`with_potential_drop` sets them.

    Raises
    ------
    InputError
        Blocks that do not fit together, are not finite or not Hermitian, missing leads, a negative bath.
    """

    onsite: torch.Tensor
    hopping: torch.Tensor
    leads: tuple
    bath: float = 0.0
    shifts: tuple = (0.0, 0.0)

    def __post_init__(self):
        onsite, hopping = (_complex_tensor(blocks) for blocks in (self.onsite, self.hopping))
        if onsite.ndim != 3 or len(onsite) == 0 or onsite.shape[1] != onsite.shape[2] or onsite.shape[1] % 2:
            raise InputError(
                f"Expected onsite blocks of shape (L, b, b) with an even number b, got {tuple(onsite.shape)}."
            )
        expected = (len(onsite) - 1, *onsite.shape[1:])
        if len(onsite) == 1 and not hopping.numel():
            hopping = onsite.new_empty(expected)
        if hopping.shape != expected:
            raise InputError(f"Expected hopping blocks of shape {expected}, got {tuple(hopping.shape)}.")
        if not (bool(onsite.isfinite().all()) and bool(hopping.isfinite().all())):
            raise InputError("Expected finite blocks of the Hamiltonian, got NaN or infinity: check the hopping.")
        distance = float((onsite - onsite.mH).abs().max())
        if distance > HERMITIAN * max(float(onsite.abs().max()), 1.0):
            raise InputError(
                f"Expected Hermitian onsite blocks, got some that differ from their adjoint by {distance:.1e}."
            )
        if not (isinstance(self.leads, (tuple, list)) and len(self.leads) == 2):
            raise InputError("Expected leads=(left, right), got none or another number: give two leads.")
        for lead in self.leads:
            if not hasattr(lead, "self_energy"):
                raise InputError(
                    f"Expected leads=(left, right), got {lead!r} among them: use SemiInfiniteLead, WideBandLead or "
                    "BlockLead."
                )
        if number("bath", self.bath) < 0:
            raise InputError(f"Expected a bath of width >= 0, got {self.bath}.")
        object.__setattr__(self, "onsite", onsite)
        object.__setattr__(self, "hopping", hopping)

    @property
    def slices(self):
        """L, the number of slices."""
        return len(self.onsite)

    @property
    def states(self):
        """b, the number of states of a slice."""
        return self.onsite.shape[1]

    def with_potential_drop(self, voltage):
        """The same junction with site energies that fall linearly by ``voltage`` from the left lead to the right one.

        Slice n = 1 ... L is raised by V/2 - V n/(L + 1), the left lead by V/2, the right one by -V/2.
        """
        voltage = number("voltage", voltage)
        ramp = voltage * (0.5 - torch.arange(1, self.slices + 1, dtype=torch.float64) / (self.slices + 1))
        unit = torch.eye(self.states, dtype=self.onsite.dtype, device=self.onsite.device)
        raised = self.onsite + ramp.to(self.onsite.device)[:, None, None] * unit
        return replace(self, onsite=raised, shifts=(0.5 * voltage, -0.5 * voltage))

    def self_energies(self, energies):
        """Sigma of the left and of the right lead at complex energies (E,), (E, b, b) each."""
        pairs = zip(self.leads, self.shifts, strict=True)
        return [lead.self_energy(energies - shift, self.states) for lead, shift in pairs]

    def edges(self):
        """Energies at which a self-energy is not smooth."""
        return np.concatenate([lead.edges() + shift for lead, shift in zip(self.leads, self.shifts, strict=True)])

    def radius(self, energy):
        """No state of the device or band of a lead is further than this from ``energy``."""
        rows = self.onsite.abs().sum(2)
        if self.slices > 1:
            links = self.hopping.abs()
            rows[:-1] += links.sum(2)
            rows[1:] += links.sum(1)
        return max(float(rows.max()) + abs(energy), np.abs(self.edges() - energy).max(initial=0.0))

    def green(self, energies, columns=False):
        """Blocks of G and the two self-energies at energies (E,), real or in the upper half plane.

        Returns
        -------
        green : GreenBlocks
        left, right : (E, b, b) tensors
        """
        energies = torch.as_tensor(energies, dtype=torch.complex128, device=self.onsite.device)
        left, right = self.self_energies(energies)
        green = green_blocks(energies + 0.5j * self.bath, self.onsite, self.hopping, left, right, columns)
        return green, left, right


def local_density_of_states(junction, energies):
    """Spectral densities -Im G(e)_aa / pi of all states at real energies.

    Parameters
    ----------
    junction : Junction
    energies : (E,) array

    Returns
    -------
    (E, L, b) tensor
        Each integrates to one over all energies.
    """
    green, _, _ = junction.green(_real(energies))
    return -green.diagonal.diagonal(dim1=2, dim2=3).imag.permute(1, 0, 2) / torch.pi


def transmission(junction, energies):
    """Probabilities of coherent transmission, summed over the channels of each spin.

    T_ss' = Tr[P_s Gamma_R G_L1 P_s' Gamma_L G_L1^+], from spin s' in the left lead to s in the right one, with P_s the
    projector on the spin along z. It needs leads that do not mix the spins along z.

    Source: D. S. Fisher and P. A. Lee, Phys. Rev. B 23, 6851 (1981).

    Parameters
    ----------
    junction : Junction
    energies : (E,) array
        Real.

    Returns
    -------
    (E, 2, 2) tensor
        Rows: up and down on the right; columns: on the left. The sum over both is Landauer's T(e).
    """
    green, left, right = junction.green(_real(energies), columns=True)
    across, entering, leaving = (
        blocks.reshape(-1, junction.states // 2, 2, junction.states // 2, 2)
        for blocks in (green.first[-1], level_width(left), level_width(right))
    )
    result = torch.empty(len(across), 2, 2, dtype=torch.float64, device=across.device)
    for s in range(2):
        for t in range(2):
            passed = across[:, :, s, :, t]
            arriving = leaving[:, :, s, :, s] @ passed @ entering[:, :, t, :, t]
            result[:, s, t] = (arriving * passed.conj()).sum((1, 2)).real
    return result


def level_width(sigma):
    """Gamma = i (Sigma - Sigma^+)."""
    return 1j * (sigma - sigma.mH)


def _complex_tensor(blocks):
    return torch.as_tensor(blocks).to(torch.complex128)


def _real(energies):
    energies = np.asarray(energies, float)
    if energies.ndim != 1 or not np.isfinite(energies).all():
        raise InputError(f"Expected a list of finite energies, got an array of shape {energies.shape}.")
    return energies
