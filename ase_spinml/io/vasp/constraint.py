"""Constrained moments: from the penalty that VASP adds to the field -dE/dm that a model learns.

With M = MW_int, e0 the target direction, M0 the target and P the printed table lambda*MW_perp:

====  ============================  =========================  =======
mode  penalty E_p, summed           P                          dE_p/dM
====  ============================  =========================  =======
1     lambda (M - e0 (e0.M))^2      lambda M_perp              2 P
2     lambda (M - M0)^2             lambda (M - M0)            2 P
4     lambda (length(M) - e0.M)     lambda (e_M - e0)_perp     1 P
====  ============================  =========================  =======

At self-consistency E + E_p is stationary, so -dE/dM = dE_p/dM = c P: the factor c is 2, 2, 1 and the sign is plus.
"""

from dataclasses import dataclass

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.vasp import incar
from ase_spinml.moments import transverse, unit_rows

FACTORS = {1: 2.0, 2: 2.0, 4: 1.0}
"""c of -dE/dM = c P by I_CONSTRAINED_M."""


@dataclass
class Constraint:
    """How a run was constrained. ``mode`` 0: not at all.

    Attributes
    ----------
    mode : int
        I_CONSTRAINED_M.
    lam : float or None
        LAMBDA as in INCAR.
    targets : ndarray, shape (N, 3), or None
        M_CONSTR in mu_B, SAXIS frame; a zero row is an atom without constraint.
    ignored : bool
        The user asked to read a constrained run as if it had no constraint.
    """

    mode: int
    lam: float | None = None
    targets: np.ndarray | None = None
    ignored: bool = False

    @property
    def constrained(self):
        """Constrained atoms, (N,) bool; None where M_CONSTR is not known."""
        return None if self.targets is None else self.targets.any(axis=1)


def find_constraint(settings, asked, n_atoms):
    """The :class:`Constraint` of a run.

    Parameters
    ----------
    settings : dict of str -> dict
        INCAR tags by the file they come from.
    asked : None, False or int
        The user's word: nothing, to leave the constraint alone, or the mode where no file tells it.
    n_atoms : int

    Raises
    ------
    InputError
        Files that contradict each other or the user, modes without a known field, M_CONSTR of a wrong length.
    """
    mode = _agreed(settings, "I_CONSTRAINED_M", lambda tags, file: incar.value(tags, "I_CONSTRAINED_M", file))
    if asked not in (None, False) and (isinstance(asked, bool) or asked not in FACTORS):
        raise InputError(f"Expected constraint to be None, False, 1, 2 or 4, got {asked!r}.")
    if asked is not None and asked is not False:
        if mode not in (None, asked):
            raise InputError(
                f"Expected constraint={mode:g} as I_CONSTRAINED_M in the files, got {asked}: leave constraint out."
            )
        mode = asked
    if asked is False or not mode:
        return Constraint(0, ignored=asked is False)
    if mode not in FACTORS:
        raise InputError(
            f"Expected I_CONSTRAINED_M of 1, 2 or 4, got {mode:g}: the field of other modes is not known; "
            f"constraint=False reads energies with their penalty and no fields."
        )
    for file, tags in settings.items():
        if "SCTYPE" in tags:
            raise InputError(
                f"Expected a run of VASP, got SCTYPE in {file}, a tag of DeltaSpin: its multipliers are fields of "
                f"another sign, read it with the reader for DeltaSpin."
            )
    targets = _agreed(settings, "M_CONSTR", lambda tags, file: incar.values(tags, "M_CONSTR", file))
    if targets is not None and targets.shape != (3 * n_atoms,):
        raise InputError(f"Expected {3 * n_atoms} numbers for M_CONSTR, got {len(targets)}: correct INCAR.")
    lam = _agreed(settings, "LAMBDA", lambda tags, file: incar.value(tags, "LAMBDA", file))
    return Constraint(int(mode), lam, None if targets is None else targets.reshape(n_atoms, 3))


def _agreed(settings, name, read):
    """Value of a tag from every file that has it; InputError where two differ."""
    found = {file: read(tags, file) for file, tags in settings.items() if tags.get(name) is not None}
    items = list(found.items())
    for file, value in items[1:]:
        if np.shape(value) != np.shape(items[0][1]) or not np.allclose(value, items[0][1], rtol=1e-6, atol=1e-7):
            raise InputError(
                f"Expected the same {name} in {items[0][0]} and {file}, got different values: "
                f"the files belong to different runs, put those of one run into the folder."
            )
    return items[0][1] if items else None


def field_rows(constraint, step, n_atoms):
    """-dE/dM as printed, c P: (N, 3) in eV/mu_B, SAXIS frame, NaN rows for atoms without constraint.

    All rows are NaN where MW_int of every row is zero: the spheres are empty and nothing was constrained.
    """
    rows = np.full((n_atoms, 3), np.nan)
    if not step.smooth[list(step.fields)].any():
        return rows
    for atom, field in step.fields.items():
        rows[atom] = FACTORS[constraint.mode] * np.array(field)
    return rows


def transverse_rows(rows, moments):
    """Part of ``rows`` (N, 3) perpendicular to ``moments``; NaN stays NaN, and so does a row without a moment."""
    spins = unit_rows(moments)
    out = transverse(rows, spins)
    out[~spins.any(axis=1) | np.isnan(rows).any(axis=1)] = np.nan
    return out


def expected_penalty(constraint, step):
    """E_p in eV that P and MW_int imply: sum P^2/lambda, or sum |M| P^2/(2 lambda) to second order in mode 4."""
    squares = {atom: np.dot(p, p) / step.lam for atom, p in step.fields.items()}
    if constraint.mode == 4:
        return sum(0.5 * np.linalg.norm(step.smooth[atom]) * s for atom, s in squares.items())
    return sum(squares.values())


def expected_fields(constraint, step):
    """P that MW_int and the targets imply, with the error that three decimals of MW_int leave: (N, 3) and (N,)."""
    targets = unit_rows(constraint.targets)
    lengths = np.linalg.norm(step.smooth, axis=1)
    if constraint.mode == 4:
        return step.lam * transverse(unit_rows(step.smooth), targets), 1e-3 * step.lam / np.maximum(lengths, 1e-3)
    reference = constraint.targets if constraint.mode == 2 else 0.0
    rows = step.smooth - reference
    return step.lam * (rows if constraint.mode == 2 else transverse(rows, targets)), np.full(len(rows), 1e-3 * step.lam)


def angles(constraint, moments):
    """Angles in degrees between targets and moments (N, 3), both in the SAXIS frame; NaN where either is zero."""
    a, b = unit_rows(constraint.targets), unit_rows(moments)
    known = a.any(axis=1) & b.any(axis=1)
    angle = np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)))
    return np.where(known, angle, np.nan)
