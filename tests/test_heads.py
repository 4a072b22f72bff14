"""Heads of SpinNN whose fields are no derivatives of an energy: forms, symmetries, what each can learn."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.mixing import SumCalculator
from scipy.spatial.transform import Rotation

from ase_spinml import (
    SOSO,
    Heisenberg,
    SpinCalculator,
    SpinDynamics,
    SpinNN,
    get_moments,
    get_spins,
    load_model,
    set_moments,
)
from ase_spinml.analysis import curl, valve_torques
from ase_spinml.errors import InputError
from ase_spinml.models.graph import Graph
from ase_spinml.moments import random_directions, rotate, transverse

HEADS = ("global", "site", "direct")
CHIRAL = {"cutoff": 3.5, "n_max": 3, "spin_l_max": 2, "n_max_angular": 2, "l_max": 1, "chirality": True}
SIZES = np.array([2.0, 2.0, 1.5, 1.5])


def cluster(seed):
    """Four atoms of two kinds in no particular place, moments of two lengths."""
    rng = np.random.default_rng(seed)
    sites = np.array([[0, 0, 0], [2.4, 0, 0], [0, 2.5, 0], [0.3, 0.4, 2.3]]) + rng.normal(scale=0.1, size=(4, 3))
    atoms = Atoms("Fe2Co2", positions=sites)
    set_moments(atoms, SIZES[:, None] * random_directions(4, rng))
    return atoms


def driven(atoms):
    """A tangent field on every spin that has both parities and no potential."""
    e, sites = get_spins(atoms), atoms.positions
    r = np.linalg.norm(sites[:, None] - sites[None], axis=2)
    w = np.where(r > 0, np.maximum(1 - r / 3.5, 0.0) ** 2, 0.0) * np.where(atoms.numbers == 26, 1.0, 0.6)[:, None]
    molecular = w @ e
    across = np.cross(e, molecular) * (1 + np.einsum("ia,ia->i", e, molecular))[:, None]
    pairs = np.einsum("ij,ik,jka->ia", w, w**2, np.cross(e[:, None], e[None]))
    return 0.02 * transverse(molecular + 0.5 * across + 0.8 * pairs, e)


def labelled(seed):
    atoms = cluster(seed)
    atoms.arrays["exchange_fields"] = driven(atoms)
    return atoms


def network(head, **options):
    descriptor = options.pop("descriptor", None) or SOSO(["Fe", "Co"], **CHIRAL)
    options = {"hidden": (12,), "epochs": 4, "progress": False, "sigma_field": 1e-3} | options
    return SpinNN(descriptor, head=head, **options)


@pytest.fixture(scope="module")
def frames():
    return [labelled(seed) for seed in range(20)]


@pytest.fixture(scope="module", params=HEADS)
def model(request, frames):
    return network(request.param, n_members=2).fit(frames)


def slopes(member, model, features, species):
    """Potentials' (or coefficients') sensitivities of one member as arrays (H, N, F)."""
    return member.slopes(features, species)[1].detach()


def test_fields_are_what_the_head_says(model):
    """Against central differences of E and G, of eps_i and gamma_i at frozen neighbours, or of the features."""
    atoms, h = cluster(90), 1e-5
    spins = get_spins(atoms)
    descriptor, blocks = model.descriptor_, model.descriptor_.blocks()
    structure = descriptor.structure(atoms)
    here = Graph(blocks, structure).features

    def features(moved):
        return Graph(blocks, structure.with_spins(torch.as_tensor(moved))).features

    def values(member, moved):
        """(H, N): what is differentiated, by atom."""
        x = features(moved)
        if model.head == "direct":
            return (slopes(member, model, here, structure.species) * x).sum(2).numpy()
        return np.array([part(x, structure.species).detach().numpy() for part in member.parts])

    expected = np.zeros((4, 3))
    for member in model.networks_:
        for i in range(4):
            gradient = np.zeros((2, 3))
            for axis in range(3):
                step = np.zeros((4, 3))
                step[i, axis] = h
                change = (values(member, spins + step) - values(member, spins - step)) / (2 * h)
                gradient[:, axis] = change.sum(1) if model.head == "global" else change[:, i]
            total = gradient[0] + np.cross(spins[i], gradient[1])
            expected[i] -= total / SIZES[i] / len(model.networks_)
    found = model.predict(atoms)["exchange_fields"]
    expected = transverse(expected, spins)
    assert np.abs(expected).max() > 1e-3
    assert np.allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_turning_the_spins_turns_the_fields(model):
    atoms = cluster(91)
    fields = model.predict(atoms)["exchange_fields"]
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    turned, moved, order = atoms.copy(), atoms.copy(), [2, 0, 3, 1]
    rotate(turned, turn)
    moved.rotate(40, (1, 2, 3))
    moved.positions *= -1
    assert np.allclose(model.predict(turned)["exchange_fields"], fields @ turn.T, rtol=0, atol=1e-13)
    assert np.allclose(model.predict(moved)["exchange_fields"], fields, rtol=0, atol=1e-13)
    assert np.allclose(model.predict(atoms[order])["exchange_fields"], fields[order], rtol=0, atol=1e-13)


@pytest.mark.parametrize("head", HEADS)
def test_in_equilibrium_fields_are_odd_under_time_reversal(frames, head):
    model = network(head, parity="equilibrium").fit(frames)
    atoms, flipped = cluster(92), cluster(92)
    set_moments(flipped, -get_moments(atoms))
    fields = model.predict(atoms)["exchange_fields"]
    assert np.abs(fields).max() > 1e-3
    assert np.allclose(model.predict(flipped)["exchange_fields"], -fields, rtol=0, atol=1e-14)


def test_driven_fields_have_both_parities(model):
    atoms, flipped = cluster(92), cluster(92)
    set_moments(flipped, -get_moments(atoms))
    fields, reversed_ = (model.predict(frame)["exchange_fields"] for frame in (atoms, flipped))
    assert np.abs(fields + reversed_).max() > 1e-3 < np.abs(fields - reversed_).max()


@pytest.mark.parametrize("head", HEADS)
def test_smooth_where_an_atom_leaves(frames, head):
    model = network(head, descriptor=SOSO(["Fe", "Co"], **CHIRAL)).fit(frames)
    atoms, field = cluster(93), []
    for distance in 3.5 + np.array([-2e-4, -1e-4, 0.0, 1e-4]):
        atoms.positions = [[0, 0, 0], [distance, 0, 0], [0, 30.0, 0], [0, 60.0, 0]]
        field.append(model.predict(atoms)["exchange_fields"][0])
    assert np.array_equal(field[2], field[3])
    assert np.abs(field[1] - field[2]).max() < 1e-9
    assert np.abs(field[0] - 2 * field[1] + field[2]).max() < 1e-9


def test_a_model_of_torques_says_that_it_has_no_energy(model, frames):
    atoms = labelled(94)
    calculator = SpinCalculator(model, uncertainty=True)
    assert calculator.conservative is model.conservative is False
    assert set(calculator.implemented_properties) == {"magmoms", "exchange_fields", "exchange_fields_std"}
    atoms.calc = calculator
    for ask, name in ((atoms.get_potential_energy, "energy"), (atoms.get_forces, "forces")):
        with pytest.raises(PropertyNotImplementedError) as error:
            ask()
        assert str(error.value) == (
            f"the fields of this model (head='{model.head}') are not derivatives of an energy, so there is no {name}: "
            "ask for exchange_fields, or fit with head='conservative'"
        )
    assert calculator.get_property("exchange_fields_std", atoms).shape == (4, 3)
    assert np.allclose(np.linalg.norm(atoms.get_magnetic_moments(), axis=1), SIZES, atol=1e-12)
    errors = model.evaluate([labelled(94)])
    assert set(errors) == {"n_frames", "n_atoms", "field_rmse", "turning_rmse"}
    atoms.calc = SumCalculator([Heisenberg([0.01], reference=cluster(0)[[0, 1]]), calculator])
    assert "energy" not in atoms.calc.implemented_properties


def test_a_saved_model_of_torques_is_the_same(model, tmp_path):
    model.save(tmp_path / "nn.model")
    again, atoms = load_model(tmp_path / "nn.model"), cluster(95)
    assert (again.head, again.parity, again.conservative) == (model.head, "driven", False)
    for name, value in model.predict(atoms).items():
        assert np.allclose(again.predict(atoms)[name], value, rtol=0, atol=1e-14), name


def test_spins_turn_in_the_field_of_the_model(model):
    atoms = cluster(96)
    atoms.calc = SpinCalculator(model)
    dynamics = SpinDynamics(atoms, 0.1, damping=0.1)
    before = get_spins(atoms)
    dynamics.run(3)
    assert np.abs(get_spins(atoms) - before).max() > 1e-5
    assert np.allclose(np.linalg.norm(get_moments(atoms), axis=1), SIZES, atol=1e-12)


def test_fields_as_tensors(model):
    atoms = cluster(97)
    fields = SpinCalculator(model).torch_fields(atoms, "cpu", torch.float64)(torch.as_tensor(get_spins(atoms)))
    assert np.allclose(fields, model.predict(atoms)["effective_fields"], rtol=0, atol=1e-14)


# -- what a head can learn ---------------------------------------------------------------------------------------------


def valve_fields(e):
    """Fields a(c) e' + b(c) e x e' of two spins e, e' on each other, c = e.e', with unlike functions on both sides."""
    c, turn = e[0] @ e[1], np.cross(e[0], e[1])
    fields = [
        (0.05 + 0.03 * c) * e[1] + (0.02 + 0.03 * c**2) * turn,
        (0.02 - 0.04 * np.sin(2 * c)) * e[0] + (0.04 * np.cos(c)) * turn,  # e_1 x e_0 = -turn: a pinwheel
    ]
    return transverse(np.array(fields), e)


def valve(seed):
    atoms = Atoms("FeCo", positions=[[0, 0, 0], [2.3, 0, 0]])
    set_moments(atoms, random_directions(2, np.random.default_rng(seed)))
    atoms.arrays["exchange_fields"] = valve_fields(get_spins(atoms))
    return atoms


PAIR = {"cutoff": 4.0, "n_max": 2, "spin_l_max": 4, "body_order": 2}


def valve_error(head, **options):
    descriptor = SOSO(["Fe", "Co"], **PAIR)
    frames = [valve(seed) for seed in range(40)]
    model = SpinNN(descriptor, hidden=(16, 16), head=head, epochs=100, sigma_field=1e-3, progress=False, **options)
    model.fit(frames)
    test = [valve(seed) for seed in range(100, 120)]
    scale = np.sqrt(np.mean([atoms.arrays["exchange_fields"] ** 2 for atoms in test]))
    return model.evaluate(test)["field_rmse"] / scale


def test_each_site_of_a_valve_can_have_a_field_of_its_own():
    """A global E(c), G(c) forces the same functions, and the same sense of the rotated part, on both spins."""
    assert valve_error("site") < 0.01
    assert valve_error("direct") < 0.01
    best = _best_global()
    assert best > 0.3
    assert valve_error("global") == pytest.approx(best, rel=0.1)


def test_that_two_potentials_fail_is_known_before_training():
    """From derivatives of the field, and from one label alone."""
    report = curl(valve_fields, get_spins(valve(3)))
    assert report.violation > 0.1
    assert report.share_20 > 0.3
    assert valve_torques(valve(3)).mismatch > 0.3


def test_only_the_site_head_has_a_curl_of_that_kind(frames):
    """The (2,0) part of the model's own field vanishes for the global head, whatever it was trained on."""
    reports = {}
    for head in ("global", "site"):
        atoms = cluster(98)
        atoms.calc = SpinCalculator(network(head).fit(frames))
        reports[head] = curl(atoms)
    assert reports["global"].relative > 0.1
    assert reports["global"].violation < 1e-7
    assert reports["site"].violation > 0.1


def _best_global():
    """Relative error of the best functions of c that are the same on both sides: by symmetry their averages."""
    errors, scale = [], []
    for seed in range(100, 120):
        atoms = valve(seed)
        e, fields = get_spins(atoms), atoms.arrays["exchange_fields"]
        bases = [(transverse(e[[1]], e[[0]])[0], np.cross(e[0], e[1])), (transverse(e[[0]], e[[1]])[0],)]
        bases[1] += (np.cross(e[1], e[0]),)
        parts = [np.linalg.lstsq(np.transpose(b), f, rcond=None)[0] for b, f in zip(bases, fields, strict=True)]
        mean = np.mean(parts, axis=0)
        errors += [f - np.transpose(b) @ mean for b, f in zip(bases, fields, strict=True)]
        scale += list(fields)
    return np.linalg.norm(errors) / np.linalg.norm(scale)


def ring_fields(e, pinwheel):
    """Fields of E = sum_i 0.02 (x_i + 0.3 x_i^2 / (1 + x_i^2 / 2)), x_i = sum_j w_ij e_i.e_j, and a pinwheel."""
    w = np.zeros((6, 6))
    for k in range(6):
        w[k, (k + 1) % 6] = w[k, k - 1] = 1.0
        w[k, (k + 2) % 6] = w[k, k - 2] = 0.4
    x = np.einsum("ij,ia,ja->i", w, e, e)
    slope = 0.02 * (1 + 0.3 * 2 * x / (1 + x**2 / 2) ** 2)
    return transverse(-(slope[:, None] * (w @ e) + w @ (slope[:, None] * e)) + pinwheel * np.cross(e, w @ e), e)


def ring_model(head, pinwheel):
    frames = []
    for seed in range(50):
        atoms = ring()
        set_moments(atoms, random_directions(6, np.random.default_rng(seed)))
        atoms.arrays["exchange_fields"] = ring_fields(get_spins(atoms), pinwheel)
        frames.append(atoms)
    soso = SOSO(["Fe"], cutoff=5.0, n_max=4, spin_l_max=2, body_order=2)
    model = SpinNN(soso, head=head, hidden=(16, 16), epochs=40, progress=False).fit(frames[:40])
    assert model.evaluate(frames[40:])["field_rmse"] < 0.1 * np.std(frames[0].arrays["exchange_fields"])
    return model


def test_conservative_data_leave_nothing_to_g():
    """No work round a loop, from a model that could do some and does where there is some to learn."""
    assert abs(loop(ring_model("global", 0.0))) < 1e-3 * 0.02  # of the exchange energy
    assert loop(ring_model("global", 0.02)) == pytest.approx(loop(None, 0.02), rel=0.1)


def ring():
    angles = np.arange(6) * np.pi / 3
    atoms = Atoms("Fe6", positions=2.5 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
    set_moments(atoms, np.tile([0, 0, 1.0], (6, 1)))
    return atoms


def loop(model, pinwheel=0.0, n=60):
    """Work sum_i m_i H_i.de_i round a loop on which two spins move a quarter of a turn apart."""
    atoms, work = ring(), 0.0
    base = random_directions(6, np.random.default_rng(7))

    def spins(t):
        e = base.copy()
        for k, shift in ((0, 0.0), (1, np.pi / 2)):
            e[k] = [np.cos(t + shift) * 0.8, np.sin(t + shift) * 0.8, 0.6]
        return e

    for t in 2 * np.pi * np.arange(n) / n:
        set_moments(atoms, spins(t))
        tangent = (spins(t + 1e-4) - spins(t - 1e-4)) / 2e-4
        fields = ring_fields(spins(t), pinwheel) if model is None else model.predict(atoms)["exchange_fields"]
        work += np.sum(fields * tangent) * 2 * np.pi / n
    return work


def test_refused():
    with pytest.raises(InputError) as error:
        network("site").fit([cluster(1)])
    assert str(error.value) == (
        "Expected frames with exchange_fields for a model of torques, got none: label them, or use "
        "head='conservative' to learn from energies and forces."
    )
    with pytest.raises(InputError, match="at least one frame is needed to fit a model, got an empty list"):
        network("site").fit([])
    with pytest.raises(InputError, match="SpinNN needs a SOSO descriptor or a LatticeDescriptor, got str"):
        network("site", descriptor="SOSO")
    with pytest.raises(InputError, match=r"sigma_field must be a positive number, got -1\.0"):
        network("site", sigma_field=-1.0)
