"""Self-written samples of other programs' files, and the way to real ones beside the repository."""

import numpy as np
import pytest
from ase.build import bulk
from conftest import REPOSITORY

from ase_spinml import Heisenberg, set_moments
from ase_spinml.moments import random_directions, store_results

ROOT = REPOSITORY.parent / "shared" / "data" / "raw"


def raw(name):
    """Path of a real file; skips the test where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"third-party file {name} is not in ../shared/data/raw")
    return path


def crystal(seed):
    """Sixteen iron atoms with random moments of unequal lengths, one without."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Fe", a=2.87, cubic=True) * 2
    moments = rng.uniform(0.5, 2.5, (16, 1)) * random_directions(16, rng)
    moments[3] = 0
    set_moments(atoms, moments)
    return atoms


def labelled_frames(count=3, dmi=(0.003,)):
    """Frames of four iron atoms with random moments and the labels of a Heisenberg model with DMI."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(count):
        atoms = bulk("Fe", cubic=True).repeat((2, 1, 1))
        atoms.rattle(0.01, seed=k)
        set_moments(atoms, rng.uniform(1.5, 2.5, (4, 1)) * random_directions(4, rng))
        atoms.calc = Heisenberg([0.02, 0.01], dmi=dmi, tolerance=0.1)
        frames.append(store_results(atoms))
    return frames


RULE = "-" * 60

ABACUS_HEAD = """\
                              ABACUS v3.9.9
                  lattice constant (Bohr) = 1.88973
              lattice constant (Angstrom) = 1
                        TOTAL ATOM NUMBER = 2
DIRECT COORDINATES
    atom       x     y     z     mag  vx vy vz
taud_Ni1  0.0100 0.0000 0.0000  1.0  0.0 0.0 0.0
taud_Ni2  0.5000 0.5000 0.5000  1.0  0.0 0.0 0.0
 Lattice vectors: (Cartesian coordinate: in unit of a_0)
             +3.51234                  +0                  +0
                   +0            +3.51234                  +0
                   +0                  +0            +3.51234
"""


def abacus_step(energy, field, unit="eV/uB", columns=3):
    """Text of one self-consistent step of an ABACUS log."""
    moments = ["0.1 0.2 0.6", "-0.1 -0.2 -0.6"] if columns == 3 else ["0.6", "-0.6"]
    fields = [f"{field} 0.01 -0.02", f"-{field} -0.01 0.02"] if columns == 3 else [f"{field}", f"-{field}"]
    table = "{rule}\n {title}\n{rule}\n Ni {a}\n Ni {b}\n{rule}\n"
    return (
        f" E_KohnSham {energy / 13.605693122994:.10f} {energy:.10f}\n"
        + table.format(rule=RULE, title="Total Magnetism (uB)", a=moments[0], b=moments[1])
        + table.format(rule=RULE, title=f"Magnetic force ({unit})", a=fields[0], b=fields[1])
        + " charge density convergence is achieved\n"
        + table.format(rule=RULE, title="TOTAL-FORCE (eV/Angstrom)", a="0.1 0.2 0.3", b="-0.1 -0.2 -0.3")
    )


ABACUS_SCF = ABACUS_HEAD + abacus_step(-100.0, 0.05) + " !FINAL_ETOT_IS -100.0 eV\n"

ABACUS_RELAX = (
    ABACUS_HEAD
    + " STEP OF RELAXATION : 1\n"
    + abacus_step(-100.0, 0.05)
    + ABACUS_HEAD.partition("TOTAL ATOM NUMBER = 2\n")[2].partition(" Lattice")[0].replace("0.0100", "0.0200")
    + " STEP OF RELAXATION : 2\n"
    + abacus_step(-100.5, 0.04)
    + " !FINAL_ETOT_IS -100.5 eV\n"
)

ABACUS_MD = ABACUS_HEAD + " STEP OF MOLECULAR DYNAMICS : 0\n" + abacus_step(-99.0, 0.03) + " !FINAL_ETOT_IS -99.0 eV\n"

MD_DUMP = """\
MDSTEP:  0
LATTICE_CONSTANT: 1.0 Angstrom
LATTICE_VECTORS
  3.6 0.0 0.0
  0.0 3.6 0.0
  0.0 0.0 3.6
INDEX    LABEL    POSITION (Angstrom)    FORCE (eV/Angstrom)    VELOCITY (Angstrom/fs)
  0  Ni  0.04 0.0 0.0  0.1 0.2 0.3  0.0 0.0 0.0
  1  Ni  1.8 1.8 1.8  -0.1 -0.2 -0.3  0.0 0.0 0.0

"""

STRU = "LATTICE_CONSTANT\n1.8897261246\nLATTICE_VECTORS\n3.512341 0 0 #a\n0 3.512341 0\n0 0 3.512341\n"


def deltaspin_step(number, energy):
    """Text of one ionic step of a DeltaSpin OSZICAR."""
    return (
        f"DAV:   5    {energy:.10f}E+01   -0.2E-09   -0.1E-10   512   0.1E-04\n"
        " ion             MW_current                                     delta_MW\n"
        "  1       0.100000000      0.200000000      1.600000000       0.000000001     0.000000002     0.000000003\n"
        "  2      -0.100000000     -0.200000000     -1.600000000       0.000000001     0.000000002     0.000000003\n"
        " ion              M_current\n"
        "  1       0.110000000      0.210000000      1.610000000\n"
        "  2      -0.110000000     -0.210000000     -1.610000000\n"
        " RMS =  0.10000000E-08\n"
        " ion             lambda                                          Magnetic Force\n"
        "  1  0.10000000E-01  0.20000000E-01  0.30000000E-01 -0.10000000E-01 -0.20000000E-01 -0.30000000E-01\n"
        "  2 -0.10000000E-01  0.00000000E+00  0.40000000E-01  0.10000000E-01  0.00000000E+00 -0.40000000E-01\n"
        f"   {number} F= {energy:.8f}E+02 E0= {energy + 0.001:.8f}E+02  d E =-.1E-05  mag= 0.0 0.0 0.0\n"
    )


TB2J = """\
==========================================================================================
Information:
Exchange parameters generated by TB2J 0.9.9
 Input from non-collinear data.
==========================================================================================
Cell (Angstrom):
 3.000   0.000   0.000
 0.000   4.000   0.000
 0.000   0.000   9.000

==========================================================================================
Atoms:
(Note: charge and magmoms only count the wannier functions.)
Atom_number      x         y         z     w_charge    M(x)      M(y)      M(z)
Mn1             0.0000    0.0000    0.0000    5.0000    0.0000    0.0000    3.0000
Cl1             1.5000    0.0000    2.0000    7.0000    0.0000    0.0000    0.0000
Total                                        12.0000    0.0000    0.0000    3.0000

==========================================================================================
Exchange:
    i      j          R        J_iso(meV)          vector          distance(A)
----------------------------------------------------------------------------------------
   Mn1   Mn1   (  1,   0,   0) 5.0000   ( 3.000,  0.000,  0.000)  3.000
J_iso: 5.0000
[Testing!] DMI: ( 0.1000  0.2000 -0.3000)
[Testing!]J_ani:
[[ 0.01  0.02  0.  ]
 [ 0.02 -0.01  0.  ]
 [ 0.    0.    0.  ]]
----------------------------------------------------------------------------------------
   Mn1   Mn1   ( -1,   0,   0) 5.0000   (-3.000,  0.000,  0.000)  3.000
J_iso: 5.0000
[Testing!] DMI: (-0.1000 -0.2000  0.3000)
[Testing!]J_ani:
[[ 0.01  0.02  0.  ]
 [ 0.02 -0.01  0.  ]
 [ 0.    0.    0.  ]]
"""

VAMPIRE = """\
# Unit cell size:
3.0 3.0 4.0
# Unit cell vectors:
1.0 0.0 0.0
0.0 1.0 0.0
0.0 0.0 1.0
# Atoms
1
0 0.0 0.0 0.0 0 0 0
# Interactions
2 isotropic
0 0 0 1 0 0 1.6e-21
1 0 0 -1 0 0 1.6e-21
"""

VAMPIRE_MATERIALS = """\
material:num-materials=1
material[1]:material-name=Mn
material[1]:material-element=Mn
material[1]:atomic-spin-moment=3.0 !muB
material[1]:initial-spin-direction=0,1,0
"""

SPIRIT = """\
### Hamiltonian
hamiltonian heisenberg_pairs
mu_s 3.0
n_interaction_pairs 2
i j da db dc Jij Dij Dijx Dijy Dijz
0 0 1 0 0 10.0 2.0 0.0 3.0 0.0
0 0 0 1 0 -4.0 0.0 0.0 0.0 0.0
### Geometry
bravais_lattice sc
lattice_constant 2.5
"""

UPPASD = {
    "inpsd.dat": "simid test\ncell 1 0 0\n 0 1 0\n 0 0 1\nSym 1\nposfile ./posfile\nmomfile ./momfile\n"
    "exchange ./jfile\nalat 2.5e-10\n",
    "posfile": "1 1 0.0 0.0 0.0\n2 1 0.5 0.5 0.5\n",
    "momfile": "1 1 2.2 1.0 0.0 0.0\n2 1 2.2 1.0 0.0 0.0\n",
    "jfile": "1 1 0.5 0.5 0.5 1.3 0.866\n1 1 1.0 0.0 0.0 0.7 1.000\n",
}
