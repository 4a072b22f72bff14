"""Electrons between leads: leads, contours, recursion, steady states, against closed forms and dense matrices."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import digamma

from ase_spinml.analysis import curl
from ase_spinml.electrons.contour import along, fermi_rule, integrate, upwards
from ase_spinml.electrons.junction import Junction, local_density_of_states, transmission
from ase_spinml.electrons.leads import BlockLead, SemiInfiniteLead, WideBandLead, chain_surface, decimated_surface
from ase_spinml.electrons.negf import exchange_fields, site_density, steady_state
from ase_spinml.errors import InputError
from ase_spinml.moments import random_directions

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
CHAIN = SemiInfiniteLead()
UP = [0.0, 0.0, 1.0]


def chain(spins, coupling=1.0, leads=(CHAIN, CHAIN), bath=0.0):
    """Junction of a chain with t = 1, H = ... - J S.sigma."""
    spins = np.asarray(spins, float)
    onsite = -coupling * np.einsum("na,ast->nst", spins, SIGMA)
    return Junction(onsite, -np.tile(np.eye(2), (len(spins) - 1, 1, 1)), leads, bath)


def ribbon(spins, coupling, leads, transverse):
    """Junction of rows of sites (L, W, 3) joined across by ``transverse`` (W, W) and along by t = 1."""
    length, width = spins.shape[:2]
    onsite = np.tile(np.kron(transverse, np.eye(2)).astype(complex), (length, 1, 1))
    for site in range(width):
        part = slice(2 * site, 2 * site + 2)
        onsite[:, part, part] -= coupling * np.einsum("na,ast->nst", spins[:, site], SIGMA)
    return Junction(onsite, -np.tile(np.eye(2 * width), (length - 1, 1, 1)), leads)


def dense(junction):
    """The whole Hamiltonian of the device."""
    length, size = junction.slices, junction.states
    matrix = np.zeros((length, size, length, size), complex)
    for n in range(length):
        matrix[n, :, n] = junction.onsite[n]
        if n + 1 < length:
            matrix[n, :, n + 1] = junction.hopping[n]
            matrix[n + 1, :, n] = matrix[n, :, n + 1].conj().T
    return matrix.reshape(length * size, -1)


def dense_green(junction, energies):
    """G (E, M, M) of the whole device by inversion, and Gamma (3, E, M, M) of left lead, right lead and bath."""
    energies, size = np.asarray(energies, complex), junction.states
    left, right = (part.numpy() for part in junction.self_energies(torch.as_tensor(energies)))
    unit = np.eye(size * junction.slices)
    sigmas = np.zeros((3, len(energies), *unit.shape), complex)
    sigmas[0, :, :size, :size], sigmas[1, :, -size:, -size:] = left, right
    sigmas[2] = -0.5j * junction.bath * unit
    green = np.linalg.inv(energies[:, None, None] * unit - dense(junction) - sigmas.sum(0))
    return green, 1j * (sigmas - sigmas.conj().swapaxes(-1, -2))


def fields(spins, voltage, **options):
    """H_i (N, 3) of a chain at mu = 0.3, J = 1."""
    return exchange_fields(steady_state(chain(spins), 0.3, voltage, **options), 1.0)[:, 0].numpy()


# leads


def test_surface_of_a_chain_solves_its_equation_on_the_retarded_branch():
    z = torch.tensor([0.3, -1.7, 2.6, -5.0, 0.2 + 0.3j, 1e6j, 1e-3 - 2.0], dtype=torch.complex128)
    for hopping in (0.7, -1.3):
        g = chain_surface(z, hopping)
        torch.testing.assert_close(g, 1 / (z - hopping**2 * g), rtol=1e-12, atol=0)
        assert (g.imag <= 0).all()
        assert (g.abs() <= (1 + 1e-12) / abs(hopping)).all()


def test_decimation_equals_the_closed_form():
    z = torch.tensor([0.3 + 1e-9j, -1.7 + 1e-9j, 2.6 + 1e-9j, 0.2 + 0.3j], dtype=torch.complex128)
    one = torch.eye(1, dtype=torch.complex128)
    torch.testing.assert_close(decimated_surface(z, 0 * one, -0.7 * one)[:, 0, 0], chain_surface(z, 0.7))


def test_a_block_lead_is_the_ribbon_of_its_modes():
    transverse = -(np.eye(3, k=1) + np.eye(3, k=-1))
    modes = SemiInfiniteLead(hopping=1.2, coupling=0.8, onsite=transverse)
    cells = BlockLead(np.kron(transverse, np.eye(2)), -1.2 * np.eye(6), -0.8 * np.eye(6), broadening=1e-10)
    for energies in (torch.linspace(-5.1, 5.1, 40), torch.linspace(-5.1, 5.1, 40) + 0.2j):
        energies = energies.to(torch.complex128)
        torch.testing.assert_close(cells.self_energy(energies, 6), modes.self_energy(energies, 6), rtol=0, atol=1e-7)
    assert np.allclose(np.unique(cells.edges().round(10)), np.unique(modes.edges().round(10)))


def test_a_lead_through_one_site_only():
    """A chain coupled to one of the two sites of a slice leaves the other alone."""
    coupling = np.zeros((4, 2))
    coupling[:2] = -np.eye(2)
    lead = BlockLead(np.zeros((2, 2)), -np.eye(2), coupling)
    sigma = lead.self_energy(torch.tensor([0.5], dtype=torch.complex128), 4)[0]
    expected = chain_surface(torch.tensor(0.5, dtype=torch.complex128), 1.0)
    torch.testing.assert_close(
        sigma, torch.diag(torch.stack([expected, expected, 0 * expected, 0 * expected])), rtol=0, atol=1e-7
    )


def test_a_ferromagnetic_lead_continues_a_ferromagnetic_device():
    """A device like its leads reflects nothing: one channel for each spin whose band is there."""
    lead = SemiInfiniteLead(onsite=-1.5 * SIGMA[2])
    device = chain([UP] * 5, 1.5, (lead, lead))
    probability = transmission(device, [-3.0, -1.0, 0.2, 2.0])
    assert probability[:, 0, 0].numpy() == pytest.approx([1, 1, 1, 0], abs=1e-12)
    assert probability[:, 1, 1].numpy() == pytest.approx([0, 0, 1, 1], abs=1e-12)


# integrals over energy


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("temperature", [1.0, 0.02, 1e-4])
def test_sum_over_poles_is_fermis_function(temperature, tolerance):
    points, weights = fermi_rule(temperature, 10.0, tolerance)
    energies = np.concatenate([np.random.default_rng(0).uniform(-10, 10, 1000), np.linspace(-9, 9, 500) * temperature])
    found = 0.5 + 2 * (weights[:, None] / (points[:, None] - energies)).sum(0).real
    assert found == pytest.approx(0.5 * (1 - np.tanh(energies / (2 * temperature))), abs=1.01 * tolerance)
    assert (points.imag > 3 * temperature).all()
    assert len(points) <= 120


def test_no_rule_beyond_rounding():
    with pytest.raises(InputError, match="raise tolerance or temperature, or set the temperature to 0"):
        fermi_rule(1e-9, 1e9, 1e-12)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-9])
def test_quadrature_of_square_roots_and_narrow_levels(tolerance):
    """Band edges and levels of width 1e-3, with known integrals, within the tolerance."""

    def function(energies, weights):
        x = torch.as_tensor(np.asarray(energies, complex))
        values = torch.stack([torch.sqrt(1 - x**2), 1e-3 / ((x - 0.3) ** 2 + 1e-6), 1 / torch.sqrt(1 - x**2)], dim=1)
        return torch.as_tensor(weights) @ values

    path, panels = along([-1.0, 0.2, 1.0])
    integral, error, points = integrate(function, path, panels, tolerance, 10000, 1000)
    expected = [np.pi / 2, np.arctan(700) + np.arctan(1300), np.pi]
    assert integral.real.numpy() == pytest.approx(expected, abs=tolerance)
    assert 0 < error <= tolerance
    assert points < 2000
    in_parts, _, _ = integrate(function, path, panels, tolerance, 10000, 30)
    torch.testing.assert_close(in_parts, integral)


def test_quadrature_to_infinity():
    path = upwards(3.0)
    integral, _, _ = integrate(lambda z, w: torch.as_tensor(w @ (1 / (1 - z**2))[:, None]), path, 1, 1e-10, 1000, 1000)
    assert complex(integral[0]) == pytest.approx(0.5j * np.pi, abs=1e-10)  # int dy/(1 + y^2)


def test_quadrature_gives_up():
    path, panels = along([0.0, 1.0])
    with pytest.raises(InputError, match=r"converge to 1e-09 within 500 points, got an error of .*: raise max_points"):
        integrate(lambda x, w: torch.as_tensor(w @ np.sin(1e4 * x)[:, None]), path, panels, 1e-9, 500, 100)


# Green functions


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_recursion_equals_the_inverse_of_the_whole_matrix(length, width):
    spins = random_directions(length * width, 3).reshape(length, width, 3)
    transverse = -(np.eye(width, k=1) + np.eye(width, k=-1))
    leads = SemiInfiniteLead(onsite=transverse), WideBandLead(0.7)
    junction = ribbon(spins, 1.7, leads, transverse)
    junction = replace(junction, hopping=junction.hopping * (1 + 0.3j), bath=0.05)
    energies = [0.1, -1.4, 0.5 + 0.1j]
    blocks, _, _ = junction.green(energies, columns=True)
    whole = dense_green(junction, energies)[0].reshape(3, length, 2 * width, length, 2 * width)
    for n in range(length):
        after = min(n + 1, length - 1)
        for name, row, column in (("diagonal", n, n), ("first", n, 0), ("last", n, -1), ("upper", n, after)):
            if name != "upper" or after > n:
                found = getattr(blocks, name)[n].resolve_conj().numpy()
                assert found == pytest.approx(whole[:, row, :, column], abs=1e-10)
        if after > n:
            assert blocks.lower[n].resolve_conj().numpy() == pytest.approx(whole[:, after, :, n], abs=1e-10)


def test_every_level_is_one_level():
    """Spectral densities integrate to one; all levels of these spins lie inside the band of the leads."""
    lead = SemiInfiniteLead(hopping=2.0, coupling=1.0)
    junction = chain(random_directions(5, 2), 0.5, (lead, lead))

    def function(energies, weights):
        return torch.as_tensor(weights).real @ local_density_of_states(junction, energies).flatten(1)

    path, panels = along([-4.0, 4.0])
    integral, _, _ = integrate(function, path, panels, 1e-9, 10000, 1000)
    assert integral.numpy() == pytest.approx(np.ones(10), abs=1e-8)


# steady states


@pytest.mark.parametrize("temperature", [0.0, 0.001, 0.05, 1.0])
def test_one_level_in_a_wide_band(temperature):
    """Closed forms of the filling, the contour apart from the window."""
    level, width, mu, voltage = 0.4, 0.6, 0.1, 0.7
    onsite = level * np.eye(2)[None]
    junction = Junction(onsite, [], (WideBandLead(0.2), WideBandLead(0.4)))

    def filling(mu):
        if temperature == 0:
            return 0.5 + np.arctan(2 * (mu - level) / width) / np.pi
        argument = 0.5 + (0.5 * width + 1j * (level - mu)) / (2 * np.pi * temperature)
        return 0.5 - digamma(argument).imag / np.pi

    equilibrium = steady_state(junction, mu, temperature=temperature)
    assert float(site_density(equilibrium)) == pytest.approx(2 * filling(mu), abs=1e-8)
    driven = steady_state(junction, mu, voltage, temperature)
    expected = (filling(mu + voltage / 2) + 2 * filling(mu - voltage / 2)) / 3
    assert float(site_density(driven)) == pytest.approx(2 * expected, abs=1e-8)
    current = 2 * 0.2 * 0.4 / width * (filling(mu + voltage / 2) - filling(mu - voltage / 2))
    assert driven.currents.numpy() == pytest.approx(np.array([[current, 0, 0, 0]] * 2), abs=1e-8)


def long_chain(spins, ends, mu, temperature):
    """Density matrix of the spins in the middle of a chain, (2N, 2N), by exact diagonalisation."""
    total = len(spins) + 2 * ends
    matrix = np.kron(-np.eye(total, k=1) - np.eye(total, k=-1), np.eye(2)).astype(complex)
    for site, spin in enumerate(spins, ends):
        matrix[2 * site : 2 * site + 2, 2 * site : 2 * site + 2] -= np.einsum("a,ast->st", spin, SIGMA)
    levels, states = np.linalg.eigh(matrix)
    inner = states[2 * ends : 2 * (ends + len(spins))]
    return inner * (0.5 * (1 - np.tanh((levels - mu) / (2 * temperature)))) @ inner.conj().T


@pytest.mark.parametrize(("temperature", "closest"), [(0.005, 2e-4), (0.02, 1e-8)])
def test_without_voltage_it_is_a_long_chain(temperature, closest):
    """Six spins between ends of 300 sites, whose levels are 0.01 apart: exact where the temperature hides this."""
    spins = random_directions(6, 5)
    density = long_chain(spins, 300, 0.3, temperature)
    state = steady_state(chain(spins), 0.3, temperature=temperature)
    for n in range(6):
        part, after = slice(2 * n, 2 * n + 2), slice(2 * n + 2, 2 * n + 4)
        assert state.density[n].numpy() == pytest.approx(density[part, part], abs=closest)
        if n < 5:
            assert state.bonds[n].numpy() == pytest.approx(density[part, after], abs=closest)
    assert state.currents[:, 0].numpy() == pytest.approx(np.zeros(7), abs=1e-12)


@pytest.mark.parametrize("voltage", [0.0, 0.5])
def test_zero_is_the_limit_of_low_temperatures(voltage):
    """Two ways of integrating, and Sommerfeld's square."""
    junction = chain(random_directions(6, 5))
    cold = steady_state(junction, 0.3, voltage).density
    distances = [
        float((steady_state(junction, 0.3, voltage, temperature, 1e-11).density - cold).abs().max())
        for temperature in (1e-2, 1e-3, 1e-4)
    ]
    assert distances[1] == pytest.approx(1e-2 * distances[0], rel=0.2)
    assert distances[2] < 1e-7


def test_numbers_of_the_valve_of_two_spins():
    """Two spins at a right angle, J = t = 1, T = 0, V = 0.5: a pinwheel, and field-like parts that differ."""
    first, second = fields([UP, [1.0, 0.0, 0.0]], 0.5)
    assert second @ np.cross(UP, [1, 0, 0]) == pytest.approx(-0.00399, abs=5e-6)
    assert first @ np.cross([1, 0, 0], UP) == pytest.approx(0.00399, abs=5e-6)
    assert second @ UP == pytest.approx(-0.0878, abs=5e-5)
    assert first @ [1, 0, 0] == pytest.approx(-0.0799, abs=5e-5)


def test_steady_state_is_the_integral_of_the_lesser_green_function():
    """All of it on the real axis, dense matrices, trapezoidal rule: no contour, no recursion."""
    leads = SemiInfiniteLead(coupling=0.8), WideBandLead(np.diag([0.9, 0.4]))
    junction = chain(random_directions(3, 8), 1.1, leads, bath=0.1).with_potential_drop(0.3)
    mu, voltage, temperature = -0.2, 0.5, 0.1
    state = steady_state(junction, mu, voltage, temperature)
    x, step = np.linspace(-1, 0.3, 10001, retstep=True)
    energies, weights = np.sinh(13 * x), step * 13 * np.cosh(13 * x) / (2 * np.pi)  # tails of the levels reach far
    green, widths = dense_green(junction, energies)
    filled = [0.5 * (1 - np.tanh((energies - level) / (2 * temperature))) for level in (mu + 0.25, mu - 0.25, mu)]
    filling = np.einsum("ae,aeij->eij", filled, widths)
    density = np.einsum("e,eij->ij", weights, green @ filling @ green.conj().swapaxes(1, 2))
    for n in range(3):
        part = slice(2 * n, 2 * n + 2)
        assert state.density[n].numpy() == pytest.approx(density[part, part], abs=1e-5)
    assert state.bonds[1].numpy() == pytest.approx(density[2:4, 4:6], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.03])
def test_conservation_laws(temperature):
    """Electrons everywhere; angular momentum up to the torques on the spins; fillings between empty and full."""
    spins = random_directions(30, 4)
    state = steady_state(chain(spins, 0.6), -0.4, 1.0, temperature)
    assert state.current > 0.01
    assert state.currents[:, 0].numpy() == pytest.approx(np.full(31, state.current), abs=1e-8)
    torques = np.cross(spins, exchange_fields(state, 0.6)[:, 0])
    assert torques == pytest.approx(-np.diff(state.currents[:, 1:].numpy(), axis=0), abs=1e-8)
    assert np.abs(torques.sum(0)).max() > 1e-3
    filling = torch.linalg.eigvalsh(state.density)
    assert filling.min() > 0
    assert filling.max() < 1
    torch.testing.assert_close(state.density, state.density.mH, rtol=0, atol=1e-12)


def test_landauer():
    """The current is the transmission integrated between the chemical potentials, and cannot exceed that of a wire."""
    junction = chain(random_directions(4, 6))
    state = steady_state(junction, 0.3, 0.8)
    energies, weights = np.polynomial.legendre.leggauss(200)
    probability = transmission(junction, 0.3 + 0.4 * energies).sum((1, 2)).numpy()
    assert state.current == pytest.approx(0.4 * weights @ probability / (2 * np.pi), abs=1e-10)
    assert probability.max() < 2
    wire = Junction(np.zeros((4, 2, 2)), -np.tile(np.eye(2), (3, 1, 1)), (CHAIN, CHAIN))
    assert steady_state(wire, 0.3, 0.8).current == pytest.approx(2 * 0.8 / (2 * np.pi), abs=1e-10)


def test_transmission_of_one_spin_in_a_wire():
    """An impurity of energy -+J: T = 1 / (1 + (J / (2 t sin k))^2), and nothing flips along the quantum axis."""
    energies = np.array([-1.5, 0.0, 0.7])
    probability = transmission(chain([UP], 0.9), energies).numpy()
    expected = 1 / (1 + 0.81 / (4 - energies**2))
    assert probability == pytest.approx(expected[:, None, None] * np.eye(2), abs=1e-12)
    across = transmission(chain([[1.0, 0.0, 0.0]], 0.9), energies).numpy()
    assert across.sum((1, 2)) == pytest.approx(2 * expected, abs=1e-12)
    assert (across[:, 0, 1] > 0.01).all()


def test_polarised_lead_sends_angular_momentum():
    """From a half-metallic lead each electron brings one half, down or up."""
    leads = WideBandLead(np.diag([1.0, 0.0])), CHAIN
    state = steady_state(chain([[0, 0, 0.0]], leads=leads), 0.0, 0.5)
    assert state.currents[0].numpy() == pytest.approx(state.current * np.array([1, 0, 0, 0.5]), abs=1e-10)
    assert state.current > 0.01


@pytest.mark.parametrize("voltage", [0.0, 0.7])
def test_turning_all_spins_turns_all_fields(voltage):
    spins = random_directions(5, 7)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    assert fields(spins @ turn.T, voltage) == pytest.approx(fields(spins, voltage) @ turn.T, abs=1e-9)


def test_mirror_of_device_and_voltage():
    spins = random_directions(5, 9)
    assert fields(spins[::-1], -0.7)[::-1] == pytest.approx(fields(spins, 0.7), abs=1e-9)
    mirrored = steady_state(chain(spins[::-1]).with_potential_drop(-0.7), 0.3, -0.7)
    state = steady_state(chain(spins).with_potential_drop(0.7), 0.3, 0.7)
    assert mirrored.density.flip(0).numpy() == pytest.approx(state.density.numpy(), abs=1e-9)
    assert np.abs(exchange_fields(state, 1.0)[:, 0].numpy() - fields(spins, 0.7)).max() > 1e-3


def test_time_reversal_holds_without_voltage_only():
    spins = random_directions(5, 10)
    assert fields(-spins, 0.0) == pytest.approx(-fields(spins, 0.0), abs=1e-9)
    assert np.abs(fields(-spins, 0.7) + fields(spins, 0.7)).max() > 1e-3


def test_energies_count_from_anywhere():
    spins = random_directions(4, 11)
    lead = SemiInfiniteLead(onsite=2.5)
    raised = chain(spins, leads=(lead, lead))
    raised = replace(raised, onsite=raised.onsite + 2.5 * torch.eye(2))
    density = steady_state(raised, 2.8, 0.5).density.numpy()
    assert density == pytest.approx(steady_state(chain(spins), 0.3, 0.5).density.numpy(), abs=1e-9)


@pytest.mark.parametrize("voltage", [0.0, 0.6])
def test_a_ribbon_uniform_across_is_a_sum_of_chains(voltage):
    """Periodic across, all spins of a slice alike: every wave number k is a chain with energies -2 cos k more."""
    width, spins = 6, random_directions(4, 12)
    transverse = -(np.roll(np.eye(width), 1, 0) + np.roll(np.eye(width), -1, 0))
    lead = SemiInfiniteLead(onsite=transverse)
    whole = ribbon(np.repeat(spins[:, None], width, axis=1), 1.0, (lead, lead), transverse)
    state = steady_state(replace(whole, bath=0.01), -0.5, voltage, 0.02)
    mean, current = 0, 0
    for k in 2 * np.pi * np.arange(width) / width:
        lead = SemiInfiniteLead(onsite=-2 * np.cos(k))
        alone = chain(spins, leads=(lead, lead))
        alone = replace(alone, onsite=alone.onsite - 2 * np.cos(k) * torch.eye(2), bath=0.01)
        one = steady_state(alone, -0.5, voltage, 0.02)
        mean, current = mean + exchange_fields(one, 1.0)[:, 0] / width, current + one.currents
    for site in range(width):
        torch.testing.assert_close(exchange_fields(state, 1.0)[:, site], mean, rtol=0, atol=1e-8)
    torch.testing.assert_close(state.currents, current, rtol=0, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.0, 0.02])
def test_tolerance_bounds_the_error(temperature):
    junction = chain(random_directions(8, 13), 0.8)
    exact = steady_state(junction, 0.3, 0.5, temperature, 1e-12)
    before = np.inf
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        state = steady_state(junction, 0.3, 0.5, temperature, tolerance)
        assert (state.density - exact.density).abs().max() < tolerance
        assert (state.bonds - exact.bonds).abs().max() < tolerance
        assert state.error < 3 * tolerance
        assert state.error < before
        before = state.error


def test_energies_in_batches(monkeypatch):
    junction = chain(random_directions(6, 14))
    whole = steady_state(junction, 0.3, 0.5, 0.02)
    monkeypatch.setattr("ase_spinml.electrons.negf.MEMORY", 1)
    torch.testing.assert_close(steady_state(junction, 0.3, 0.5, 0.02).density, whole.density, rtol=0, atol=1e-12)


def test_curl_of_the_fields():
    """None without a voltage. With it the share that no two potentials carry is that of random spins of six sites."""
    shares = []
    for seed in range(6):
        spins = random_directions(6, seed)
        assert curl(lambda s: fields(s, 0.0), spins, precision=1e-12).relative < 1e-7
        report = curl(lambda s: fields(s, 0.5), spins, precision=1e-12)
        shares.append((report.relative, report.share_20, report.violation))
    relative, share, violation = np.mean(shares, axis=0)
    assert 0.1 < relative < 0.35
    assert share == pytest.approx(0.73, abs=0.08)
    assert 0.08 < violation < 0.25


@pytest.mark.physical
def test_curl_grows_with_the_voltage():
    """Means over 20 sets of random spins of six sites, between pairs of different spins."""
    for voltage, expected in ((0.1, 0.045), (0.5, 0.20), (2.0, 0.35)):
        shares, violations = [], []
        for seed in range(20):
            report = curl(lambda s, v=voltage: fields(s, v), random_directions(6, seed), precision=1e-12)
            pairs = report.two_form.reshape(6, 2, 6, 2).copy()
            pairs[np.arange(6), :, np.arange(6)] = 0
            shares.append(np.linalg.norm(report.part_20) / np.linalg.norm(pairs))
            violations.append(report.violation)
        assert np.mean(shares) == pytest.approx(0.77, abs=0.06)
        assert abs(np.mean(violations) - expected) < 1.5 * np.std(violations)


# refusals


def test_bound_levels_need_a_bath():
    """Levels between the chemical potentials but below the bands of both leads are filled by a bath alone."""
    lead = SemiInfiniteLead(onsite=3.0)
    junction = Junction(np.zeros((3, 2, 2)), -0.3 * np.tile(np.eye(2), (2, 1, 1)), (lead, lead))
    with pytest.raises(InputError, match=r"got one bound to the device that has .* electrons at a state: add a"):
        steady_state(junction, 0.0, 1.5)
    damped = replace(junction, bath=1e-3)
    filled = site_density(steady_state(damped, 0.0))
    torch.testing.assert_close(site_density(steady_state(damped, 0.0, 1.5)), filled, rtol=0, atol=1e-8)
    assert 3 < float(filled.sum()) < 4  # two levels of two spins, which reach into the leads


def test_messages_of_steady_states():
    junction = chain(random_directions(2, 1))
    with pytest.raises(InputError, match="Expected voltage to be a finite number, got inf"):
        steady_state(junction, 0.0, np.inf)
    with pytest.raises(InputError, match="Expected chemical_potential to be a finite number, got nan"):
        steady_state(junction, np.nan)
    with pytest.raises(InputError, match=r"Expected a temperature >= 0, got -1.0"):
        steady_state(junction, 0.0, temperature=-1)
    with pytest.raises(InputError, match=r"Expected a tolerance of at least 1e-13, got 0.0"):
        steady_state(junction, 0.0, tolerance=0)
    with pytest.raises(
        InputError, match=r"to converge to 1e-10 within 20 points, got an error of .*: raise max_points"
    ):
        steady_state(junction, 0.0, 0.5, tolerance=1e-10, max_points=20)
    with pytest.raises(InputError, match="Expected a list of finite energies"):
        transmission(junction, 0.3)
    with pytest.raises(InputError, match="Expected voltage to be a finite number, got None"):
        junction.with_potential_drop(None)


def test_messages_of_junctions():
    onsite, hopping, leads = np.zeros((3, 2, 2)), np.zeros((2, 2, 2)), (CHAIN, CHAIN)
    with pytest.raises(
        InputError, match=r"Expected onsite blocks of shape \(L, b, b\) with an even number b, got \(3, 3, 3\)"
    ):
        Junction(np.zeros((3, 3, 3)), hopping, leads)
    with pytest.raises(InputError, match=r"Expected hopping blocks of shape \(2, 2, 2\).*got \(3, 2, 2\)"):
        Junction(onsite, np.zeros((3, 2, 2)), leads)
    with pytest.raises(InputError, match="Expected finite blocks of the Hamiltonian, got NaN"):
        Junction(onsite, np.nan * hopping, leads)
    with pytest.raises(
        InputError, match=r"Expected Hermitian onsite blocks, got some that differ from their adjoint by 1.0e"
    ):
        Junction(onsite + np.triu(np.ones((2, 2)), 1), hopping, leads)
    with pytest.raises(InputError, match=r"Expected leads=\(left, right\), got none or another number: give two"):
        Junction(onsite, hopping, None)
    with pytest.raises(InputError, match=r"Expected leads=\(left, right\), got 1.0 among them: use SemiInfiniteLead"):
        Junction(onsite, hopping, (CHAIN, 1.0))
    with pytest.raises(InputError, match=r"Expected a bath of width >= 0, got -0.1"):
        Junction(onsite, hopping, leads, bath=-0.1)


def test_messages_of_leads():
    with pytest.raises(InputError, match="Expected a hopping of the lead other than zero, got 0"):
        SemiInfiniteLead(0)
    with pytest.raises(InputError, match="Expected coupling of the lead to be a finite number, got nan"):
        SemiInfiniteLead(coupling=np.nan)
    with pytest.raises(
        InputError, match="Expected onsite of the lead to be Hermitian, got one that differs from its adj"
    ):
        SemiInfiniteLead(onsite=[[0, 1], [0, 0]])
    with pytest.raises(
        InputError, match=r"Expected onsite of the lead to be a finite square matrix, got one of shape \(2"
    ):
        SemiInfiniteLead(onsite=[0, 1])
    with pytest.raises(InputError, match="Expected onsite of the lead for 1 sites or 2 states, got 3"):
        steady_state(chain([UP], leads=(SemiInfiniteLead(onsite=np.eye(3)), CHAIN)), 0.0)
    with pytest.raises(InputError, match="Expected a width of the lead above zero, got -1"):
        WideBandLead(-1)
    with pytest.raises(InputError, match="Expected a width of the lead without negative eigenvalues, got -1"):
        WideBandLead(-np.eye(2))
    with pytest.raises(
        InputError, match=r"Expected a finite hopping \(m, m\) and coupling \(b, m\) of the lead, m = 2"
    ):
        BlockLead(np.eye(2), np.eye(3))
    with pytest.raises(InputError, match="Expected a broadening of the lead above zero, got 0"):
        BlockLead(np.eye(2), np.eye(2), broadening=0)
    with pytest.raises(InputError, match="Expected a coupling of the lead with 2 rows, got 4"):
        steady_state(chain([UP], leads=(BlockLead(np.eye(4), np.eye(4)), CHAIN)), 0.0)
    z = torch.tensor([0.1 + 0j], dtype=torch.complex128)
    with pytest.raises(
        InputError, match=r"converge in 100 decimations, got a rest of .*: raise the broadening of the lead"
    ):
        decimated_surface(z, torch.zeros(1, 1, dtype=torch.complex128), torch.ones(1, 1, dtype=torch.complex128))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_keep_their_device():
    junction = chain(random_directions(6, 1))
    on_device = Junction(junction.onsite.cuda(), junction.hopping.cuda(), junction.leads)
    state, expected = steady_state(on_device, 0.3, 0.5, 0.02), steady_state(junction, 0.3, 0.5, 0.02)
    assert state.density.is_cuda
    assert state.currents.is_cuda
    torch.testing.assert_close(state.density.cpu(), expected.density, rtol=0, atol=1e-10)
