"""Magnetic moments on :class:`ase.Atoms`.

The state lives in ``atoms.arrays["initial_magmoms"]`` as an (N, 3) array of moment vectors in mu_B, the one array that
ASE's result cache, trajectories and extended XYZ already know. The direction of a row is the spin e_i, its length the
moment m_i; a zero row is a non-magnetic atom. Angles are in degrees, as everywhere in ASE.

Files keep the moments with eight decimals (extended XYZ) or in full (``.traj``); :func:`get_spins` divides by the
length, so its rows are unit vectors to machine precision whatever file the frame came from.
"""

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from ase_spinml.errors import InputError

MOMENTS = "initial_magmoms"
FIELDS = "exchange_fields"


def set_moments(atoms, moments, axis=None):
    """Set the moment vectors of ``atoms``, in place, whatever the frame held before.

    Parameters
    ----------
    atoms : ase.Atoms
        Frame of N atoms.
    moments : array_like, shape (N, 3), or (N,) together with ``axis``
        Moment vectors in mu_B; a zero row is a non-magnetic atom.
    axis : array_like, shape (3,), optional
        Direction along which collinear moments (N,) are laid; only its direction counts.

    Raises
    ------
    InputError
        Scalars without an axis, vectors with one, wrong shape, values that are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase_spinml import get_moments, set_moments
    >>> atoms = bulk("Fe", cubic=True)
    >>> set_moments(atoms, [2.2, -2.2], axis=(0, 0, 1))
    >>> get_moments(atoms)
    array([[ 0. ,  0. ,  2.2],
           [-0. , -0. , -2.2]])
    """
    moments = _finite("moments", moments)
    n = len(atoms)
    if axis is not None:
        if moments.shape != (n,):
            raise InputError(
                f"Expected {n} collinear moments, shape ({n},), to lay along axis, got shape {moments.shape}: "
                f"leave axis out to set moment vectors."
            )
        moments = moments[:, None] * _unit("axis", axis)
    elif moments.shape == (n,) and n != 0:
        raise InputError(
            f"Expected moment vectors of shape ({n}, 3), got {n} collinear moments: "
            f"give the direction they point along, set_moments(atoms, moments, axis=(0, 0, 1))."
        )
    if moments.shape != (n, 3):
        raise InputError(f"Expected moment vectors of shape ({n}, 3), got shape {moments.shape}.")
    atoms.set_array(MOMENTS, None)
    atoms.set_array(MOMENTS, moments, float, (3,))


def get_moments(atoms):
    """Moment vectors of ``atoms``: a copy, shape (N, 3), in mu_B.

    Raises
    ------
    InputError
        The frame has no moments, collinear ones, or values that are not finite.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import get_moments
    >>> get_moments(Atoms("Fe2", magmoms=[[0, 0, 2.2], [2.2, 0, 0]])).tolist()
    [[0.0, 0.0, 2.2], [2.2, 0.0, 0.0]]
    """
    moments = atoms.arrays.get(MOMENTS)
    if moments is None:
        raise InputError(
            f"Expected a frame with moments in arrays['{MOMENTS}'], got {atoms.get_chemical_formula()} without: "
            f"set them with set_moments(atoms, moments), zero rows for non-magnetic atoms."
        )
    if moments.ndim == 1:
        raise InputError(
            f"Expected moment vectors of shape ({len(atoms)}, 3), got collinear moments of shape {moments.shape}: "
            f"lift them with set_moments(atoms, atoms.get_initial_magnetic_moments(), axis=(0, 0, 1))."
        )
    if moments.shape != (len(atoms), 3):
        raise InputError(f"Expected moment vectors of shape ({len(atoms)}, 3), got shape {moments.shape}.")
    return _finite("moments", moments)


def get_spins(atoms):
    """Spin directions of ``atoms``, the moments over their length, (N, 3): unit rows, zero rows for non-magnetic atoms.

    Raises
    ------
    InputError
        As :func:`get_moments`.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import get_spins
    >>> get_spins(Atoms("FeO", magmoms=[[0, 3, 4], [0, 0, 0]])).tolist()
    [[0.0, 0.6, 0.8], [0.0, 0.0, 0.0]]
    """
    return unit_rows(get_moments(atoms))


def magnetic_mask(atoms):
    """Which atoms carry a moment: boolean, shape (N,). Raises InputError as :func:`get_moments`."""
    return get_moments(atoms).any(axis=1)


def unit_rows(vectors):
    """Rows of ``vectors`` (n, 3) divided by their length; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def transverse(vectors, spins):
    """Rows of ``vectors`` (n, 3) less their part along unit rows ``spins`` (n, 3); zero where the spin is zero."""
    along = np.einsum("ia,ia->i", vectors, spins)
    return np.where(spins.any(axis=1)[:, None], vectors - along[:, None] * spins, 0.0)


def rotate(atoms, rotation, positions=False):
    """Turn the moments of ``atoms``, in place, and on request the crystal with them.

    Moments are axial vectors: m -> det(Q) Q m, so an inversion leaves them alone. (:meth:`ase.Atoms.rotate` never
    touches them.)

    Parameters
    ----------
    atoms : ase.Atoms
        Frame with moments.
    rotation : array_like, shape (3, 3)
        Orthogonal matrix Q acting on column vectors, proper or improper.
    positions : bool
        Also turn positions, cell and momenta, v -> Q v, about the origin, and a stored column ``exchange_fields`` like
        the moments. Without, that column is removed: it belonged to the old directions.

    Raises
    ------
    InputError
        The matrix is not orthogonal (to 1e-8), or as :func:`get_moments`.
    """
    rotation = _finite("rotation", rotation)
    if rotation.shape != (3, 3) or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-8:
        raise InputError("Expected rotation to be an orthogonal matrix of shape (3, 3), got one with Q Q^T != 1.")
    axial = round(np.linalg.det(rotation)) * rotation
    set_moments(atoms, get_moments(atoms) @ axial.T)
    if not positions:
        atoms.set_array(FIELDS, None)
        return
    atoms.set_cell(atoms.cell.array @ rotation.T)
    atoms.positions = atoms.positions @ rotation.T
    if atoms.has("momenta"):
        atoms.arrays["momenta"] = atoms.arrays["momenta"] @ rotation.T
    if atoms.has(FIELDS):
        atoms.arrays[FIELDS] = atoms.arrays[FIELDS] @ axial.T


def random_directions(n, rng=None):
    """``n`` directions drawn evenly from the sphere: unit rows, shape (n, 3). ``rng``: seed or numpy Generator."""
    return unit_rows(np.random.default_rng(rng).normal(size=(n, 3)))


def cone(axes, angle, rng=None, filled=False):
    """Random directions at a given angle from given axes.

    Parameters
    ----------
    axes : array_like, shape (n, 3)
        One axis per direction, of any length; a zero row (non-magnetic atom) gives a zero row.
    angle : float
        Angle between axis and direction, 0 to 180 degrees.
    rng : seed or numpy Generator
        Source of the azimuths.
    filled : bool
        Draw evenly from the whole cap within ``angle`` of the axis, not only from its rim.

    Returns
    -------
    ndarray, shape (n, 3)
        Unit rows.

    Raises
    ------
    InputError
        Axes of the wrong shape or not finite, angle outside 0 to 180.
    """
    axes = _finite("axes", axes)
    if axes.ndim != 2 or axes.shape[1] != 3:
        raise InputError(f"Expected axes of shape (n, 3), one per direction, got shape {axes.shape}.")
    polar = _radians(angle)
    rng = np.random.default_rng(rng)
    azimuth = rng.uniform(0.0, 2 * np.pi, len(axes))
    if filled:  # sin^2(polar/2) is the fraction of the sphere inside
        polar = 2 * np.arcsin(np.sqrt(rng.uniform(size=len(axes))) * np.sin(polar / 2))
    return _on_cone(unit_rows(axes), polar, azimuth)


def spin_spiral(atoms, q, axis=(0, 0, 1), angle=90.0):
    """Directions of a spin spiral, e_i = sin(angle) [cos(phi_i) u + sin(phi_i) v] + cos(angle) n, phi_i = 2 pi q.s_i.

    Parameters
    ----------
    atoms : ase.Atoms
        Frame of N atoms; s_i are its fractional coordinates. Its moments are neither read nor set.
    q : array_like, shape (3,)
        Wave vector in units of the reciprocal cell of ``atoms``; whole numbers along periodic directions.
    axis : array_like, shape (3,)
        Normal n of the plane in which the spins turn, counter-clockwise seen from its tip. u is the Cartesian axis
        least along n (the first of equals) made perpendicular to it, and v = n x u; for the default axis u, v = x, y.
    angle : float
        Opening angle in degrees: 90 a flat spiral, less a conical one.

    Returns
    -------
    ndarray, shape (N, 3)
        Unit rows.

    Raises
    ------
    InputError
        A wave vector that does not fit the periodic cell or needs a cell vector that is zero; zero axis; angle outside
        0 to 180.
    """
    q = _finite("q", q)
    if q.shape != (3,):
        raise InputError(f"Expected q of shape (3,), got shape {q.shape}.")
    if np.any(atoms.pbc & (np.abs(q - np.round(q)) > 1e-8)):
        raise InputError(
            f"Expected whole numbers for q along periodic directions, got {q.tolist()}: "
            f"repeat the cell until the spiral fits into it."
        )
    if np.any((q != 0) & ~atoms.cell.any(axis=1)):
        raise InputError(f"Expected q zero where the cell vector is zero, got {q.tolist()}: give the frame a cell.")
    phase = 2 * np.pi * atoms.get_scaled_positions(wrap=False) @ q
    normals = np.tile(_unit("axis", axis), (len(atoms), 1))
    return _on_cone(normals, _radians(angle), phase)


def store_results(atoms):
    """Copy of ``atoms`` that carries its results in a way files can keep.

    ASE's single-point calculator and writers know only ASE's own property names. Those go into a
    :class:`~ase.calculators.singlepoint.SinglePointCalculator`; everything else the calculator implements goes into
    columns (per atom) or ``info`` (per frame): ``exchange_fields`` becomes a column, which extended XYZ keeps.
    (``.traj`` drops such columns but keeps the moments.) Properties that the calculator cannot give for this frame, as
    the stress of a cluster, are left out.

    Raises
    ------
    InputError
        The frame has no calculator.
    """
    if atoms.calc is None:
        raise InputError("Expected a frame with a calculator, got one without: set atoms.calc before storing results.")
    frame = atoms.copy()
    standard = {}
    for name in atoms.calc.implemented_properties:
        try:
            value = atoms.calc.get_property(name, atoms)
        except PropertyNotImplementedError:
            continue
        if name in all_properties:
            standard[name] = value
        elif np.shape(value)[:1] == (len(atoms),):
            frame.set_array(name, None)
            frame.set_array(name, value)
        else:
            frame.info[name] = value
    frame.calc = SinglePointCalculator(frame, **standard)
    return frame


def _on_cone(axes, polar, azimuth):
    """Rows at ``polar`` from and ``azimuth`` about unit rows ``axes`` (n, 3), in radians; zero axis, zero row."""
    helper = np.eye(3)[np.argmin(np.abs(axes), axis=1)]
    u = unit_rows(transverse(helper, axes))
    v = np.cross(axes, u)
    around = np.cos(azimuth)[:, None] * u + np.sin(azimuth)[:, None] * v
    polar = np.broadcast_to(polar, len(axes))[:, None]
    return np.sin(polar) * around + np.cos(polar) * axes


def _radians(angle):
    if not 0.0 <= angle <= 180.0:
        raise InputError(f"Expected an angle between 0 and 180 degrees, got {angle}.")
    return np.radians(angle)


def _finite(name, values):
    values = np.array(values, dtype=float)
    if not np.isfinite(values).all():
        raise InputError(f"Expected {name} to be finite numbers, got NaN or infinity.")
    return values


def _unit(name, vector):
    vector = _finite(name, vector)
    if vector.shape != (3,) or not vector.any():
        raise InputError(f"Expected {name} to be one non-zero vector of shape (3,), got {vector.tolist()}.")
    return vector / np.linalg.norm(vector)
