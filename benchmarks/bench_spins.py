"""What a spin step costs beside its fields, and spin updates per second on lattices, on one core.

    OMP_NUM_THREADS=1 python benchmarks/bench_spins.py overhead
    OMP_NUM_THREADS=1 python benchmarks/bench_spins.py updates --spirit-python PATH

"overhead": processor time of a step of SpinDynamics through ASE less that of the calculator, bcc iron with spins in a
cone at 1 fs, with a cheap calculator (exchange of two shells and a part that no pair coupling can learn, by a sparse
matrix), beside one evaluation of the fields of a SOSO-GAP of two and three bodies in the same run. The midpoint step
uses its learned memory.

"updates": steps of SpinDynamics with the spins on the device "cpu" times the number of spins, per second of processor
time: nearest-neighbour exchange J = 10 meV, DM interaction D = 6 meV, 10 T, moments of 2 mu_B, damping 0.3, 1 fs. PATH
is a Python interpreter that has Spirit (``pip install spirit``, 2.2.0), which then does the same; runs of both
alternate. Where there is a CUDA device it gets columns of its own, in time passed.

All figures are medians. The machine's other work makes them waver; ratios are what counts.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

SIZES = (1_000, 10_000, 100_000)
LATTICES = {"square 64 x 64": (64, 64, 1), "square 256 x 256": (256, 256, 1), "cubic 32^3": (32, 32, 32)}
SOLVERS = ("depondt", "sib")
TEMPERATURES = (0.0, 10.0)
ROUNDS = 3


def overhead():
    """Table of microseconds per atom and step."""
    gap = gap_fields()
    print("overhead of a step              spins   evaluations   us/atom/step   of two-body   of three-body")
    for name in ("depondt", "sib", "heun", "midpoint"):
        for size in SIZES:
            n, evaluations, value = step_overhead(name, size)
            shares = "".join(f"{100 * value / gap[kind]:>15.0f} %" for kind in ("two-body", "three-body"))
            print(f"{name:<25}{n:>12}{evaluations:>14.1f}{value:>15.2f}{shares}", flush=True)
    print(
        f"one evaluation of the fields: {gap['two-body']:.1f} (two-body), {gap['three-body']:.1f} us/atom (three-body)"
    )


def gap_fields():
    """us/atom of the fields of two fitted models, after the spins alone have turned, 2000 atoms."""
    from bench_speed import iron, make_model, median_seconds

    from ase_spinml import SpinCalculator

    found, rng = {}, np.random.default_rng(0)
    for kind in ("two-body", "three-body"):
        atoms = iron(2000, rng)
        atoms.calc = SpinCalculator(make_model(kind))
        found[kind] = 1e6 * median_seconds(atoms, ("exchange_fields",), ROUNDS, rng, move=False) / len(atoms)
    return found


def step_overhead(name, size):
    """Number of spins, evaluations per step, and us/atom/step that a step costs beside its evaluations."""
    from ase import units
    from ase.build import bulk

    from ase_spinml import SpinDynamics, set_moments
    from ase_spinml.moments import cone

    side = round((size / 2) ** (1 / 3))
    atoms = bulk("Fe", cubic=True) * (side, side, side)
    set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 35, 0, filled=True))
    atoms.calc = timed_exchange(atoms)
    dyn = SpinDynamics(atoms, units.fs, integrator=name, damping=0.01, progress=False)
    steps = max(3, 30_000 // len(atoms))
    dyn.run(25 if name == "midpoint" else 2)
    times, before, count = [], dyn.evaluations, dyn.nsteps
    for _ in range(ROUNDS):
        atoms.calc.seconds = 0.0
        start = time.process_time()
        dyn.run(steps)
        times.append((time.process_time() - start - atoms.calc.seconds) / steps)
    evaluations = (dyn.evaluations - before) / (dyn.nsteps - count)
    return len(atoms), evaluations, 1e6 * float(np.median(times)) / len(atoms)


def timed_exchange(atoms):
    """Calculator of exchange in two shells and many-body fields that measures its own processor time."""
    from ase.calculators.calculator import BaseCalculator
    from scipy.sparse import csr_array

    from ase_spinml.calculators.shells import Bonds

    bonds = Bonds(atoms, np.ones(len(atoms), bool), 2, 0.05)
    strength = np.array([0.020, 0.010])[bonds.shell] / 2.2**2
    matrix = csr_array((strength, (bonds.i, bonds.j)), shape=2 * (len(atoms),))
    matrix = (matrix + matrix.T).tocsr()

    full = 2.2 * matrix.sum(axis=1).max()

    class Timed(BaseCalculator):
        implemented_properties = ["energy", "exchange_fields"]
        seconds = 0.0

        def calculate(self, atoms, properties, system_changes):
            start = time.process_time()
            fields = matrix @ atoms.arrays["initial_magmoms"]
            fields *= 0.8 + 0.2 * (fields**2).sum(axis=1, keepdims=True) / full**2
            self.results = {"energy": 0.0, "exchange_fields": fields}
            self.seconds += time.process_time() - start

    return Timed()


def updates(spirit):
    """Table of spin updates per second."""
    import torch

    torch.set_num_threads(1)
    columns = {"float64": ("cpu", "float64"), "float32": ("cpu", "float32")}
    if torch.cuda.is_available():
        columns |= {"CUDA float64": ("cuda", "float64"), "CUDA float32": ("cuda", "float32")}
    heads = [*columns, *(["Spirit", "float64/Spirit"] if spirit else [])]
    print(f"{'million updates per second':<38}" + "".join(f"{head:>16}" for head in heads))
    for lattice, shape in LATTICES.items():
        for temperature in TEMPERATURES:
            for solver in SOLVERS:
                found = {head: [] for head in heads}
                for _ in range(ROUNDS):
                    for head, (device, dtype) in columns.items():
                        found[head].append(ours(shape, temperature, solver, device, dtype))
                    if spirit:
                        found["Spirit"].append(others(spirit, shape, temperature, solver))
                values = {head: np.median(found[head]) for head in heads if found[head]}
                if spirit:
                    values["float64/Spirit"] = values["float64"] / values["Spirit"]
                label = f"{lattice:<18}{temperature:>4.0f} K  {solver}"
                print(f"{label:<38}" + "".join(f"{values[head]:>16.2f}" for head in heads), flush=True)
    if not spirit:
        print("Spirit: not measured, no --spirit-python given")


SYSTEMS = {}


def ours(shape, temperature, solver, device, dtype):
    """Million updates per second of SpinDynamics."""
    from ase import Atoms, units
    from ase.calculators.mixing import SumCalculator

    from ase_spinml import Heisenberg, SpinDynamics, Zeeman, set_moments
    from ase_spinml.moments import random_directions

    if shape not in SYSTEMS:
        atoms = Atoms("Fe", cell=[2.5, 2.5, 2.5], pbc=[True, True, shape[2] > 1]) * shape
        set_moments(atoms, 2.0 * random_directions(len(atoms), 0))
        atoms.calc = SumCalculator([Heisenberg([0.010], dmi=[0.006]), Zeeman([0.0, 0.0, 10.0])])
        SYSTEMS[shape] = atoms
    atoms = SYSTEMS[shape]
    options = {"integrator": solver, "damping": 0.3, "device": device, "dtype": dtype, "rng": 0, "progress": False}
    dyn = SpinDynamics(atoms, units.fs, temperature or None, **options)
    clock = time.process_time if device == "cpu" else time.perf_counter
    times, steps = [], max(5, 1_000_000 // len(atoms))
    running = dyn.irun(10 * steps)
    dyn._running = True  # as run does: atoms are not brought up to date at every step
    next(running), next(running)
    for _ in range(3):
        start = clock()
        for _ in range(steps):
            next(running)
        dyn._device.fetch()
        times.append((clock() - start) / steps)
    running.close()
    return len(atoms) / min(times) / 1e6


def others(python, shape, temperature, solver):
    """Million updates per second of Spirit, run by another interpreter."""
    command = [python, __file__, "spirit", "--case", json.dumps([shape, temperature, solver])]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def run_spirit(shape, temperature, solver):
    """Print million updates per second of Spirit."""
    from spirit import configuration, geometry, hamiltonian, parameters, simulation, state

    n = int(np.prod(shape))
    with state.State("", quiet=True) as system:
        geometry.set_n_cells(system, list(shape))
        geometry.set_mu_s(system, 2.0)
        hamiltonian.set_boundary_conditions(system, [True, True, shape[2] > 1])
        hamiltonian.set_field(system, 10.0, [0, 0, 1])
        hamiltonian.set_anisotropy(system, 0.0, [0, 0, 1])
        hamiltonian.set_exchange(system, 1, [10.0])
        hamiltonian.set_dmi(system, 1, [6.0])
        hamiltonian.set_ddi(system, 0)
        parameters.llg.set_output_general(system, False, False, False)
        parameters.llg.set_timestep(system, 1e-3)
        parameters.llg.set_damping(system, 0.3)
        parameters.llg.set_temperature(system, temperature)
        parameters.llg.set_convergence(system, 0.0)
        configuration.random(system)
        number = {"depondt": simulation.SOLVER_DEPONDT, "sib": simulation.SOLVER_SIB}[solver]
        simulation.start(system, simulation.METHOD_LLG, number, 10**9, 10**9, single_shot=True)
        steps = max(5, 1_000_000 // n)
        simulation.n_shot(system, 2)
        times = []
        for _ in range(3):
            start = time.process_time()
            simulation.n_shot(system, steps)
            times.append((time.process_time() - start) / steps)
        simulation.stop(system)
    print(json.dumps(n / min(times) / 1e6), flush=True)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("table", choices=["overhead", "updates", "spirit"])
    parser.add_argument("--spirit-python", help="interpreter that has Spirit")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table == "spirit":
        run_spirit(*options.case)
    elif options.table == "overhead":
        overhead()
    else:
        updates(options.spirit_python)


if __name__ == "__main__":
    sys.exit(main())
