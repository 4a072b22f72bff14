"""Torques between two blocks of parallel spins, and what they say about potentials without any derivative.

Let some spins point along p and all others along q. What acts on the blocks as a whole, F_P = sum of m_i H_i over P, is

    F_P = f_P q_perp + d_P p x q,    F_Q = f_Q p_perp + d_Q q x p,

with field-like and damping-like strengths f, d in eV: d is the spin-transfer torque of a spin valve (J. C. Slonczewski,
J. Magn. Magn. Mater. 159, L1 (1996)). If the fields are F_i = -dE/de_i - e_i x dG/de_i with functions E and G of all
spins that do not change when all spins turn together, then E and G of the two blocks depend on p.q alone and

    f_P = f_Q = -E'(p.q),    d_P = d_Q = -G'(p.q).

So one labelled frame is enough to see that the two potentials do not exist. The opposite of equal d, d_P = -d_Q, is the
pinwheel: both blocks turn the same way round, one after the other. With spins in three directions or more a single
frame says nothing: some E and G give any fields at all, as no common turn and boost of the spins (a Moebius map of the
sphere) other than zero leaves three directions alone.
"""

from typing import NamedTuple

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.models.labels import read_labels
from ase_spinml.moments import get_spins, transverse


class ValveTorques(NamedTuple):
    """Torques between two blocks of spins; from :func:`valve_torques`.

    Attributes
    ----------
    angle : float
        Between p and q, degrees.
    field_like, damping_like : (2,) arrays
        f and d of the block of the first magnetic atom and of the other, eV.
    """

    angle: float
    field_like: np.ndarray
    damping_like: np.ndarray

    @property
    def mismatch(self):
        """sqrt((f_P - f_Q)^2 + (d_P - d_Q)^2) over the same with sums, 0 if E and G exist, 1 for one block alone."""
        strengths = np.array([self.field_like, self.damping_like])
        return float(np.linalg.norm(strengths[:, 0] - strengths[:, 1]) / np.linalg.norm(strengths.sum(axis=1)))


def valve_torques(atoms, tolerance=0.1):
    """Field-like and damping-like torques of a labelled frame whose spins point in two directions.

    Parameters
    ----------
    atoms : ase.Atoms
        With ``exchange_fields`` for every moment, as a column or in the calculator's results.
    tolerance : float
        Degrees by which the spins of a block may differ.

    Returns
    -------
    ValveTorques

    Raises
    ------
    InputError
        Spins in fewer or more than two directions, or opposite; moments without a label.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg, set_moments
    >>> from ase_spinml.analysis import valve_torques
    >>> atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    >>> set_moments(atoms, [[0, 0, 2], [2, 0, 0]])
    >>> atoms.calc = Heisenberg([0.010])
    >>> atoms.arrays["exchange_fields"] = atoms.calc.get_property("exchange_fields", atoms)
    >>> valve_torques(atoms).field_like.round(6).tolist()      # eV, equal: exchange has an energy
    [0.01, 0.01]
    """
    labels, spins = read_labels(atoms), get_spins(atoms)
    magnetic = labels.lengths > 0
    if labels.fields is None or not np.array_equal(labels.labelled_spins, magnetic):
        raise InputError("Expected exchange_fields for every magnetic atom, got none for some: label the frame first.")
    forms = transverse(labels.lengths[:, None] * np.nan_to_num(labels.fields), spins)
    p, q, first = _blocks(spins, magnetic, np.cos(np.radians(tolerance)))
    on_p, on_q = forms[first].sum(axis=0), forms[magnetic & ~first].sum(axis=0)
    normal = np.cross(p, q)
    square = normal @ normal
    field_like = np.array([on_p @ q, on_q @ p]) / square
    damping_like = np.array([on_p @ normal, -on_q @ normal]) / square
    return ValveTorques(float(np.degrees(np.arctan2(np.sqrt(square), p @ q))), field_like, damping_like)


def _blocks(spins, magnetic, closest):
    """The two directions, and which atoms (N,) point along the first."""
    directions = [spins[magnetic][0]] if magnetic.any() else []
    for spin in spins[magnetic]:
        if all(spin @ known < closest for known in directions):
            directions.append(spin)
    if len(directions) != 2 or directions[0] @ directions[1] < -closest:
        found = "opposite ones" if len(directions) == 2 else str(len(directions))
        raise InputError(f"Expected spins in two directions that are not opposite, got {found}.")
    p, q = directions
    return p, q, magnetic & (spins @ p >= closest)
