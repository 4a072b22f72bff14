"""Curl of fields of spins, work around loops, torques between two blocks: closed forms and known potentials."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from spin_samples import crystal

from ase_spinml import (
    SOSO,
    Anisotropy,
    Heisenberg,
    SlonczewskiTorque,
    SpinCalculator,
    SpinDynamics,
    SpinGAP,
    Zeeman,
    ZhangLiTorque,
    get_moments,
    get_spins,
    set_moments,
)
from ase_spinml.analysis import (
    cone_loop,
    curl,
    labelled_work,
    loop_work,
    plane_loop,
    quadrature_loop,
    valve_torques,
)
from ase_spinml.errors import InputError
from ase_spinml.landscape.modes import spin_modes
from ase_spinml.moments import random_directions, store_results, transverse
from ase_spinml.units import GYROMAGNETIC_RATIO, MU_B

BONDS = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2)]
STRENGTHS = [0.7, -0.4, 1.1, 0.3, -0.9]


def dots(s):
    return torch.stack([s[i] @ s[j] for i, j in BONDS])


def triple(s, i, j, k):
    return s[i] @ torch.linalg.cross(s[j], s[k])


POTENTIALS = {
    "Heisenberg": lambda s: (torch.tensor(STRENGTHS, dtype=s.dtype) * dots(s)).sum(),
    "biquadratic": lambda s: (torch.tensor(STRENGTHS, dtype=s.dtype) * dots(s) ** 2).sum(),
    "chirality": lambda s: triple(s, 0, 1, 2) - 0.6 * triple(s, 1, 2, 3),
    "product of chiralities": lambda s: triple(s, 0, 1, 2) * triple(s, 1, 2, 3),
    "ring": lambda s: (s[0] @ s[1]) * (s[2] @ s[3]) + (s[0] @ s[3]) * (s[1] @ s[2]) - (s[0] @ s[2]) * (s[1] @ s[3]),
    "any invariant": lambda s: (
        torch.tanh(dots(s) @ dots(s).flip(0) + triple(s, 0, 2, 3)) * torch.exp(0.3 * s[0] @ s[2])
    ),
    "pinned to the crystal": lambda s: s[0, 2] ** 2 + s[1, 0] * s[2, 1] - 0.5 * s[3, 2] ** 4,
}


def derived(energy=None, second=None):
    """The field -dE/dS - S x dG/dS."""

    def gradient(potential, spins):
        if potential is None:
            return np.zeros_like(spins)
        s = torch.tensor(spins, requires_grad=True)
        return torch.autograd.grad(potential(s), s)[0].numpy()

    return lambda spins: -gradient(energy, spins) - np.cross(spins, gradient(second, spins))


def valve(angle):
    """Two spins an angle apart, degrees, in no special plane."""
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    theta = np.radians(angle)
    return np.array([[0, 0, 1], [np.sin(theta), 0, np.cos(theta)]]) @ turn.T


def valve_field(field_like, damping_like):
    """F_1 = f_1 S_2 + d_1 S_1 x S_2, F_2 = f_2 S_1 + d_2 S_2 x S_1, with constant strengths."""

    def field(spins):
        normal = np.cross(*spins)
        return np.array(field_like)[:, None] * spins[::-1] + np.array(damping_like)[:, None] * [normal, -normal]

    return field


# --- the curl of derivatives ---


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_field_with_an_energy_has_no_curl(name):
    report = curl(derived(POTENTIALS[name]), random_directions(4, 2))
    assert report.relative < 1e-9
    assert report.violation < 1e-9
    assert np.linalg.norm(report.symmetric) > 0.1
    assert np.isnan(report.share_20)


@pytest.mark.parametrize("name", POTENTIALS)
def test_two_potentials_leave_the_curl_of_type_11(name):
    spins = random_directions(4, 3)
    report = curl(derived(None, POTENTIALS[name]), spins)
    assert report.relative > 0.1
    assert report.share_20 < 1e-9
    mixed = curl(derived(POTENTIALS["any invariant"], POTENTIALS[name]), spins)
    assert mixed.violation < 1e-9
    np.testing.assert_allclose(mixed.two_form, report.two_form, atol=1e-8)


def test_the_own_curl_is_minus_the_laplacian_of_the_second_potential():
    spins = random_directions(4, 5)
    report = curl(derived(None, POTENTIALS["Heisenberg"]), spins)
    neighbours = np.zeros((4, 3))
    for (i, j), strength in zip(BONDS, STRENGTHS, strict=True):
        neighbours[i] += strength * spins[j]
        neighbours[j] += strength * spins[i]
    np.testing.assert_allclose(report.own, 2 * np.sum(spins * neighbours, axis=1), rtol=1e-8)
    z = spins[:, 2]  # Laplacian of z^2 on the sphere: 2 - 6 z^2, of z^4: 12 z^2 - 20 z^4
    pinned = curl(derived(None, POTENTIALS["pinned to the crystal"]), spins).own
    np.testing.assert_allclose(pinned[[0, 3]], [6 * z[0] ** 2 - 2, 6 * z[3] ** 2 - 10 * z[3] ** 4], atol=1e-8)


def test_between_two_spins_the_curl_of_exchange_as_second_potential_is_known():
    """F_1 = -g S_1 x S_2, F_2 = -g S_2 x S_1: A(u, v) = -g (S_1 + S_2).(u x v)."""
    spins = valve(70)
    report = curl(valve_field((0, 0), (-0.8, -0.8)), spins)
    first, second = report.tangents
    expected = -0.8 * np.array([[spins.sum(axis=0) @ np.cross(u, v) for v in second] for u in first])
    np.testing.assert_allclose(report.two_form[:2, 2:], expected, atol=1e-9)
    assert report.share_20 < 1e-9


# --- the curl of what has no potentials ---


@pytest.mark.parametrize("angle", [10, 60, 90, 150])
def test_the_pinwheel_in_closed_form(angle):
    """F_1 = F_2 = b S_1 x S_2: A(u, v) = b (S_1 - S_2).(u x v) is of type (2,0) alone, and A_i1,i2 = -+ 2 b S_1.S_2."""
    spins, cosine, b = valve(angle), np.cos(np.radians(angle)), 0.7
    report = curl(valve_field((0, 0), (b, -b)), spins)
    first, second = report.tangents
    expected = b * np.array([[(spins[0] - spins[1]) @ np.cross(u, v) for v in second] for u in first])
    np.testing.assert_allclose(report.two_form[:2, 2:], expected, atol=1e-9)
    np.testing.assert_allclose(report.part_20[:2, 2:], expected, atol=1e-9)
    np.testing.assert_allclose(report.own, [-2 * b * cosine, 2 * b * cosine], atol=1e-9)
    assert report.share_20 == pytest.approx((1 - cosine) / np.hypot(1 - cosine, 2 * cosine), rel=1e-8)


def test_unequal_field_like_torques_in_closed_form():
    """F_1 = f_1 S_2, F_2 = f_2 S_1: A(u, v) = (f_2 - f_1) u.v, of type (2,0) by (1 - c)/2 and (1,1) by (1 + c)/2."""
    spins, cosine = valve(50), np.cos(np.radians(50))
    report = curl(valve_field((0.3, 0.5), (0, 0)), spins)
    first, second = report.tangents
    np.testing.assert_allclose(report.two_form[:2, 2:], 0.2 * first @ second.T, atol=1e-9)
    assert report.share_20 == pytest.approx((1 - cosine) / np.sqrt(2 + 2 * cosine**2), rel=1e-8)


def test_the_type_does_not_depend_on_the_frames_or_on_a_common_turn():
    spins = random_directions(5, 8)
    coefficients = np.random.default_rng(3).normal(size=(5, 5))

    def field(s):
        return coefficients @ s + np.cross(s, coefficients.T @ s)

    report = curl(field, spins)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    turned = curl(field, spins @ turn.T)
    assert 0.1 < report.share_20 < 0.99
    assert turned.share_20 == pytest.approx(report.share_20, rel=1e-8)
    assert turned.relative == pytest.approx(report.relative, rel=1e-8)


# --- calculators ---


def test_calculators_with_an_energy_have_no_curl_whatever_the_moments():
    atoms = crystal(1)
    atoms.calc = SumCalculator(
        [Heisenberg([0.02, 0.01], dmi=[0.003], biquadratic=[0.004]), Zeeman((0, 3, 40)), Anisotropy(1e-3, [1, 1, 0])]
    )
    before = get_moments(atoms)
    report = curl(atoms)
    assert report.relative < 1e-9
    assert report.jacobian.shape == (30, 30)
    assert 3 not in report.atoms
    np.testing.assert_array_equal(get_moments(atoms), before)
    hessian = -np.linalg.eigvalsh(report.symmetric)[::-1]
    np.testing.assert_allclose(hessian, spin_modes(atoms, 30)[0], atol=1e-8)


def test_fields_per_moment_taken_for_fields_per_direction_have_a_curl():
    """Why the one-form is m_i H_i: unequal lengths make H_i itself look as if it had no energy."""
    atoms = crystal(1)
    calc = Heisenberg([0.02])

    def wrong(spins):
        frame = atoms.copy()
        set_moments(frame, np.linalg.norm(get_moments(atoms), axis=1)[:, None] * spins)
        return calc.get_property("exchange_fields", frame)

    assert curl(wrong, get_spins(atoms)).relative > 0.1


def test_slonczewski_in_closed_form():
    """F_i = m_i mu_B (B_DL e x p + B_FL p): A_i1,i2 = -2 m_i mu_B B_DL p.e_i, S_i = -m_i mu_B B_FL p.e_i."""
    atoms = crystal(1)
    atoms.calc = SlonczewskiTorque((1, 2, 2), 0.3, 0.8)
    report = curl(atoms)
    lengths = np.linalg.norm(get_moments(atoms), axis=1)[report.atoms]
    along = get_spins(atoms)[report.atoms] @ np.array([1, 2, 2]) / 3
    np.testing.assert_allclose(report.own, -2 * lengths * MU_B * 0.3 * along, rtol=1e-8)
    np.testing.assert_allclose(report.symmetric, np.diag(np.repeat(-lengths * MU_B * 0.8 * along, 2)), atol=1e-13)
    assert report.relative == pytest.approx(0.3 / 0.8, rel=1e-8)
    assert report.share_20 == 0.0


def test_the_adiabatic_torque_of_a_texture_is_a_row_of_pinwheels():
    """On a ring de/dx is (e_i+1 - e_i-1)/2a, so neighbours meet as in the pinwheel: type (2,0) alone."""
    ring = Atoms("Fe8", [(2.5 * k, 0, 0) for k in range(8)], cell=[20, 9, 9], pbc=(True, False, False))
    set_moments(ring, 2.0 * random_directions(8, 6))
    ring.calc = ZhangLiTorque((0.01, 0, 0), 3.0)
    report = curl(ring)
    blocks = report.two_form.reshape(8, 2, 8, 2)
    violating = report.part_20.reshape(8, 2, 8, 2)
    b, spins = 2.0 * 0.01 / (2 * 2.5 * GYROMAGNETIC_RATIO), get_spins(ring)
    for i in range(8):
        j = (i + 1) % 8
        first, second = report.tangents[[i, j]]
        expected = -b * np.array([[(spins[i] - spins[j]) @ np.cross(u, v) for v in second] for u in first])
        np.testing.assert_allclose(blocks[i, :, j], expected, atol=1e-8 * b)
        np.testing.assert_allclose(violating[i, :, j], expected, atol=1e-8 * b)


def test_a_fitted_model_has_no_curl(fe_dft):
    model = SpinGAP(SOSO(["Fe"], cutoff=4.0, n_max=4, n_max_angular=3, l_max=2), n_sparse=20, rng=0).fit(fe_dft[:12])
    atoms = fe_dft[40].copy()
    set_moments(atoms, 2.0 * random_directions(len(atoms), 0))
    atoms.calc = SpinCalculator(model)
    assert curl(atoms).relative < 1e-8
    assert abs(loop_work(atoms, cone_loop(get_spins(atoms), 1, 60)).work) < 1e-9


def test_a_coarse_field_needs_a_coarse_step():
    def single(spins):
        return derived(POTENTIALS["any invariant"])(spins).astype(np.float32)

    spins = random_directions(4, 2)
    report = curl(single, spins, precision=1e-7)
    assert report.relative < 0.2 * curl(single, spins).relative
    assert report.relative < 3e-4
    assert report.resolution == pytest.approx(2.2e-5, rel=0.05)
    assert np.isnan(report.share_20)


# --- work ---


def test_work_of_a_field_with_an_energy_is_zero():
    atoms = crystal(1)
    atoms.calc = SumCalculator([Heisenberg([0.02, 0.01], dmi=[0.003], biquadratic=[0.004]), Zeeman((0, 3, 40))])
    for loop in (cone_loop(get_spins(atoms), 0, 70, 24), quadrature_loop(get_spins(atoms), 1, 5, 60, 24)):
        work, error = loop_work(atoms, loop)
        assert abs(work) < 1e-8
        assert abs(work) < error < 1e-5


def test_work_of_slonczewskis_torque_around_a_cone():
    """W = -m mu_B B_DL a. The integral a of p.(e x de) is 2 pi sin^2 on a circle, and K sin^2 sin(2 pi/K) arc/sin(arc)
    on K great arcs between its points."""
    atoms = Atoms("Fe")
    set_moments(atoms, [[0, 0, 1.7]])
    atoms.calc = SlonczewskiTorque((0, 0, 1), 0.3, 0.8)
    squared = np.sin(np.radians(50)) ** 2
    for states in (3, 12, 200):
        arc = np.arccos(1 - squared * (1 - np.cos(2 * np.pi / states)))
        area = states * squared * np.sin(2 * np.pi / states) * arc / np.sin(arc)
        work, error = loop_work(atoms, cone_loop(get_spins(atoms), 0, 50, states))
        assert work == pytest.approx(-1.7 * MU_B * 0.3 * area, rel=1e-6 if states > 3 else 1e-3)
        assert abs(work + 1.7 * MU_B * 0.3 * area) <= error + 1e-18
    assert area == pytest.approx(2 * np.pi * squared, rel=1e-3)


def test_the_work_of_a_steady_precession_pays_for_its_damping():
    """Where B_DL = -alpha B the precession about the field is steady: in one turn the torque does the work that Gilbert
    damping takes away, alpha m/gamma times the integral of |de/dt|^2."""
    field, damping, m = 30.0, 0.05, 1.7
    atoms = Atoms("Fe")
    set_moments(atoms, m * np.array([[0.6, 0, 0.8]]))
    torque = SlonczewskiTorque((0, 0, 1), -damping * field)
    atoms.calc = SumCalculator([Zeeman((0, 0, field)), torque])
    period = 2 * np.pi / (GYROMAGNETIC_RATIO * MU_B * field)
    dynamics = SpinDynamics(atoms, period / 40, damping=damping, progress=False)
    states = []
    dynamics.attach(lambda: states.append(get_spins(atoms)), 1)
    dynamics.run(39)
    atoms.calc = torque
    dissipated = damping * m / GYROMAGNETIC_RATIO * (2 * np.pi * 0.6) ** 2 / period
    assert loop_work(atoms, np.array(states)).work == pytest.approx(dissipated, rel=5e-3)


def test_small_loops_measure_the_curl():
    """Stokes: W = pi angle^2 A(u, v)."""
    spins = random_directions(4, 7)
    coefficients = np.random.default_rng(3).normal(size=(4, 4))

    def field(s):
        return coefficients @ s + np.cross(s, coefficients.T @ s)

    report, area = curl(field, spins), np.pi * np.radians(0.5) ** 2
    assert loop_work(field, cone_loop(spins, 2, 0.5, 64)).work / area == pytest.approx(report.two_form[4, 5], rel=3e-3)
    pump = loop_work(field, quadrature_loop(spins, 1, 3, 0.5, 64)).work
    assert pump / area == pytest.approx(report.two_form[2, 6], rel=3e-3)
    rng = np.random.default_rng(0)
    u, v = transverse(rng.normal(size=(4, 3)), spins), transverse(rng.normal(size=(4, 3)), spins)
    along = [np.einsum("iax,ix->ia", report.tangents, rows).ravel() for rows in (u, v)]
    both = loop_work(field, plane_loop(spins, u, v, 0.5, 64)).work
    assert both / area == pytest.approx(along[0] @ report.two_form @ along[1], rel=3e-3)


def test_work_from_labels_alone():
    atoms = crystal(1)
    atoms.calc = SumCalculator([Heisenberg([0.02], biquadratic=[0.01]), SlonczewskiTorque((0, 0, 1), 20.0)])
    lengths = np.linalg.norm(get_moments(atoms), axis=1)[:, None]
    u, v = np.random.default_rng(2).normal(size=(2, 16, 3))
    results = []
    for states in (32, 64):
        loop, frames = plane_loop(get_spins(atoms), u, v, 50, states), []
        for spins in loop:
            frame = atoms.copy()
            set_moments(frame, lengths * spins)
            frame.calc = atoms.calc
            frames.append(store_results(frame))
        exact = loop_work(atoms, loop).work
        work, error = labelled_work(frames)
        assert abs(work - exact) < error
        results.append(abs(work - exact))
    assert results[1] < 0.3 * results[0]
    assert error < 0.6 * abs(exact)


# --- two blocks ---


def labelled(spins, forms, lengths=None):
    """A frame with the fields F_i / m_i."""
    lengths = np.linspace(1, 2, len(spins)) if lengths is None else lengths
    atoms = Atoms(f"Fe{len(spins)}", positions=np.arange(3.0 * len(spins)).reshape(-1, 3))
    set_moments(atoms, lengths[:, None] * spins)
    atoms.set_array("exchange_fields", forms / lengths[:, None])
    return atoms


def test_torques_of_a_valve_are_read_from_one_frame():
    spins = valve(65)
    found = valve_torques(labelled(spins, valve_field((0.3, 0.5), (-0.2, 0.1))(spins)))
    assert found.angle == pytest.approx(65)
    np.testing.assert_allclose(found.field_like, [0.3, 0.5], atol=1e-12)
    np.testing.assert_allclose(found.damping_like, [-0.2, 0.1], atol=1e-12)
    assert found.mismatch == pytest.approx(np.hypot(0.2, 0.3) / np.hypot(0.8, 0.1))


@pytest.mark.parametrize("name", ["Heisenberg", "biquadratic", "product of chiralities", "ring"])
def test_two_potentials_give_both_blocks_the_same_strengths(name):
    blocks = valve(110)[[0, 0, 1, 0]]
    field = derived(POTENTIALS[name], POTENTIALS["any invariant"])
    found = valve_torques(labelled(blocks, field(blocks)))
    np.testing.assert_allclose(found.field_like[0], found.field_like[1], atol=1e-12)
    np.testing.assert_allclose(found.damping_like[0], found.damping_like[1], atol=1e-12)
    assert abs(found.damping_like[0]) > 0.01


def test_a_calculators_results_serve_as_labels():
    atoms = crystal(1)
    spins = np.where(np.arange(16)[:, None] < 8, *valve(40))
    set_moments(atoms, np.linalg.norm(get_moments(atoms), axis=1)[:, None] * spins)
    atoms.calc = Heisenberg([0.02])
    atoms.get_potential_energy()
    found = valve_torques(atoms)
    bonds = 0.02 * 8 * 4  # 64 bonds between the halves, less those of the atom without a moment
    assert 0.6 * bonds < found.field_like[0] < bonds * 1.01
    assert found.mismatch < 1e-12


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: curl(lambda s: s), "Expected the spins at which to take the function of the field, got none"),
        (lambda: curl(crystal(1)), "Expected atoms with a calculator, got none"),
        (lambda: curl(lambda s: s, np.ones((2, 3))), "Expected spins of length one, or zero without a moment"),
        (lambda: curl(lambda s: s, np.ones(3)), r"Expected spins of shape \(N, 3\), finite numbers, got shape \(3,\)"),
        (lambda: curl(lambda s: s, np.zeros((2, 3))), "Expected a state with spins, got zero rows only"),
        (
            lambda: curl(lambda s: s[0], np.eye(3)),
            r"Expected the field to be finite numbers of shape \(3, 3\), .* \(3,\)",
        ),
        (lambda: curl(lambda s: s * np.nan, np.eye(3)), r"got shape \(3, 3\) with NaN or infinity"),
        (lambda: curl(lambda s: s, np.eye(3), precision=0), "Expected the precision of the field to be between 0 and"),
        (
            lambda: loop_work(lambda s: s, np.eye(3)),
            r"Expected a loop of at least three states, shape \(K, N, 3\), got",
        ),
        (
            lambda: loop_work(lambda s: s, np.array([[[0, 0, 1]], [[0, 0, -1]], [[1, 0, 0]]])),
            "Expected a loop that says which way spins turn, got opposite ones: add states between",
        ),
        (lambda: cone_loop(np.eye(3), 3, 20), "Expected the number of an atom with a moment, 0 to 2, got 3"),
        (lambda: cone_loop(np.eye(3), 0, 180), "Expected an angle between 0 and 180 degrees, got 180"),
        (lambda: cone_loop(np.eye(3), 0, 20, 2), "Expected at least three states for a loop, got 2"),
        (lambda: quadrature_loop(np.eye(3), 1, 1, 20), "Expected two different atoms for a loop in quadrature, got 1"),
        (lambda: labelled_work([crystal(1)] * 4), "Expected at least six labelled frames around a loop, got 4"),
        (
            lambda: labelled_work([crystal(1)] * 6),
            "Expected exchange_fields for every magnetic atom of frame 0, got none",
        ),
        (
            lambda: labelled_work([labelled(np.eye(3), np.eye(3))] * 5 + [crystal(1)]),
            "Expected frames that differ by their spins alone, got frame 5 with other atoms than frame 0",
        ),
        (lambda: valve_torques(crystal(1)), "Expected exchange_fields for every magnetic atom, got none for some"),
        (
            lambda: valve_torques(labelled(np.eye(3), np.eye(3))),
            "Expected spins in two directions that are not opposite, got 3",
        ),
        (
            lambda: valve_torques(labelled(np.eye(3)[[0, 0]], np.eye(3)[:2])),
            "in two directions that are not opposite, got 1",
        ),
        (lambda: valve_torques(labelled(valve(180), valve(90))), "that are not opposite, got opposite ones"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
