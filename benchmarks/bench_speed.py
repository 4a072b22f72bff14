"""Time and memory of SOSO-GAP per atom on one core, beside other calculators measured in the same run.

    OMP_NUM_THREADS=1 python benchmarks/bench_speed.py
    OMP_NUM_THREADS=1 python benchmarks/bench_speed.py --atoms 2000 --repeats 3 --no-quippy

bcc Fe with 58 neighbours within 5 Angstrom, noncollinear, thermally displaced. "all" is energy, forces, stress and
exchange fields after atoms and spins have moved; "fields" is exchange fields after spins alone have turned, what an
iteration of the spin step asks for. Times are medians of processor time, through ASE; a neighbour list with a skin is
kept from one evaluation to the next, as in dynamics. Memory is the growth of the highest resident memory of a process
with the number of atoms, everything included.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

import ase_spinml
from ase_spinml import SOSO, SpinCalculator, SpinGAP, get_spins, set_moments
from ase_spinml.demo import load_frames
from ase_spinml.moments import cone

DESCRIPTORS = {
    "two-body": {"body_order": 2, "n_max": 8, "spin_l_max": 3},
    "three-body": {},
}


def make_model(kind):
    """zeta = 2, 300 sparse points, fitted to the shipped frames; amplitudes do not matter for speed."""
    frames = load_frames()
    return SpinGAP(SOSO(["Fe"], **DESCRIPTORS[kind]), n_sparse=300, zeta=2, optimize=None, rng=0).fit(frames)


def iron(n_atoms, rng):
    """About n_atoms of bcc Fe at 2.83 Angstrom, displaced by 0.05 Angstrom, spins within 40 degrees of z."""
    repeat = max(1, round((n_atoms / 2) ** (1 / 3)))
    atoms = bulk("Fe", a=2.83, cubic=True) * repeat
    set_moments(atoms, 2.2 * cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), 40, rng, filled=True))
    atoms.positions += 0.05 * rng.standard_normal(atoms.positions.shape)
    return atoms


def median_seconds(atoms, names, repeats, rng, move=True):
    """Median time of asking for some properties after the spins, and the atoms if ``move``, have changed a little."""
    times = []
    for _ in range(repeats + 1):  # the first warms up
        if move:
            atoms.positions += 1e-3 * rng.standard_normal(atoms.positions.shape)
        set_moments(atoms, 2.2 * cone(get_spins(atoms), 1.0, rng))
        start = time.process_time()
        atoms.calc.calculate(atoms, list(names), ["positions"])
        times.append(time.process_time() - start)
    return float(np.median(times[1:]))


ALL = ("energy", "forces", "stress", "exchange_fields")


def measure(model, atoms, repeats, rng):
    """us/atom for everything and for fields alone."""
    atoms.calc = SpinCalculator(model)
    scale = 1e6 / len(atoms)
    return {
        "all": scale * median_seconds(atoms, ALL, repeats, rng),
        "fields": scale * median_seconds(atoms, ("exchange_fields",), repeats, rng, move=False),
    }


def small_system(model, repeats, rng):
    """Milliseconds of one evaluation of 54 atoms through ASE: everything, and fields alone."""
    atoms = iron(54, rng)
    atoms.calc = SpinCalculator(model)
    return {
        "atoms": len(atoms),
        "all": 1e3 * median_seconds(atoms, ALL, repeats, rng),
        "fields": 1e3 * median_seconds(atoms, ("exchange_fields",), repeats, rng, move=False),
    }


def memory_per_atom(kind):
    """Growth in kB per atom of the highest resident memory from 8192 to 27648 atoms, each in a process of its own."""
    peaks = {}
    for n_atoms in (8192, 27648):
        command = [sys.executable, __file__, "--peak", kind, "--atoms", str(n_atoms)]
        out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        peaks[out["atoms"]] = out["kB"]
    (few, low), (many, high) = sorted(peaks.items())
    return (high - low) / (many - few)


def print_peak(kind, n_atoms):
    """Of this process after three evaluations: number of atoms and highest resident memory in kB, as JSON."""
    rng = np.random.default_rng(0)
    atoms = iron(n_atoms, rng)
    atoms.calc = SpinCalculator(make_model(kind))
    median_seconds(atoms, ALL, 2, rng)
    print(json.dumps({"atoms": len(atoms), "kB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def emt_seconds(repeats, rng):
    """us/atom of ASE's EMT, energy and forces of copper (it has no parameters for iron)."""
    atoms = bulk("Cu", cubic=True) * 8
    return _seconds_of(EMT(), atoms, repeats, rng)


def _seconds_of(calculator, atoms, repeats, rng):
    """Median us/atom of energy and forces of an ordinary calculator after the atoms have moved a little."""
    atoms.calc = calculator
    times = []
    for _ in range(repeats + 1):  # the first warms up
        atoms.positions += 1e-3 * rng.standard_normal(atoms.positions.shape)
        start = time.process_time()
        atoms.get_forces()
        atoms.get_potential_energy()
        times.append(time.process_time() - start)
    return 1e6 * float(np.median(times[1:])) / len(atoms)


def quippy_seconds(repeats, rng):
    """us/atom of a SOAP-GAP of quippy with the settings of the tutorial on it; None when quippy is absent."""
    try:
        import quippy
        from quippy.potential import Potential
    except ImportError:
        return None
    import ase.io

    frames = []
    for frame in load_frames()[::3]:
        copy = ase.Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        copy.info["dft_energy"], copy.arrays["dft_forces"] = frame.get_potential_energy(), frame.get_forces()
        frames.append(copy)
    with tempfile.TemporaryDirectory() as folder:
        ase.io.write(Path(folder) / "train.xyz", frames)
        command = [
            Path(quippy.__file__).with_name("gap_fit"),
            "at_file=train.xyz",
            "gap={soap atom_sigma=0.5 n_max=8 l_max=4 cutoff=5.0 cutoff_transition_width=1.0 zeta=2 delta=1.0 "
            "covariance_type=dot_product sparse_method=cur_points n_sparse=100}",
            "default_sigma={0.005 0.05 0 0}",
            "e0_method=average",
            "energy_parameter_name=dft_energy",
            "force_parameter_name=dft_forces",
            "sparse_separate_file=F",
            "rnd_seed=1",
            "gp_file=lattice.xml",
        ]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        calculator = Potential(param_filename=str(Path(folder) / "lattice.xml"))
    atoms = iron(432, rng)
    atoms.arrays.pop("initial_magmoms")
    return _seconds_of(calculator, atoms, repeats, rng)


def machine():
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return {
        "processor": name,
        "threads": 1,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ase_spinml": ase_spinml.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=8192, help="about how many atoms")
    parser.add_argument("--repeats", type=int, default=5, help="evaluations of which the median is taken")
    parser.add_argument("--no-quippy", action="store_true", help="leave quippy out")
    parser.add_argument("--peak", choices=list(DESCRIPTORS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print_peak(options.peak, options.atoms)
        return
    rng = np.random.default_rng(0)
    print(json.dumps(machine()))
    atoms = iron(options.atoms, rng)
    us = {}
    print(f"\n{len(atoms)} atoms of bcc Fe        all [us/atom]   fields [us/atom]   memory [kB/atom]")
    models = {kind: make_model(kind) for kind in DESCRIPTORS}
    for kind, model in models.items():
        us[kind] = measure(model, atoms, options.repeats, rng)
        memory = memory_per_atom(kind)
        print(f"{kind:<22}{us[kind]['all']:>20.1f}{us[kind]['fields']:>19.1f}{memory:>19.1f}", flush=True)
    pairs = len(atoms.calc._structure[1].i)
    print(f"neighbours per atom, skin included: {2 * pairs / len(atoms):.1f}; goals 15 and 100 us/atom, 10 kB/atom")
    print("\n54 atoms through ASE              all [ms]        fields [ms]")
    for kind, model in models.items():
        ms = small_system(model, 10 * options.repeats, rng)
        print(f"{kind:<22}{ms['all']:>20.2f}{ms['fields']:>19.2f}", flush=True)
    print("goal 5 ms for everything")
    print("\nothers, energy and forces       [us/atom]      over three-body")
    peers = {"ASE EMT, copper": emt_seconds(options.repeats, rng)}
    if not options.no_quippy:
        peers["quippy GAP-SOAP"] = quippy_seconds(options.repeats, rng)
    for name, value in peers.items():
        if value is None:
            print(f"{name}: not measured, quippy is not installed")
        else:
            print(f"{name:<22}{value:>20.1f}{value / us['three-body']['all']:>19.2f}")


if __name__ == "__main__":
    main()
