"""Spins on a torch device: the same motion as through ASE, outputs, restarts, refusals."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator
from ase.calculators.mixing import LinearCombinationCalculator, SumCalculator

from ase_spinml import SOSO, LatticeDescriptor, SpinCalculator, SpinGAP, SpinNN
from ase_spinml.calculators.analytic import Heisenberg, NonMagnetic, Zeeman
from ase_spinml.calculators.anisotropy import Anisotropy
from ase_spinml.calculators.driving import rotating_field
from ase_spinml.dynamics.device import DeviceSpins, field_functions
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.md import SpinDynamics, SpinLatticeDynamics
from ase_spinml.electrons import spin_lattice
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, get_spins, random_directions, set_moments, transverse

FS = units.fs
DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
    ),
]


def alloy(seed=0, driven=False):
    """Thermal bcc lattice, moments of three lengths, with all terms that a device knows."""
    atoms = bulk("Fe", cubic=True) * 3
    rng = np.random.default_rng(seed)
    moments = cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 60, rng, filled=True)
    moments *= rng.choice([1.0, 2.2, 0.7], len(atoms))[:, None]
    moments[4] = 0.0
    set_moments(atoms, moments)
    field = rotating_field(200.0, 10.0, static_T=(0, 0, 100.0)) if driven else [0.0, 100.0, 300.0]
    exchange = Heisenberg([0.02, 0.01], dmi=[0.004], biquadratic=[0.003, -0.002])
    easy = Anisotropy(uniaxial=0.002, axis=(1, 1, 0), quartic=0.001, cubic=0.003, species="Fe")
    atoms.calc = LinearCombinationCalculator([SumCalculator([exchange, easy]), Zeeman(field)], [1.0, 0.5])
    return atoms


def moved(steps=20, driven=False, **options):
    atoms = alloy(driven=driven)
    dyn = SpinDynamics(atoms, 0.5 * FS, **options)
    dyn.run(steps)
    return dyn


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_run_on_a_device_is_the_run_through_ase(device, integrator, damping):
    options = {"integrator": integrator, "damping": damping, "frozen_moments": [2, 7], "tolerance": 2e-15}
    usual = moved(**options | {"tolerance": 1e-14})
    start = get_moments(alloy())
    assert np.abs(get_moments(usual.atoms) - start).max() > 0.5
    for dtype, bound in [("float64", 1e-12), ("float32", 1e-4)]:
        dyn = moved(device=device, dtype=dtype, **options)
        assert np.abs(get_moments(dyn.atoms) - get_moments(usual.atoms)).max() < bound
        assert dyn.spin_heat == pytest.approx(usual.spin_heat, abs=bound)
        lengths = [np.linalg.norm(moments, axis=1) for moments in (get_moments(dyn.atoms), start)]
        assert np.abs(lengths[0] - lengths[1]).max() < 1e-15 * 10


@pytest.mark.parametrize("device", DEVICES)
def test_driven_runs_do_the_same_work(device):
    usual, dyn = (moved(driven=True, damping=0.1, **extra) for extra in ({}, {"device": device}))
    assert abs(usual.work) > 1e-3
    assert dyn.work == pytest.approx(usual.work, abs=1e-11)
    assert np.abs(get_moments(dyn.atoms) - get_moments(usual.atoms)).max() < 1e-10
    assert dyn.get_conserved_energy() == pytest.approx(usual.get_conserved_energy(), abs=1e-10)


def test_the_atoms_are_up_to_date_whenever_an_observer_is_due():
    seen = {}
    for device in (None, "cpu"):
        atoms, frames = alloy(), []
        dyn = SpinDynamics(atoms, 0.5 * FS, integrator="depondt", device=device)
        dyn.attach(lambda frames=frames, atoms=atoms: frames.append(get_moments(atoms)), interval=3)
        dyn.attach(lambda frames=frames, atoms=atoms: frames.append(get_moments(atoms)), interval=-4)
        dyn.run(7)
        seen[device] = np.array([*frames, get_moments(atoms)])
    assert len(seen["cpu"]) == 5
    assert np.abs(seen["cpu"] - seen[None]).max() < 1e-13


def test_between_outputs_the_atoms_are_not_touched():
    atoms = alloy()
    start = get_moments(atoms)
    dyn = SpinDynamics(atoms, 0.5 * FS, integrator="sib", device="cpu")
    original, untouched = dyn.step, []
    dyn.step = lambda: (original(), untouched.append(np.array_equal(get_moments(atoms), start)))
    dyn.run(5)
    assert all(untouched)
    assert not np.array_equal(get_moments(atoms), start)


def test_irun_brings_the_atoms_up_to_date_at_every_step():
    atoms, usual = alloy(), alloy()
    options = {"integrator": "depondt", "timestep": 0.5 * FS}
    runs = SpinDynamics(atoms, device="cpu", **options).irun(4), SpinDynamics(usual, **options).irun(4)
    for step, _ in enumerate(zip(*runs, strict=True)):
        assert np.abs(get_moments(atoms) - get_moments(usual)).max() < 1e-13
        if step == 2:
            for each in (atoms, usual):
                set_moments(each, -get_moments(each))


def test_moments_changed_between_runs_are_taken_up():
    moments = 1.5 * random_directions(54, 0)
    final = []
    for device in ("cpu", None):
        dyn = moved(3, device=device)
        set_moments(dyn.atoms, moments)
        dyn.run(3)
        final.append(get_moments(dyn.atoms))
    assert np.abs(final[0] - final[1]).max() < 1e-10


THERMAL = {"temperature_K": lambda t: 300 + t, "damping": 0.1, "device": "cpu"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_seed_gives_one_motion_in_one_run_or_two(dtype):
    def final(seed, *runs):
        dyn = SpinDynamics(alloy(), FS, rng=seed, dtype=dtype, **THERMAL)
        for steps in runs:
            dyn.run(steps)
        return get_moments(dyn.atoms)

    whole = final(7, 10)
    assert np.array_equal(whole, final(7, 10))
    assert np.array_equal(whole, final(7, 4, 6))
    assert not np.array_equal(whole, final(8, 10))


@pytest.mark.parametrize("integrator", ["midpoint", "depondt"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_restart_goes_on_bit_for_bit(tmp_path, integrator, dtype):
    path = tmp_path / "run.checkpoint"
    options = THERMAL | {"integrator": integrator, "dtype": dtype, "checkpoint_interval": 5}
    whole = SpinDynamics(alloy(driven=True), FS, rng=3, checkpoint=path, **options)
    whole.run(5)
    again = SpinDynamics(alloy(1, driven=True), FS, checkpoint=path, restart=True, **options)
    whole.run(6)
    again.run(6)
    assert np.array_equal(get_moments(whole.atoms), get_moments(again.atoms))
    assert (whole.nsteps, whole.spin_heat, whole.work) == (again.nsteps, again.spin_heat, again.work)


def test_free_moments_of_unlike_length_reach_the_temperature_of_the_bath():
    """<cos> = coth x - 1/x with x = m B/kT, within four standard errors."""
    n = 3000
    lengths = np.repeat([1.0, 2.0], n // 2)
    atoms = Atoms("Fe" * n, positions=10.0 * np.arange(3 * n).reshape(n, 3))
    set_moments(atoms, lengths[:, None] * random_directions(n, 0))
    atoms.calc = Zeeman([0.0, 0.0, 600.0])
    kT = Zeeman([0, 0, 600.0]).torch_fields(atoms, "cpu", torch.float64)(None)[0, 2].item()
    dyn = SpinDynamics(atoms, FS, kT / units.kB, 0.5, rng=1, integrator="depondt", device="cpu", dtype="float32")
    cosines = []
    dyn.run(150)
    dyn.attach(lambda: cosines.append(get_spins(atoms)[:, 2]), interval=50)
    dyn.run(600)
    mean = np.mean(cosines, axis=0)
    for length in (1.0, 2.0):
        own = mean[lengths == length]
        assert abs(own.mean() - (1 / np.tanh(length) - 1 / length)) < 4 * own.std() / np.sqrt(len(own))


class Bath:
    """400 K, and an account of what it gave."""

    given = 0.0

    def __call__(self, time):
        return 400.0

    def give(self, energy):
        self.given += energy


def test_a_bath_that_keeps_account_is_told_the_heat():
    bath = Bath()
    dyn = SpinDynamics(alloy(), 0.25 * FS, bath, 0.1, rng=0, integrator="depondt", device="cpu")
    before = dyn.get_conserved_energy()
    dyn.run(120)
    assert abs(bath.given) > 0.01
    assert bath.given == pytest.approx(dyn.spin_heat, rel=1e-12)
    assert dyn.get_conserved_energy() == pytest.approx(before, abs=0.02 * abs(before))


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_moves_spins_on_a_device(device, fe_dft):
    model = SpinGAP(SOSO(["Fe"], body_order=2, n_max=4), n_sparse=20, optimize=None, rng=0).fit(fe_dft[:8])
    final = []
    for where in (None, device):
        atoms = fe_dft[0].copy()
        atoms.calc = SpinCalculator(model)
        SpinDynamics(atoms, 0.2 * FS, damping=0.1, integrator="depondt", device=where).run(5)
        final.append(get_moments(atoms))
    assert np.abs(final[0] - get_moments(fe_dft[0])).max() > 1e-3
    assert np.abs(final[0] - final[1]).max() < 1e-12


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_learned_lattice_moves_its_spins_on_a_device(device, dtype):
    driven = {"chirality": True, "parameters": ["voltage"], "group": "C1"}
    frames = [spin_lattice("square", (4, 4), "random", rng=seed) for seed in range(4)]
    for seed, frame in enumerate(frames):
        frame.info["voltage"] = 0.1 * seed
        turned = np.roll(get_spins(frame).reshape(4, 4, 3), 1, axis=0).reshape(16, 3)  # H = e(x - 1) + e x e(x - 1)
        frame.arrays["exchange_fields"] = transverse(turned, get_spins(frame)) + np.cross(get_spins(frame), turned)
    model = SpinNN(LatticeDescriptor(1.0, 1.0, **driven), (8,), head="site", epochs=2, progress=False).fit(frames)
    final = []
    for where in (None, device):
        atoms = spin_lattice("square", (20, 20), "random", rng=9)
        atoms.info["voltage"] = 0.2
        atoms.calc = SpinCalculator(model)
        options = {} if where is None else {"device": where, "dtype": dtype}
        SpinDynamics(atoms, 0.1, damping=0.1, gyromagnetic_ratio=-1.0, integrator="depondt", **options).run(20)
        final.append(get_spins(atoms))
    assert np.abs(final[0] - get_spins(spin_lattice("square", (20, 20), "random", rng=9))).max() > 0.1
    assert np.abs(final[0] - final[1]).max() < {"float64": 1e-11, "float32": 1e-4}[dtype]


def test_fields_of_a_small_cell_count_all_images():
    atoms = bulk("Fe", cubic=True)
    set_moments(atoms, 2.0 * random_directions(2, 3))
    atoms.calc = Heisenberg([0.02, 0.01], biquadratic=[0.003])
    fields, _ = field_functions(atoms, torch.device("cpu"), torch.float64)
    atoms.calc.get_property("exchange_fields", atoms)
    expected = atoms.calc.results["effective_fields"]
    assert np.allclose(fields(torch.from_numpy(get_spins(atoms))).numpy(), expected, rtol=0, atol=1e-15)


class Plain(BaseCalculator):
    implemented_properties = ["energy", "exchange_fields"]

    def calculate(self, atoms, properties, system_changes):
        self.results = {"energy": 0.0, "exchange_fields": np.zeros((len(atoms), 3))}


def with_calculator(calc):
    atoms = alloy()
    atoms.calc = calc
    return atoms


REFUSED = [
    (
        {"device": "banana"},
        "Expected device to be one that torch knows, 'cpu' or 'cuda', got 'banana'.",
    ),
    ({"dtype": "float16"}, "Expected dtype to be one of float64, float32, got 'float16'."),
    (
        {"device": None, "dtype": "float32"},
        "Expected dtype together with device, got dtype='float32' alone: add device='cpu'.",
    ),
    (
        {"moment_lengths": "model"},
        "Expected moment_lengths='fixed' for spins on a device, got 'model': leave device out.",
    ),
    (
        {"atoms": with_calculator(Plain())},
        "Expected calculators with torch_fields for spins on a device, got Plain without: leave device out, or give "
        "the calculator that method.",
    ),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_refused(options, message, monkeypatch):
    monkeypatch.setattr(SpinDynamics, "_check_lengths", lambda self: None)
    with pytest.raises(InputError) as error:
        SpinDynamics(**{"atoms": alloy(), "timestep": FS, "device": "cpu", **options}).run(1)
    assert str(error.value) == message


def test_moving_atoms_are_refused():
    atoms = alloy()
    with pytest.raises(InputError) as error:
        SpinLatticeDynamics(atoms, FS, device="cpu")
    assert str(error.value) == "Expected a frozen lattice for spins on a device, got moving atoms: leave device out."


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError) as error:
        SpinDynamics(alloy(), FS, device="cuda")
    assert str(error.value) == "Expected a CUDA device for device='cuda', got none: use device='cpu'."


def test_fields_that_are_not_finite_are_refused():
    atoms = alloy()
    start = get_moments(atoms)
    atoms.calc = Plain()
    atoms.calc.torch_fields = lambda *_: lambda spins: np.nan * spins
    message = (
        "Expected finite exchange fields from the calculator, got NaN or infinity: check the model, or use a smaller "
        "timestep."
    )
    with pytest.raises(InputError) as error:
        SpinDynamics(atoms, FS, integrator="sib", device="cpu").run(1)
    assert str(error.value) == message
    assert np.array_equal(get_moments(atoms), start)


def test_a_checkpoint_of_another_device_is_refused():
    spins = DeviceSpins("cpu", None, np.random.default_rng(0))
    for state, found in [(None, "without a device"), ({"device": "cuda", "generator": ""}, "on 'cuda'")]:
        with pytest.raises(InputError) as error:
            spins.set_state(state)
        assert str(error.value) == (
            f"Expected the checkpoint of a run on 'cpu', got one {found}: give device= as in the run that wrote it."
        )


def test_a_varying_term_without_its_energy_is_refused():
    atoms = alloy()
    atoms.calc = NonMagnetic(Plain())
    atoms.calc.time, atoms.calc.torch_fields = 0.0, None
    with pytest.raises(InputError) as error:
        SpinDynamics(atoms, FS, device="cpu").run(1)
    assert str(error.value) == (
        "Expected calculators with torch_energy for spins on a device, got NonMagnetic without: leave device out, or "
        "give the calculator that method."
    )


@pytest.mark.physical
def test_binder_cumulants_cross_at_the_critical_temperature():
    """Simple cubic lattice, 6^3 and 12^3, kT/J = 1.443; larger lattices and bcc: benchmarks/binder.py."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "binder.py"
    specification = importlib.util.spec_from_file_location("binder", path)
    binder = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(binder)
    critical, curves = 1.443, []
    for side, copies, steps in [(6, 64, 3000), (12, 12, 6000)]:
        energies, magnetisations = binder.sample("sc", side, copies, steps, critical, [1, side], 0.05)
        curves.append(binder.Cumulant([critical], [energies], [magnetisations], side**3))
    assert binder.crossing(*curves, critical) == pytest.approx(critical, rel=0.015)
    assert curves[1](critical) == pytest.approx(0.62, abs=0.03)
