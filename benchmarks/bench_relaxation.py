"""Evaluations that optimizers need to relax random spins to a torque of 1e-6 eV.

python benchmarks/bench_relaxation.py               # prints a table; ten minutes
python benchmarks/bench_relaxation.py triangular    # one system of it

Square (20 x 20) and triangular (21 x 21) lattices: ferromagnet (J = 10 meV), chiral magnet in a field (J = 10 meV,
D = 6 meV, 25 T), frustrated square (J1 = -10, J2 = -6 meV), triangular antiferromagnet (J = -10 meV). Three starts.
"scale" multiplies the length scale that SpinFilter measures.
"""

import sys

from ase import Atoms
from ase.calculators.mixing import SumCalculator
from ase.optimize import FIRE, LBFGS, LBFGSLineSearch

from ase_spinml import Heisenberg, Relaxation, SpinFilter, Zeeman, set_moments
from ase_spinml.landscape.optimizer import DescentLBFGS
from ase_spinml.moments import random_directions

SQUARE, TRIANGULAR = [1, 1, 10], [[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 10]]
SYSTEMS = {
    "ferromagnet": (SQUARE, 20, lambda: Heisenberg([0.01])),
    "chiral, 25 T": (SQUARE, 20, lambda: SumCalculator([Heisenberg([0.01], [0.006]), Zeeman((0, 0, 25))])),
    "frustrated": (SQUARE, 20, lambda: Heisenberg([-0.01, -0.006])),
    "triangular": (TRIANGULAR, 21, lambda: Heisenberg([-0.01])),
}
OPTIMIZERS = (DescentLBFGS, LBFGS, LBFGSLineSearch, FIRE)
LIMIT = 1000


def evaluations(system, optimizer, seed, scale):
    """Number of evaluations, as text; "> limit" when the torque was not reached in so many steps."""
    cell, n, make = SYSTEMS[system]
    atoms = Atoms("Fe", cell=cell, pbc=(True, True, False)).repeat((n, n, 1))
    set_moments(atoms, 2.0 * random_directions(len(atoms), seed))
    atoms.calc = make()
    length_scale = scale * SpinFilter(atoms).length_scale
    relaxation = Relaxation(atoms, optimizer=optimizer, length_scale=length_scale)
    return str(relaxation.filter.evaluations) if relaxation.run(torque_max=1e-6, steps=LIMIT) else f">{LIMIT}"


if __name__ == "__main__":
    print(f"{'system':<14}{'scale':>6}" + "".join(f"{optimizer.__name__:>19}" for optimizer in OPTIMIZERS))
    for system in sys.argv[1:] or SYSTEMS:
        for scale in (1 / 3, 1.0, 3.0):
            counts = [" ".join(evaluations(system, o, seed, scale) for seed in (1, 2, 3)) for o in OPTIMIZERS]
            print(f"{system:<14}{scale:>6.2f}" + "".join(f"{count:>19}" for count in counts), flush=True)
