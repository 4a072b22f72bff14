"""Work of a field of spins along a closed path: zero if the field has an energy, however far from equilibrium it looks.

    W = closed integral of sum_i m_i H_i.de_i

A field with an energy gives W = 0 on every loop; W > 0 is the energy that a drive feeds into the spins in one turn. By
Stokes' theorem W is the flux of the curl (:mod:`ase_spinml.analysis.curls`) through any surface that the loop bounds: a
small loop in the plane of two tangent vectors u, v has W = pi angle^2 A(u, v).

A loop is an array (K, N, 3) of states, unit rows; every spin goes from one state to the next along a great circle, and
from the last state to the first.
"""

from typing import NamedTuple

import numpy as np

from ase_spinml.analysis.curls import one_form, tangent_frames, unit_spins
from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import exponential, logarithm
from ase_spinml.models.labels import read_labels
from ase_spinml.moments import get_spins, transverse

NODES = np.array([0.0, 0.25, 0.5, 0.75])
"""Of Boole's rule on every piece of a loop; the fifth is the first of the next piece."""
BOOLE = np.array([7, 32, 12, 32, 7]) / 90
SIMPSON = np.array([1, 0, 4, 0, 1]) / 6


class Work(NamedTuple):
    """Work around a loop and an estimate of its numerical error, both in eV."""

    work: float
    error: float


def loop_work(field, loop):
    """Work of a field along a loop of spin states, in 4K evaluations of the field.

    Every piece of the loop is integrated by Boole's rule; the error is its difference from Simpson's, on the safe side.

    Parameters
    ----------
    field : ase.Atoms or callable
        As for :func:`~ase_spinml.analysis.curls.curl`.
    loop : (K, N, 3) array
        K >= 3 states of N spins, unit rows, zero rows for atoms without a moment, as from :func:`cone_loop`.

    Returns
    -------
    Work

    Raises
    ------
    InputError
        No usable field or loop; opposite directions of a spin in one state and the next.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import cone_loop, loop_work
    >>> def pinwheel(spins):
    ...     return np.array([np.cross(*spins), np.cross(*spins)])
    >>> work = loop_work(pinwheel, cone_loop(np.array([[1, 0, 0], [0.6, 0.8, 0]]), atom=0, angle=20))
    >>> bool(abs(work.work) > 1e3 * work.error)                # no energy does work around a loop
    True
    """
    loop = _checked(loop)
    field, _ = one_form(field, loop[0])
    tangents = _pieces(loop)
    pieces = zip(loop, tangents, strict=True)
    forms = np.array([[field(exponential(state, s * tangent)) for s in NODES] for state, tangent in pieces])
    forms = np.concatenate([forms, np.roll(forms[:, :1], -1, axis=0)], axis=1)
    powers = [_power(loop, tangents, s, forms[:, k]) for k, s in enumerate([*NODES, 1.0])]
    work, coarse = BOOLE @ powers, SIMPSON @ powers
    return Work(float(work.sum()), float(np.abs(work - coarse).sum()))


def labelled_work(frames):
    """Work along a closed path of labelled frames, by the trapezoidal rule: a test of labels without derivatives.

    Its error falls with the square of the distance between the frames, and is estimated from every other frame alone.

    Parameters
    ----------
    frames : list of ase.Atoms
        The same atoms in the same place with other spins, in the order of the loop, with ``exchange_fields``.

    Returns
    -------
    Work

    Raises
    ------
    InputError
        Fewer than six frames, frames that differ by more than their spins, magnetic atoms without a label, opposite
        directions of a spin in one frame and the next.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import Atoms
    >>> from ase_spinml import Heisenberg, set_moments
    >>> from ase_spinml.analysis import cone_loop, labelled_work
    >>> frames = []
    >>> for spins in cone_loop(np.eye(3)[:2], atom=0, angle=30):
    ...     atoms = Atoms("Fe2", positions=[[0, 0, 0], [2.5, 0, 0]])
    ...     set_moments(atoms, 2.0 * spins)
    ...     atoms.arrays["exchange_fields"] = Heisenberg([0.010]).get_property("exchange_fields", atoms)
    ...     frames.append(atoms)
    >>> bool(abs(labelled_work(frames).work) < 1e-12)          # an energy does no work around a loop
    True
    """
    frames = list(frames)
    if len(frames) < 6:
        raise InputError(f"Expected at least six labelled frames around a loop, got {len(frames)}.")
    forms = np.array([_labels(frame, k, frames[0]) for k, frame in enumerate(frames)])
    loop = np.array([get_spins(frame) for frame in frames])
    works = [_trapezoid(loop[::every], forms[::every]) for every in (1, 2)]
    return Work(works[0], abs(works[0] - works[1]))


def cone_loop(spins, atom, angle, n_states=32):
    """One spin once around a cone about its own direction, counter-clockwise seen from its tip.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows.
    atom : int
    angle : float
        Half the opening of the cone, degrees.
    n_states : int

    Returns
    -------
    (n_states, N, 3) array

    Raises
    ------
    InputError
        No such spin, an angle that is not between 0 and 180 degrees, fewer than three states.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import cone_loop
    >>> spins = np.eye(3)[:2]
    >>> loop = cone_loop(spins, atom=0, angle=30, n_states=16)
    >>> loop.shape, bool(np.allclose(loop[:, 0] @ spins[0], np.cos(np.pi / 6)))
    ((16, 2, 3), True)
    """
    spins = unit_spins(spins)
    first, second = _frame(spins, atom)
    return plane_loop(spins, first, second, angle, n_states)


def quadrature_loop(spins, first, second, angle, n_states=32):
    """Two spins that swing a quarter of a turn out of step, each in a plane: a pump.

    With theta = 2 pi k / n_states the first spin tilts by angle * cos(theta) towards its tangent t_1, the second by
    angle * sin(theta) towards its own; the frames are those of :func:`~ase_spinml.analysis.curls.tangent_frames`. The
    work of a small loop is pi angle^2 A_i1,j1.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows.
    first, second : int
        Two atoms.
    angle : float
        Amplitude, degrees.
    n_states : int

    Returns
    -------
    (n_states, N, 3) array

    Raises
    ------
    InputError
        As :func:`cone_loop`; twice the same atom.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import quadrature_loop
    >>> spins = np.eye(3)[:2]
    >>> quadrature_loop(spins, 0, 1, angle=10, n_states=8).shape
    (8, 2, 3)
    """
    spins = unit_spins(spins)
    if first == second:
        raise InputError(f"Expected two different atoms for a loop in quadrature, got {first} twice: use cone_loop.")
    return plane_loop(spins, _frame(spins, first)[0], _frame(spins, second)[0], angle, n_states)


def plane_loop(spins, u, v, angle, n_states=32):
    """States exp_e(angle (u cos theta + v sin theta)), theta = 2 pi k / n_states, around a state e.

    Parameters
    ----------
    spins : (N, 3) array
        Unit rows.
    u, v : (N, 3) arrays
        Directions, of which the parts perpendicular to the spins count, with their lengths.
    angle : float
        Amplitude, degrees.
    n_states : int

    Returns
    -------
    (n_states, N, 3) array

    Raises
    ------
    InputError
        As :func:`cone_loop`.

    Examples
    --------
    >>> import numpy as np
    >>> from ase_spinml.analysis import plane_loop
    >>> spins = np.eye(3)[:2]
    >>> plane_loop(spins, spins[[1, 0]], np.eye(3)[[2, 2]], angle=10, n_states=8).shape
    (8, 2, 3)
    """
    spins = unit_spins(spins)
    if not 0 < angle < 180:
        raise InputError(f"Expected an angle between 0 and 180 degrees, got {angle}.")
    if n_states < 3:
        raise InputError(f"Expected at least three states for a loop, got {n_states}.")
    theta = 2 * np.pi * np.arange(n_states)[:, None, None] / n_states
    tangents = np.cos(theta) * transverse(u, spins) + np.sin(theta) * transverse(v, spins)
    return exponential(spins, np.radians(angle) * tangents)


def _checked(loop):
    loop = np.asarray(loop, dtype=float)
    if loop.ndim != 3 or loop.shape[2] != 3 or len(loop) < 3:
        raise InputError(f"Expected a loop of at least three states, shape (K, N, 3), got shape {loop.shape}.")
    return unit_spins(loop.reshape(-1, 3)).reshape(loop.shape)


def _pieces(loop):
    """Tangent rows (K, N, 3) in radians that lead from every state to the next."""
    following = np.roll(loop, -1, axis=0)
    if np.any((np.einsum("kix,kix->ki", loop, following) < -1 + 1e-12) & loop.any(axis=2)):
        raise InputError("Expected a loop that says which way spins turn, got opposite ones: add states between.")
    return np.array([logarithm(first, second) for first, second in zip(loop, following, strict=True)])


def _power(loop, tangents, s, forms):
    """sum_i F_i.de_i/ds of every piece at the fraction s, (K,); F is transverse to the spins there."""
    angle = np.linalg.norm(tangents, axis=2, keepdims=True)
    velocity = np.cos(s * angle) * tangents - np.sin(s * angle) * angle * loop
    return np.einsum("kix,kix->k", forms, velocity)


def _trapezoid(loop, forms):
    tangents = _pieces(loop)
    return float(0.5 * (_power(loop, tangents, 0, forms) + _power(loop, tangents, 1, np.roll(forms, -1, axis=0))).sum())


def _labels(frame, k, first):
    """m_i H_i (N, 3) of a labelled frame in eV."""
    same = len(frame) == len(first) and np.array_equal(frame.numbers, first.numbers)
    if not same or np.abs(frame.positions - first.positions).max() > 1e-6:
        raise InputError(
            f"Expected frames that differ by their spins alone, got frame {k} with other atoms than frame 0."
        )
    labels = read_labels(frame, f"frame {k}")
    if labels.fields is None or not np.array_equal(labels.labelled_spins, labels.lengths > 0):
        raise InputError(f"Expected exchange_fields for every magnetic atom of frame {k}, got none for some.")
    return transverse(labels.lengths[:, None] * np.nan_to_num(labels.fields), get_spins(frame))


def _frame(spins, atom):
    """Tangent rows t_1 and t_2 (N, 3) of one spin, zero for all others."""
    if not 0 <= atom < len(spins) or not spins[atom].any():
        raise InputError(f"Expected the number of an atom with a moment, 0 to {len(spins) - 1}, got {atom}.")
    rows = np.zeros((2, *spins.shape))
    rows[:, atom] = tangent_frames(spins[atom][None])[0]
    return rows
