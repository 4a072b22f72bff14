"""Electrons between two leads under a voltage: density matrix and currents by non-equilibrium Green functions.

The leads are filled up to mu_L,R = mu +- V/2, a bath up to mu. With V > 0 electrons flow from left to right. hbar =
k_B = 1, and the voltage is an energy. In the steady state rho_ab = <c_b^+ c_a> is

    rho = int de/(2 pi) [A_L f_L + A_R f_R + A_b f_b] = [rho_eq(mu_L) + rho_eq(mu_R)]/2
        + int de/(2 pi) [(A_L - A_R) (f_L - f_R)/2 + A_b (f_b - f_L/2 - f_R/2)],    A_a = G Gamma_a G^+,

where the density matrices rho_eq of equilibrium come from energies above the real axis, and the rest from real
energies between the chemical potentials (:mod:`ase_spinml.electrons.contour`). A level that the second integral passes
over, because it is too narrow to be seen, is missing in int de/(2 pi) A (f_L - f_R) as well, which has to be
rho_eq(mu_L) - rho_eq(mu_R): this is checked.

Source: A.-P. Jauho, N. S. Wingreen and Y. Meir, Phys. Rev. B 50, 5528 (1994); M. Brandbyge, J.-L. Mozos, P. Ordejon,
J. Taylor and K. Stokbro, Phys. Rev. B 65, 165401 (2002).
"""

from dataclasses import dataclass

import numpy as np
import torch

from ase_spinml.electrons.contour import along, fermi_rule, integrate, upwards
from ase_spinml.electrons.junction import level_width
from ase_spinml.electrons.leads import number
from ase_spinml.errors import InputError

MEMORY = 2**25
"""Complex numbers that the Green functions of one batch of energies may take."""


@dataclass(frozen=True)
class SteadyState:
    """Electrons in a junction of L slices with b states.

    Attributes
    ----------
    density : (L, b, b) tensor
        Blocks rho_nn of the density matrix.
    bonds : (L - 1, b, b) tensor
        Blocks rho_n,n+1.
    currents : (L + 1, 4) tensor
        Flow to the right through every interface, left lead to first slice, slice to slice, last slice to right lead:
        electrons, and angular momentum (half the Pauli vector) along x, y, z, per unit of time.
    error : float
        Estimated error of the integrals over energy, for the largest component.
    points : int
        Number of energies used.
    """

    density: torch.Tensor
    bonds: torch.Tensor
    currents: torch.Tensor
    error: float
    points: int

    @property
    def current(self):
        """I, electrons per unit of time from the left lead into the device."""
        return float(self.currents[0, 0])


def steady_state(junction, chemical_potential, voltage=0.0, temperature=0.0, tolerance=1e-8, max_points=100_000):
    """Density matrix and currents of a junction under a voltage.

    Parameters
    ----------
    junction : Junction
    chemical_potential : float
        mu, of the bath; the leads are filled up to mu +- V/2.
    voltage : float
        V, as an energy; positive for electrons that flow from left to right.
    temperature : float
        Of leads and bath, not below zero.
    tolerance : float
        Bound of the error of each integral over energies.
    max_points : int
        Number of energies at which an integral is given up.

    Returns
    -------
    SteadyState

    Raises
    ------
    InputError
        Numbers that are not finite, a negative temperature, an integral that does not converge, a level between the
        chemical potentials that is bound to the device (or nearly so), whose filling the leads do not determine.
    """
    mu, voltage = number("chemical_potential", chemical_potential), number("voltage", voltage)
    temperature, tolerance = number("temperature", temperature), number("tolerance", tolerance)
    if temperature < 0:
        raise InputError(f"Expected a temperature >= 0, got {temperature}.")
    if tolerance < 1e-13:
        raise InputError(f"Expected a tolerance of at least 1e-13, got {tolerance}.")
    control = temperature, tolerance, max_points
    total, error, points = _equilibrium(junction, mu + 0.5 * voltage, *control)
    if voltage:
        right, *more = _equilibrium(junction, mu - 0.5 * voltage, *control)
        (driven, levels), *most = _window(junction, mu, voltage, *control)
        _check_levels(_unpacked(junction, total - right)[0], levels, tolerance)
        total = 0.5 * (total + right) + driven
        error, points = error + more[0] + most[0], points + more[1] + most[1]
    density, bonds, rates = _unpacked(junction, total)
    return SteadyState(density, bonds, _currents(junction, bonds, rates), error, points)


def _equilibrium(junction, mu, temperature, tolerance, max_points):
    """Everything for leads and bath filled up to mu: packed, error, number of points."""

    def sums(offsets, weights):
        green, left, right = junction.green(mu + offsets)
        weights = torch.as_tensor(weights, dtype=torch.complex128, device=junction.onsite.device)
        diagonal, upper, lower = (_weighted(weights, blocks) for blocks in (green.diagonal, green.upper, green.lower))
        ends = (left, green.diagonal[0]), (right, green.diagonal[-1])
        rates = _weighted(-1j * weights, torch.stack([sigma @ block - block @ sigma for sigma, block in ends]))
        return _packed(diagonal + diagonal.mH, upper + lower.mH, rates + rates.mH)

    batch = _batch(junction)
    if temperature > 0:
        offsets, weights = fermi_rule(temperature, 2 * junction.radius(mu), 0.1 * tolerance)
        parts = [slice(start, start + batch) for start in range(0, len(offsets), batch)]
        total = sum(sums(offsets[part], weights[None, part])[0] for part in parts)
        error, points = 0.1 * tolerance, len(offsets)
    else:

        def from_path(offsets, weights):
            return sums(offsets, weights / (2j * np.pi))

        path = upwards(0.25 * junction.radius(mu))
        total, error, points = integrate(from_path, path, 1, tolerance, max_points, batch)
    half = 0.5 * torch.eye(junction.states, dtype=total.dtype, device=total.device)
    total[: junction.onsite.numel()] += half.expand(junction.slices, -1, -1).flatten()
    return total, error, points


def _window(junction, mu, voltage, temperature, tolerance, max_points):
    """What the voltage adds to the mean of both equilibria: (packed, electrons of all levels), error, points."""

    def sums(energies, weights):
        green, left, right = junction.green(energies, columns=True)
        weights = torch.as_tensor(weights, dtype=torch.complex128, device=junction.onsite.device) / (2 * np.pi)
        filling = [_fermi(energies - mu - level, temperature) for level in (0.5 * voltage, -0.5 * voltage, 0.0)]
        filling = torch.as_tensor(np.stack(filling), device=junction.onsite.device)[:, :, None, None]
        driving = filling[0] - filling[1]
        widths = 0.5 * driving * level_width(left), -0.5 * driving * level_width(right)
        from_left, from_right = green.first @ widths[0], green.last @ widths[1]
        density = from_left @ green.first.mH + from_right @ green.last.mH
        bonds = from_left[:-1] @ green.first[1:].mH + from_right[:-1] @ green.last[1:].mH
        if junction.bath:
            excess = filling[2] - 0.5 * (filling[0] + filling[1])
            density += excess * _of_bath(green, left, right, 0, green.diagonal - green.diagonal.mH)
            bonds += excess * _of_bath(green, left, right, 1, green.upper - green.lower.mH)
        rates = [
            -1j * (sigma @ density[n] + width @ green.diagonal[n].mH)
            for n, sigma, width in ((0, left, widths[0]), (-1, right, widths[1]))
        ]
        rates = torch.stack([rate + rate.mH for rate in rates])
        levels = -2 * driving * green.diagonal.diagonal(dim1=2, dim2=3).imag[:, :, None]
        return _packed(*(_weighted(weights, blocks) for blocks in (density, bonds, rates, levels)))

    reach = 0.5 * abs(voltage) + temperature * np.log(1 / tolerance)
    marks = np.concatenate([junction.edges(), [mu, mu + 0.5 * voltage, mu - 0.5 * voltage]])
    breaks = np.unique(np.concatenate([marks[np.abs(marks - mu) < reach], [mu - reach, mu + reach]]))
    path, panels = along(breaks[np.append(True, np.diff(breaks) > 1e-12 * reach)])
    total, error, points = integrate(sums, path, panels, tolerance, max_points, _batch(junction))
    states = junction.slices * junction.states
    return (total[:-states], total[-states:].real), error, points


def _of_bath(green, left, right, step, change):
    """A_b = i (G - G^+) - A_L - A_R of blocks n, n + step, for ``change`` = G - G^+ of these blocks."""
    count = len(change)
    others = green.first[:count] @ level_width(left) @ green.first[step:].mH
    return 1j * change - others - green.last[:count] @ level_width(right) @ green.last[step:].mH


def _check_levels(difference, levels, tolerance):
    """Refuse levels that the integral over real energies has not seen; ``difference`` of both equilibria (L, b, b)."""
    missing = float((difference.diagonal(dim1=1, dim2=2).real.flatten() - levels).abs().max())
    if missing > 10 * tolerance:
        raise InputError(
            "Expected the leads to fill all levels between their chemical potentials, got one bound to the device that"
            f" has {missing:.1e} electrons at a state: add a bath, or lower tolerance if leads reach it."
        )


def _currents(junction, bonds, rates):
    """Flows (L + 1, 4) from the blocks rho_n,n+1 and the rates at which the leads change the end slices (2, b, b)."""
    inner = -0.5j * (junction.hopping.mH @ bonds + bonds @ junction.hopping.mH)
    flows = site_blocks(torch.cat([rates[:1], inner + inner.mH, -rates[1:]])).sum(1)
    return pauli(flows) * torch.tensor([1.0, 0.5, 0.5, 0.5], device=flows.device)


def exchange_fields(state, coupling):
    """Fields H_i = J tr(sigma rho_ii) at all sites, (L, b/2, 3), for H = ... - J sum_i S_i . c_i^+ sigma c_i."""
    return coupling * pauli(site_blocks(state.density))[..., 1:]


def site_density(state):
    """Electrons at all sites, (L, b/2)."""
    return pauli(site_blocks(state.density))[..., 0]


def pauli(blocks):
    """Traces of Hermitian blocks (..., 2, 2) with the unit matrix and Pauli's matrices, (..., 4)."""
    up, down = blocks[..., 0, 0].real, blocks[..., 1, 1].real
    across = blocks[..., 1, 0] + blocks[..., 0, 1].conj()
    return torch.stack([up + down, across.real, across.imag, up - down], dim=-1)


def site_blocks(blocks):
    """Blocks (L, b, b) of slices to those of their sites, (L, b/2, 2, 2)."""
    slices, size = blocks.shape[:2]
    return torch.einsum("nisit->nist", blocks.reshape(slices, size // 2, 2, size // 2, 2))


def _fermi(energies, temperature):
    return np.heaviside(-energies, 0.5) if temperature == 0 else 0.5 * (1 - np.tanh(energies / (2 * temperature)))


def _weighted(weights, blocks):
    """sum_e weights (R, E) blocks (M, E, p, q), as (R, M, p, q)."""
    return torch.einsum("re,meij->rmij", weights, blocks.to(weights.dtype))


def _packed(*parts):
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _unpacked(junction, total):
    counts = junction.onsite.numel(), junction.hopping.numel(), 2 * junction.states**2
    return [part.reshape(-1, junction.states, junction.states) for part in total.split(counts)]


def _batch(junction):
    return max(15, MEMORY // (12 * junction.onsite.numel()))
