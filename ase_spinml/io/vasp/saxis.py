"""The frame of SAXIS: every moment that VASP reads or writes in a noncollinear run is given in it."""

import numpy as np

from ase_spinml.errors import InputError


def saxis_rotation(saxis):
    """Matrix R (3, 3) with m_cart = R m_saxis: R = Rz(alpha) Ry(beta), so that R z lies along SAXIS.

    alpha = atan2(s_y, s_x), beta = atan2(sqrt(s_x^2 + s_y^2), s_z), as the VASP manual gives them.

    Raises
    ------
    InputError
        Not three finite numbers, or all zero.
    """
    saxis = np.array(saxis, dtype=float)
    if saxis.shape != (3,) or not np.isfinite(saxis).all() or not saxis.any():
        raise InputError(f"Expected SAXIS to be three numbers, not all zero, got {saxis.tolist()}.")
    x, y, z = saxis
    across = np.hypot(x, y)
    along_z = across < 1e-10 * abs(z)  # the azimuth of rounding errors is none
    alpha, beta = 0.0 if along_z else np.arctan2(y, x), np.arctan2(0.0 if along_z else across, z)
    (ca, sa), (cb, sb) = (np.cos(alpha), np.sin(alpha)), (np.cos(beta), np.sin(beta))
    return np.array([[cb * ca, -sa, sb * ca], [cb * sa, ca, sb * sa], [-sb, 0.0, cb]])


def nearest_rotation(matrix, tolerance=1e-6):
    """Rotation nearest to a printed matrix (3, 3); None where an entry is further from it than ``tolerance``."""
    u, _, v = np.linalg.svd(matrix)
    rotation = u @ v
    return rotation if np.abs(rotation - matrix).max() < tolerance and np.linalg.det(rotation) > 0 else None
