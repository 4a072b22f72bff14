"""What the files of a VASP run say: one :class:`Run` per file, one :class:`Step` per ionic step, and their checks."""

from dataclasses import dataclass, field

import numpy as np
from ase.units import GPa

from ase_spinml.io.vasp.saxis import saxis_rotation

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass
class Run:
    """What holds for a whole run, as one file tells it; None where it does not.

    Attributes
    ----------
    file : str
    version : str
    symbols : list of str
        In the order of POSCAR.
    spin : "none", "collinear" or "noncollinear"
    spin_orbit : bool
    rotation : ndarray, shape (3, 3)
        Matrix R of m_cart = R m for quantities printed in the SAXIS frame.
    smearing : int
        ISMEAR.
    max_scf : int
        NELM.
    settings : dict
        INCAR tags that the file repeats as the user gave them, upper case, as strings or numbers.
    """

    file: str = ""
    version: str | None = None
    symbols: list | None = None
    spin: str | None = None
    spin_orbit: bool = False
    rotation: np.ndarray | None = None
    smearing: int | None = None
    max_scf: int | None = None
    settings: dict = field(default_factory=dict)

    def set_saxis(self, saxis):
        """Take the frame from a SAXIS vector."""
        self.rotation = saxis_rotation(saxis)


@dataclass
class Step:
    """One ionic step of one file; None where the file does not tell.

    Attributes
    ----------
    number : int
        From 1.
    run : Run
    cell : (3, 3), positions : (N, 3), A
    free_energy, energy : float, eV
        TOTEN and the extrapolation to zero smearing, penalty included.
    forces : (N, 3), eV/A; stress : (6,), eV/A^3, in ASE's sign and order
    moments : (N,) collinear or (N, 3) noncollinear, mu_B
        PAW projection, in the SAXIS frame.
    converged : bool
    """

    number: int
    run: Run
    cell: np.ndarray | None = None
    positions: np.ndarray | None = None
    free_energy: float | None = None
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    moments: np.ndarray | None = None
    converged: bool | None = None


def ase_stress(kilobar):
    """ASE's stress (6,) in eV/A^3 of VASP's stress tensor (3, 3) in kB, which is positive under compression."""
    kilobar = np.asarray(kilobar)
    return -0.1 * GPa * np.array([0.5 * (kilobar[a, b] + kilobar[b, a]) for a, b in VOIGT])


def energies_agree(free, without_entropy, zero, smearing, digits=8):
    """Whether the three energies that VASP prints belong together: E0 = F + (E - F)/(n + 2), n = ISMEAR or 0.

    Any order n up to 10 will do where ``smearing`` is None or one of the methods without a known order (-2, -3, below
    -5).
    """
    unknown = smearing is None or smearing in (-2, -3) or smearing < -5
    orders = range(11) if unknown else [max(smearing, 0)]
    expected = [free + (without_entropy - free) / (n + 2) for n in orders]
    return min(abs(zero - value) for value in expected) < 3 * 10.0**-digits


def lattice_agrees(cell, reciprocal, tolerance=2e-8):
    """Whether rows ``reciprocal`` (1/A, without 2 pi) are inverse to rows ``cell``; ``tolerance``: of one number."""
    scale = max(np.abs(cell).max(), np.abs(reciprocal).max(), 1.0)
    return np.abs(cell @ reciprocal.T - np.eye(3)).max() < 6 * tolerance * scale
