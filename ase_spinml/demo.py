"""The demonstration behind ``ase-spinml demo``: from density-functional labels to coupled spin-lattice dynamics.

Trains on the shipped set of bcc Fe, compares with a Heisenberg pair model on frames held out, opens the saved model as
an ASE calculator and runs it. The pieces take any model or any calculator with ``exchange_fields``.
"""

import importlib.resources
import io
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from tqdm import tqdm

from ase_spinml import plotting
from ase_spinml.calculators.ml import SpinCalculator
from ase_spinml.descriptors.soso import SOSO
from ase_spinml.dynamics.md import SpinLatticeDynamics
from ase_spinml.dynamics.temperature import spin_temperature
from ase_spinml.models.base import load_model
from ase_spinml.models.gap import SpinGAP
from ase_spinml.moments import cone, get_moments, set_moments, store_results

TEMPERATURE = 300.0
OURS, PAIRS = "SOSO-GAP", "Heisenberg pairs"


@dataclass(frozen=True)
class Size:
    """How much the demonstration computes: sparse points, cells per direction, steps at 300 K and between
    their samples, steps of the NVE run."""

    n_sparse: int = 300
    repeat: int = 3
    langevin_steps: int = 600
    nve_steps: int = 1600
    interval: int = 10


def run_demo(output, say, size=None):
    """Run the whole demonstration.

    output: directory for the files, made when absent.
    say: function called with each line of the report, such as ``print``.
    size: Size, default the full demonstration.
    """
    size = Size() if size is None else size
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    train, test = split(load_frames(), rng=0)
    say(f"bcc Fe, PBE, noncollinear: training on {len(train)} frames, {len(test)} held out")
    models = fit_models(train, size.n_sparse)
    reference = labels(test)
    predicted = {name: predictions(model, test) for name, model in models.items()}
    for line in error_table(reference, predicted):
        say(line)
    draw_parity(reference, predicted, output / "parity.png")

    models[OURS].save(output / "fe.model")
    calculator = SpinCalculator(load_model(output / "fe.model"))
    say(f"saved {output / 'fe.model'} and opened it as a calculator")
    atoms = starting_state(calculator, size.repeat, rng=1)
    hot = run_langevin(atoms, size, output, rng=2)
    draw_run(hot, output / "run_300K.png")
    mean = {name: values[len(values) // 2 :].mean() for name, values in hot.items()}
    say(
        f"second half of the run at {TEMPERATURE:.0f} K: magnetisation {mean['magnetisation']:.2f} mu_B/atom, "
        f"lattice {mean['lattice']:.0f} K, spins {mean['spins']:.0f} K"
    )
    draw_drift(run_nve(atoms, size), output / "nve_drift.png")
    say(f"files in {output}: " + ", ".join(sorted(path.name for path in output.iterdir())))


def load_frames():
    """The shipped frames: list of ase.Atoms with energies, forces, moments and fields."""
    text = importlib.resources.files("ase_spinml").joinpath("data", "fe_dft.extxyz").read_text()
    return ase.io.read(io.StringIO(text), ":", format="extxyz")


def split(frames, rng, fraction=0.2):
    """Two lists of frames, for training and held out, chosen by chance; ``fraction`` is held out."""
    order = np.random.default_rng(rng).permutation(len(frames))
    n_test = round(fraction * len(frames))
    return [frames[i] for i in sorted(order[n_test:])], [frames[i] for i in sorted(order[:n_test])]


def fit_models(train, n_sparse):
    """Dict of fitted models: the kernel model, and pair interactions J(r) e_i.e_j + V(r) (linear)."""
    many_body = SOSO(species=["Fe"], cutoff=5.0, n_max=8, spin_l_max=3, body_order=3)
    pairs = SOSO(species=["Fe"], cutoff=5.0, n_max=8, spin_l_max=1, body_order=2)
    sigmas = {"sigma_energy": 2e-3, "sigma_forces": 0.03, "sigma_field": 3e-3}
    models = {
        OURS: SpinGAP(many_body, n_sparse=n_sparse, zeta=2, rng=0, **sigmas),
        PAIRS: SpinGAP(pairs, n_sparse=n_sparse, zeta=1, rng=0, **sigmas),
    }
    return {name: model.fit(train) for name, model in models.items()}


def labels(frames):
    """The labels of the frames in the form of :func:`predictions`."""
    return _collect(
        frames, [{**frame.calc.results, "exchange_fields": frame.arrays["exchange_fields"]} for frame in frames]
    )


def predictions(model, frames):
    """What a model says about the frames, as flat arrays by name.

    energy in meV/atom; turn, the energy of turning m_i H_i, in meV; field H_i in eV/mu_B; forces in meV/A.
    """
    return _collect(frames, [model.predict(frame) for frame in frames])


def _collect(frames, results):
    lengths = [np.linalg.norm(get_moments(frame), axis=1, keepdims=True) for frame in frames]
    fields = [result["exchange_fields"] for result in results]
    return {
        "energy": 1e3
        * np.array([result["energy"] / len(frame) for frame, result in zip(frames, results, strict=True)]),
        "turn": 1e3 * np.concatenate([m * h for m, h in zip(lengths, fields, strict=True)]).ravel(),
        "field": np.concatenate(fields).ravel(),
        "forces": 1e3 * np.concatenate([result["forces"] for result in results]).ravel(),
    }


def error_table(reference, predicted):
    """Lines of a table: root-mean-square errors per model, and the spread of the labels themselves."""
    errors = {name: {key: values[key] - reference[key] for key in reference} for name, values in predicted.items()}
    errors["spread of labels"] = {**reference, "energy": reference["energy"] - reference["energy"].mean()}
    rows = [[name] + [np.sqrt(np.mean(error[key] ** 2)) for key in reference] for name, error in errors.items()]
    yield f"{'held-out RMSE':<18}{'energy':>12}{'field m*H':>12}{'field H':>12}{'forces':>12}"
    yield f"{'':<18}{'meV/atom':>12}{'meV':>12}{'eV/mu_B':>12}{'meV/A':>12}"
    for name, energy, turn, field, forces in rows:
        yield f"{name:<18}{energy:>12.2f}{turn:>12.2f}{field:>12.5f}{forces:>12.1f}"


def starting_state(calculator, repeat, rng):
    """bcc Fe, ``repeat`` cubic cells per direction: spins within 10 degrees of z.

    The velocities are those of 600 K: the atoms start at their sites, and soon half of it is potential energy.
    """
    rng = np.random.default_rng(rng)
    atoms = bulk("Fe", a=2.83, cubic=True).repeat(repeat)
    set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 10, rng, filled=True))
    thermalize_momenta(atoms, 2 * TEMPERATURE, rng=rng)
    Stationary(atoms)
    atoms.calc = calculator
    return atoms


def run_nve(atoms, size):
    """Coupled dynamics without baths: time in ps and total energy in meV/atom after every step."""
    dynamics = SpinLatticeDynamics(atoms, 0.5 * units.fs)
    return _run(dynamics, size.nve_steps, 1, "NVE", {"energy": lambda: 1e3 * atoms.get_total_energy() / len(atoms)})


def run_langevin(atoms, size, output, rng):
    """Coupled Langevin dynamics at 300 K: time in ps, magnetisation in mu_B/atom, lattice and spin temperature in K.

    Leaves fe.traj and fe.xyz (with exchange fields) in ``output``.
    """
    bath, axes = np.random.default_rng(rng).spawn(2)
    (output / "fe.xyz").unlink(missing_ok=True)
    dynamics = SpinLatticeDynamics(
        atoms,
        1.0 * units.fs,
        temperature_K=TEMPERATURE,
        friction=0.01 / units.fs,
        damping=0.05,
        rng=bath,
        trajectory=str(output / "fe.traj"),
        loginterval=size.interval,
    )
    dynamics.attach(lambda: ase.io.write(output / "fe.xyz", store_results(atoms), append=True), interval=size.interval)
    observers = {
        "magnetisation": lambda: np.linalg.norm(get_moments(atoms).mean(axis=0)),
        "lattice": atoms.get_temperature,
        "spins": lambda: spin_temperature(atoms, axes),
    }
    return _run(dynamics, size.langevin_steps, size.interval, f"{TEMPERATURE:.0f} K", observers)


def _run(dynamics, steps, interval, title, observers):
    """Run with a progress bar; arrays of the time in ps and of what every observer returned."""
    samples = {"time": [], **{name: [] for name in observers}}

    def sample():
        samples["time"].append(dynamics.get_time() / (1000 * units.fs))
        for name, observe in observers.items():
            samples[name].append(observe())

    dynamics.attach(sample, interval=interval)
    with tqdm(total=steps, desc=title, unit="step", disable=None) as bar:
        dynamics.attach(lambda: bar.update(dynamics.nsteps - bar.n), interval=1)
        dynamics.run(steps)
    return {name: np.array(values) for name, values in samples.items()}


def draw_parity(reference, predicted, path):
    """Picture of energy and field, every model against the labels."""
    figure = _figure(11.0, 6.0)
    centre = reference["energy"].mean()
    for ax, key, label, unit in zip(
        figure.subplots(1, 2), ("energy", "turn"), ("energy", "field m*H"), ("meV/atom", "meV"), strict=True
    ):
        shift = centre if key == "energy" else 0.0
        truth = np.concatenate([reference[key] - shift] * len(predicted))
        values = np.concatenate([prediction[key] - shift for prediction in predicted.values()])
        groups = np.repeat(list(predicted), len(reference[key]))
        plotting.parity(truth, values, label=label, unit=unit, groups=groups, ax=ax)
    figure.savefig(path)


def draw_drift(run, path):
    """Picture of the energy drift of :func:`run_nve`."""
    figure = _figure(6.4, 4.8)
    plotting.energy_drift(run["time"], run["energy"], ax=figure.subplots())
    figure.savefig(path)


def draw_run(run, path):
    """Picture of :func:`run_langevin`: magnetisation and both temperatures."""
    figure = _figure(6.4, 6.0)
    plotting.magnetisation_and_temperatures(
        run["time"],
        run["magnetisation"],
        run["lattice"],
        run["spins"],
        target=TEMPERATURE,
        axes=figure.subplots(2, 1, sharex=True),
    )
    figure.savefig(path)


def _figure(width, height):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=150)
