"""Energies of magnetic phases of the s-d model by exact diagonalisation.

    OMP_NUM_THREADS=1 python benchmarks/phases.py > docs/results/phases.txt

Free energy per site in units of t, electrons at T = 0.005 t, cells of 6 x 6 sites averaged over 6 x 6 boundary
conditions; of every row the lowest phase, and the others above it.
"""

from ase_spinml import SDModel
from ase_spinml.electrons import spin_lattice

ROWS = (
    ("triangular", 1.0, 6.0, ("120", "tetrahedral", "stripe", "FM")),
    ("triangular", 0.5, 3.0, ("tetrahedral", "stripe", "120", "FM")),
    ("triangular", 1.5, 0.5, ("tetrahedral", "FM", "stripe", "120")),
    ("square", 1.0, 7.0, ("AFM", "flux", "stripe", "FM")),
    ("square", 0.9, 7.0, ("FM", "AFM", "flux", "stripe")),
)

if __name__ == "__main__":
    print("lattice       n    J    lowest, and its energy    the others above it")
    for lattice, filling, coupling, states in ROWS:
        model = SDModel(filling=filling, coupling=coupling, temperature=0.005, kpts=(6, 6, 1))
        found = {}
        for state in states:
            atoms = spin_lattice(lattice, (6, 6), state)
            found[state] = model.get_property("energy", atoms) / len(atoms)
        lowest, *others = sorted(found, key=found.get)
        line = f"{lattice:<12}{filling:>3}{coupling:>5.1f}    {lowest:<12}{found[lowest]:>10.4f}   "
        print(line + "".join(f" {state} +{found[state] - found[lowest]:.4f} " for state in others))
