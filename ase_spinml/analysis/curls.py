"""Curl of a field of spins: whether torques are derivatives of an energy, or of two potentials.

N unit spins e_i are a point on N spheres, and fields H_i are the one-form F = sum_i F_i.de_i with F_i = m_i H_i in eV:
the work done on the spins when they turn. In tangent frames t_i1, t_i2 = e_i x t_i1 its derivatives are

    J_ia,jb = d_ia F_jb,    A_ia,jb = J_ia,jb - J_jb,ia,    S = (J + J^T) / 2,

a Jacobian, the curl (the two-form dF) and minus the Hessian. F derives from an energy, F_i = -dE/de_i, if and only if A
vanishes everywhere, as a sphere has no closed path that cannot be drawn together.

With a second potential, F_i = -dE/de_i - e_i x dG/de_i (P. Zhang and G.-W. Chern, npj Comput. Mater. 9, 32 (2023)), A
comes from G alone. It is then of type (1,1): unchanged when all tangent vectors are turned by a right angle, v -> e x
v. For a pair of different spins that means A_11 = A_22 and A_12 = -A_21. The converse holds as well, on products of
spheres (the d d^c lemma): A of type (1,1) everywhere means that functions E and G of all spins exist. What is left, the
(2,0) and (0,2) part, is of no use to any G. The block of a spin with itself, A_i1,i2 = -Laplacian_i G, is always of
type (1,1): a single spin has both potentials, whatever its field (Helmholtz and Hodge).
"""

from dataclasses import dataclass

import numpy as np

from ase_spinml import checks
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import exponential
from ase_spinml.moments import FIELDS, get_moments, get_spins, set_moments, transverse, unit_rows

CERTAIN = 30.0
"""A curl this many times above the numerical resolution has a type worth telling."""


@dataclass(frozen=True)
class CurlReport:
    """Derivatives of a field of spins at one state; from :func:`curl`.

    Attributes
    ----------
    jacobian : (2n, 2n) array
        J_ia,jb = d_ia F_jb in eV/rad: rows say which of the n magnetic atoms turns which way, columns what changes.
    tangents : (n, 2, 3) array
        The frames t_i1, t_i2 = e_i x t_i1.
    atoms : (n,) int array
        Numbers of the magnetic atoms.
    resolution : float
        ``relative`` of a field that has an energy, by rounding and finite steps, in order of magnitude.
    """

    jacobian: np.ndarray
    tangents: np.ndarray
    atoms: np.ndarray
    resolution: float

    @property
    def two_form(self):
        """The curl A = J - J^T, antisymmetric, (2n, 2n), eV/rad."""
        return self.jacobian - self.jacobian.T

    @property
    def symmetric(self):
        """S = (J + J^T)/2, minus the Hessian where there is an energy, (2n, 2n), eV/rad."""
        return 0.5 * (self.jacobian + self.jacobian.T)

    @property
    def part_20(self):
        """The (2,0) and (0,2) part of the curl, (2n, 2n), half its change when all tangents turn by a right angle."""
        blocks = self.two_form.reshape(len(self.atoms), 2, len(self.atoms), 2)
        turned = np.empty_like(blocks)  # A(e x u, e x v); e x t_1 = t_2 and e x t_2 = -t_1
        turned[:, 0, :, 0], turned[:, 1, :, 1] = blocks[:, 1, :, 1], blocks[:, 0, :, 0]
        turned[:, 0, :, 1], turned[:, 1, :, 0] = -blocks[:, 1, :, 0], -blocks[:, 0, :, 1]
        return 0.5 * (blocks - turned).reshape(self.jacobian.shape)

    @property
    def own(self):
        """A_i1,i2 = -Laplacian_i G of every magnetic atom, (n,), eV/rad, the curl of its field on its own sphere."""
        return np.diagonal(self.two_form, 1)[::2]

    @property
    def relative(self):
        """|J - J^T| / |J + J^T|, Frobenius norms; 0 for a gradient, 1 where both parts of J are of one size."""
        return _ratio(self.two_form, 2 * self.symmetric)

    @property
    def share_20(self):
        """|(2,0) and (0,2) part| / |curl|, from 0 to 1, the share that no two potentials carry; nan without a curl."""
        small = CERTAIN * self.resolution * np.linalg.norm(self.jacobian)
        return _ratio(self.part_20, self.two_form) if np.linalg.norm(self.two_form) > small else np.nan

    @property
    def violation(self):
        """|(2,0) and (0,2) part| / |J + J^T|, 0 for a field that has two potentials."""
        return _ratio(self.part_20, 2 * self.symmetric)


def curl(field, spins=None, precision=1e-15):
    """Curl and symmetric derivatives of a field of spins, by central differences, in 4n evaluations of the field.

    Parameters
    ----------
    field : ase.Atoms or callable
        Atoms with moments m_i e_i and a calculator that gives ``exchange_fields``; lengths stay as they are. Or a
        function of spins (N, 3) that gives F_i = -dE/de_i, (N, 3), m_i H_i in eV; parts along the spins do not count.
    spins : (N, 3) array, optional
        The state, unit rows, zero rows for atoms without a moment; by default that of the atoms.
    precision : float
        Relative accuracy p of the field. The step, h = (3 p)^(1/3) radians, balances rounding, p/h, and the next
        order, h^2/6. Models in single precision, or electrons iterated to a tolerance, need a larger p.

    Returns
    -------
    CurlReport

    Raises
    ------
    InputError
        No usable state, calculator, function or precision.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import curl
    >>> spins = np.eye(3)[:2]
    >>> def pinwheel(spins):
    ...     return np.array([np.cross(*spins), np.cross(*spins)])
    >>> report = curl(pinwheel, spins)
    >>> round(report.share_20, 6)                              # no two potentials have this field
    1.0
    """
    field, spins = one_form(field, spins)
    if not 0 < precision < 0.1:
        raise InputError(f"Expected the precision of the field to be between 0 and 0.1, got {precision}.")
    atoms = np.flatnonzero(spins.any(axis=1))
    if not len(atoms):
        raise InputError("Expected a state with spins, got zero rows only: set moments first.")
    tangents = tangent_frames(spins[atoms])
    step = np.cbrt(3 * precision)
    rows = []
    for atom, frame in zip(atoms, tangents, strict=True):
        for tangent in frame:
            turn = np.zeros_like(spins)
            turn[atom] = step * tangent
            change = field(exponential(spins, turn)) - field(exponential(spins, -turn))
            rows.append(np.einsum("ibx,ix->ib", tangents, change[atoms]).ravel() / (2 * step))
    return CurlReport(np.array(rows), tangents, atoms, precision / step + step**2 / 6)


def one_form(field, spins=None):
    """A field as a checked function of spins (N, 3) that gives transverse F_i (N, 3) in eV, and the state; see curl."""
    if callable(field):
        if spins is None:
            raise InputError("Expected the spins at which to take the function of the field, got none: give spins.")
        function = field
    else:
        function = _calculated(field)
        spins = get_spins(field) if spins is None else spins
    spins = unit_spins(spins)

    def fields(state):
        values = np.asarray(function(state), dtype=float)
        if values.shape != spins.shape or not np.isfinite(values).all():
            raise InputError(
                f"Expected the field to be finite numbers of shape {spins.shape}, one row for each spin, got shape "
                f"{values.shape}{'' if np.isfinite(values).all() else ' with NaN or infinity'}."
            )
        return transverse(values, state)

    return fields, spins


def unit_spins(spins):
    """Spins (N, 3) as an array of unit or zero rows; InputError if they are not."""
    spins = np.asarray(spins, dtype=float)
    if spins.ndim != 2 or spins.shape[1] != 3 or not np.isfinite(spins).all():
        raise InputError(f"Expected spins of shape (N, 3), finite numbers, got shape {spins.shape}.")
    lengths = np.linalg.norm(spins, axis=1)
    if np.any((np.abs(lengths - 1) > 1e-6) & (lengths > 0)):
        raise InputError("Expected spins of length one, or zero without a moment: divide moments by their lengths.")
    return unit_rows(spins)


def tangent_frames(spins):
    """Frames t_1, t_2 = e x t_1 perpendicular to unit rows ``spins`` (n, 3): (n, 2, 3)."""
    helper = np.eye(3)[np.argmin(np.abs(spins), axis=1)]
    first = unit_rows(transverse(helper, spins))
    return np.stack([first, np.cross(spins, first)], axis=1)


def _calculated(atoms):
    """m_i H_i of a calculator as a function of spins."""
    checks.calculator(atoms, ("exchange_fields",))
    lengths = np.linalg.norm(get_moments(atoms), axis=1)[:, None]
    frame = atoms.copy()
    frame.calc = atoms.calc

    def fields(spins):
        set_moments(frame, lengths * spins)
        return lengths * frame.calc.get_property(FIELDS, frame)

    return fields


def _ratio(part, whole):
    """Ratio of two norms; infinite or nan where the second is zero."""
    part, whole = np.linalg.norm(part), np.linalg.norm(whole)
    return float(part / whole) if whole > 0 else float("inf" if part > 0 else "nan")
