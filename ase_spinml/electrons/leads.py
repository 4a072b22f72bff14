"""Electrodes as self-energies of the slice they touch, Sigma(z) = W g(z) W^+ with the surface Green function g.

Energies z lie on the real axis, where the retarded branch is taken, or in the upper half of the complex plane. All
leads answer ``self_energy(energies, size)`` with a (E, size, size) tensor on the device of the energies, and
``edges()`` with the energies where it is not smooth. Rows run over the sites of a slice and, fastest, over spin up and
down.
"""

import numpy as np
import torch

from ase_spinml.errors import InputError

HERMITIAN = 1e-10
"""How far matrices may be from Hermitian, relative to their largest element."""
DECIMATIONS = 100


def chain_surface(energies, hopping):
    """Green function at the end of a semi-infinite chain, g = (x - sqrt(x^2 - 1)) / |t| with x = z / (2 |t|).

    Written as 1 / (x + sqrt(x - 1) sqrt(x + 1)), which is the retarded branch everywhere and loses no digits far from
    the band. Source: S. Datta, Electronic Transport in Mesoscopic Systems (Cambridge, 1995), section 3.5.

    Parameters
    ----------
    energies : complex tensor
        z, any shape, imaginary part not below zero.
    hopping : float
        t between neighbours, not zero; its sign does not matter.

    Returns
    -------
    complex tensor
        As ``energies``.
    """
    x = energies / (2 * abs(hopping))
    return 1 / (abs(hopping) * (x + torch.sqrt(x - 1) * torch.sqrt(x + 1)))


def decimated_surface(energies, onsite, hopping):
    """Green function of the first cell of a semi-infinite row of cells, by decimation.

    Every iteration doubles the number of cells that are eliminated, so it takes as many as log2 of the largest energy
    over the imaginary part of z. Source: M. P. Lopez Sancho, J. M. Lopez Sancho and J. Rubio, J. Phys. F 15, 851
    (1985).

    Parameters
    ----------
    energies : (E,) complex tensor
        z, imaginary part above zero.
    onsite : (m, m) complex tensor
        Hamiltonian of a cell, Hermitian.
    hopping : (m, m) complex tensor
        Block of the Hamiltonian from a cell (rows) to the next one into the lead (columns).

    Returns
    -------
    (E, m, m) complex tensor

    Raises
    ------
    InputError
        No convergence after 100 iterations.
    """
    z = energies[:, None, None] * torch.eye(len(onsite), dtype=onsite.dtype, device=onsite.device)
    inwards, outwards = hopping.expand(z.shape), hopping.mH.expand(z.shape)
    surface, bulk = onsite.expand(z.shape), onsite.expand(z.shape)
    smallest = 1e-15 * float(hopping.abs().max())
    for _ in range(DECIMATIONS):
        green = torch.linalg.inv(z - bulk)
        forth, back = inwards @ green, outwards @ green
        passed = forth @ outwards
        surface, bulk = surface + passed, bulk + passed + back @ inwards
        inwards, outwards = forth @ inwards, back @ outwards
        if max(float(inwards.abs().max()), float(outwards.abs().max())) <= smallest:
            return torch.linalg.inv(z - surface)
    raise InputError(
        f"Expected the surface of the lead to converge in {DECIMATIONS} decimations, got a rest of "
        f"{float(inwards.abs().max()):.1e}: raise the broadening of the lead."
    )


class SemiInfiniteLead:
    """Semi-infinite rows, one at each site of the slice: a chain, or a ribbon as wide as the device.

    Sigma = t_c^2 sum_m chi_m g(z - e_m) chi_m^+ over the transverse modes, the eigenvectors chi_m of ``onsite`` with
    eigenvalues e_m.

    Parameters
    ----------
    hopping : float
        t along the rows; the band of every mode reaches 2 |t| to both sides.
    coupling : float, optional
        t_c between device and lead; ``hopping`` if not given.
    onsite : float or (m, m) array
        Energy of the sites, or the Hamiltonian of one slice of the ribbon: Hermitian, m sites or 2 m states with spin
        (a magnetic lead).

    Raises
    ------
    InputError
        Parameters that are not finite, a hopping of zero, a matrix that is not Hermitian; later, one of another size
        than the slice.
    """

    def __init__(self, hopping=1.0, coupling=None, onsite=0.0):
        self.hopping = number("hopping of the lead", hopping)
        if self.hopping == 0:
            raise InputError("Expected a hopping of the lead other than zero, got 0.")
        self.coupling = self.hopping if coupling is None else number("coupling of the lead", coupling)
        self.onsite = np.asarray(onsite)
        if self.onsite.ndim:
            self.onsite = hermitian("onsite of the lead", onsite)
            self._energies, self._modes = np.linalg.eigh(self.onsite)
        else:
            self._energies, self._modes = np.array([number("onsite of the lead", onsite)]), None

    def self_energy(self, energies, size):
        """Sigma (E, size, size) at complex energies (E,)."""
        levels = torch.as_tensor(self._energies, device=energies.device)
        diagonal = self.coupling**2 * chain_surface(energies[:, None] - levels, self.hopping)
        if self._modes is None:
            return torch.diag_embed(diagonal.expand(-1, size))
        modes = torch.as_tensor(self._modes, dtype=energies.dtype, device=energies.device)
        return with_spin("onsite of the lead", (modes * diagonal[:, None, :]) @ modes.mH, size)

    def edges(self):
        """Band edges of all modes, a (2 m,) array."""
        return np.concatenate([self._energies - 2 * abs(self.hopping), self._energies + 2 * abs(self.hopping)])


class WideBandLead:
    """A lead with a constant density of states, Sigma = -i Gamma / 2.

    Parameters
    ----------
    width : float or (m, m) array
        Gamma of every state of the slice, above zero, or a Hermitian matrix without negative eigenvalues, for m sites
        or 2 m states with spin (Gamma of unlike spins makes a magnetic lead).

    Raises
    ------
    InputError
        Other widths; later, a matrix of another size than the slice.
    """

    def __init__(self, width=1.0):
        self.width = np.asarray(width)
        if self.width.ndim:
            self.width = hermitian("width of the lead", width)
            smallest = np.linalg.eigvalsh(self.width)[0]
            if smallest < -HERMITIAN * np.abs(self.width).max():
                raise InputError(f"Expected a width of the lead without negative eigenvalues, got {smallest:g}.")
        elif not number("width of the lead", width) > 0:
            raise InputError(f"Expected a width of the lead above zero, got {width}.")

    def self_energy(self, energies, size):
        """Sigma (E, size, size) at complex energies (E,)."""
        width = torch.as_tensor(self.width, dtype=energies.dtype, device=energies.device)
        if not self.width.ndim:
            width = width * torch.eye(size, dtype=energies.dtype, device=energies.device)
        return -0.5j * with_spin("width of the lead", width, size).expand(len(energies), size, size)

    def edges(self):
        """No energies: (0,) array."""
        return np.zeros(0)


class BlockLead:
    """A semi-infinite row of any cells, by :func:`decimated_surface`.

    Parameters
    ----------
    onsite : (m, m) array
        Hamiltonian of a cell, Hermitian; spin included.
    hopping : (m, m) array
        Block from a cell (rows) to the next one, further from the device (columns).
    coupling : (b, m) array, optional
        W, block from the slice of the device (rows) to the first cell; ``hopping`` if not given.
    broadening : float
        Imaginary part added to all energies, which makes the decimation converge on the real axis. Errors of the
        results are proportional to it.

    Raises
    ------
    InputError
        Matrices that are not finite or do not fit together, an onsite matrix that is not Hermitian, no broadening.
    """

    def __init__(self, onsite, hopping, coupling=None, broadening=1e-8):
        self.onsite = hermitian("onsite of the lead", onsite)
        self.hopping = np.asarray(hopping, dtype=complex)
        self.coupling = self.hopping if coupling is None else np.asarray(coupling, dtype=complex)
        fits = self.hopping.shape == self.onsite.shape and self.coupling.shape[1:] == self.onsite.shape[1:]
        if not (fits and np.isfinite(self.hopping).all() and np.isfinite(self.coupling).all()):
            raise InputError(
                f"Expected a finite hopping (m, m) and coupling (b, m) of the lead, m = {len(self.onsite)}, got "
                f"{self.hopping.shape} and {self.coupling.shape}."
            )
        self.broadening = number("broadening of the lead", broadening)
        if not self.broadening > 0:
            raise InputError(f"Expected a broadening of the lead above zero, got {broadening}.")

    def self_energy(self, energies, size):
        """Sigma (E, size, size) at complex energies (E,)."""
        onsite, hopping, coupling = (
            torch.as_tensor(matrix, dtype=energies.dtype, device=energies.device)
            for matrix in (self.onsite, self.hopping, self.coupling)
        )
        if len(coupling) != size:
            raise InputError(f"Expected a coupling of the lead with {size} rows, got {len(coupling)}.")
        return coupling @ decimated_surface(energies + 1j * self.broadening, onsite, hopping) @ coupling.mH

    def edges(self):
        """Energies of the bands at wave numbers 0 and pi, where most of them end: (2 m,) array."""
        along = self.hopping + self.hopping.conj().T
        return np.concatenate([np.linalg.eigvalsh(self.onsite + along), np.linalg.eigvalsh(self.onsite - along)])


def number(name, value):
    """``value`` as a float; InputError if it is not one finite number."""
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iuf" or not np.isfinite(array):
        raise InputError(f"Expected {name} to be a finite number, got {value}.")
    return float(array)


def hermitian(name, matrix):
    """``matrix`` as a complex array; InputError if it is not square, finite and Hermitian."""
    matrix = np.asarray(matrix, dtype=complex)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise InputError(f"Expected {name} to be a finite square matrix, got one of shape {matrix.shape}.")
    distance = np.abs(matrix - matrix.conj().T).max()
    if distance > HERMITIAN * np.abs(matrix).max():
        raise InputError(f"Expected {name} to be Hermitian, got one that differs from its adjoint by {distance:.1e}.")
    return matrix


def with_spin(name, matrices, size):
    """Matrices (..., m, m) for a slice of ``size`` states: as they are, or for both spins; InputError if neither."""
    if matrices.shape[-1] == size:
        return matrices
    if 2 * matrices.shape[-1] == size:
        return torch.kron(matrices, torch.eye(2, dtype=matrices.dtype, device=matrices.device))
    raise InputError(f"Expected {name} for {size // 2} sites or {size} states, got {matrices.shape[-1]}.")
