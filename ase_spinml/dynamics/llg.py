"""The Landau-Lifshitz-Gilbert equation and its spherical midpoint step: arrays in, arrays out, NumPy or torch.

Unit spins e_i (N, 3) with fields H_i = -dE/dm_i in eV/mu_B, which already hold the 1/m_i of every moment, move as

    de/dt = -gamma/(1 + alpha^2) [e x H + alpha e x (e x H)],

Gilbert's equation de/dt = -gamma e x H + alpha e x de/dt solved for de/dt. At alpha = 0 a moment precesses in the
sense of -m x H; alpha > 0 lowers the energy. For a negative gamma (a convention of some lattice models) alpha acts
with the sign of gamma, so that damping still lowers the energy.

| symbol | argument | unit |
|---|---|---|
| e | ``spins`` | unit rows |
| H | ``field`` | eV/mu_B |
| gamma | ``gyromagnetic_ratio`` | 1/(eV ASE time) per mu_B |
| alpha | ``damping`` | 1 |
| dt | ``timestep`` | ASE time |

Any consistent units do: only gamma H dt enters.
"""

import math

import numpy as np

from ase_spinml.dynamics.solver import MidpointMemory, array_namespace, transverse
from ase_spinml.errors import InputError
from ase_spinml.units import GYROMAGNETIC_RATIO

MAX_EVALUATIONS = 100
"""Field evaluations after which a step is given up."""
INNER_ITERATIONS = 50
INNER_ACCURACY = 0.02
"""How far the step is solved for the learned field: relative to the last residual."""
LARGEST_GAIN = 0.05
"""The last iteration, whose result is not evaluated again, is trusted to gain a factor of twenty at most."""


def cross(a, b):
    """Cross product of the rows of two (N, 3) arrays."""
    xp = array_namespace(a)
    if xp is not np and (a.is_cuda or a.requires_grad or b.requires_grad):
        return xp.linalg.cross(a, b)
    out = xp.empty_like(a)
    (ax, ay, az), (bx, by, bz), (x, y, z) = (_components(rows) for rows in (a, b, out))
    for p, q, r, s, component in ((ay, bz, az, by, x), (az, bx, ax, bz, y), (ax, by, ay, bx, z)):
        xp.multiply(p, q, out=component)
        if xp is np:
            component -= r * s
        else:
            component.addcmul_(r, s, value=-1)
    return out


def dot(a, b):
    """Scalar products (N,) of the rows of two (N, 3) arrays."""
    xp = array_namespace(a)
    if xp is np:
        return np.einsum("ia,ia->i", a, b)
    (ax, ay, az), (bx, by, bz) = _components(a), _components(b)
    return (ax * bx).addcmul(ay, by).addcmul(az, bz)


def unit(vectors):
    """Rows of ``vectors`` (N, 3) divided by their length."""
    return vectors * inverse_root(dot(vectors, vectors))[:, None]


def inverse_root(squares):
    """1/sqrt of an array."""
    xp = array_namespace(squares)
    return 1.0 / np.sqrt(squares) if xp is np else xp.rsqrt(squares)


def rate(spins, field, damping=0.0, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
    """de/dt (N, 3), in 1/(ASE time), of the equation at the top of this module; arguments as in its table."""
    precession = cross(spins, field)
    scale = gyromagnetic_ratio / (1.0 + damping**2)
    return -scale * precession - abs(scale) * damping * cross(spins, precession)


def gilbert_from_landau_lifshitz(damping, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
    """Gilbert's alpha and gamma that move spins as Landau and Lifshitz's equation does with the given ones.

    Landau and Lifshitz's form de/dt = -g e x H - |g| a e x (e x H) is Gilbert's with alpha = a and
    gamma = g (1 + a^2); the precession of the one is slowed down by damping, that of the other is not.

    Returns
    -------
    damping, gyromagnetic_ratio : float, float
    """
    return damping, gyromagnetic_ratio * (1.0 + damping**2)


def midpoint_rotation(spins, turn, damping=0.0):
    """Solve e' - e = -n x (w + alpha n x w) with n = (e + e')/|e + e'| for a given w, in closed form.

    With a = w/2 the equation reads c n + n x a = f, where f = e + alpha a and c = n.(e + alpha a). Hence, with s = a.f,
    n = (c^2 f + c a x f + s a)/(c (c^2 + a^2)), and |n| = 1 gives c^4 + (a^2 - f^2) c^2 - s^2 = 0.

    Parameters
    ----------
    spins : (N, 3)
        Unit rows e.
    turn : (N, 3)
        w = gamma H dt/(1 + alpha^2), in radians. Only its part perpendicular to n acts.
    damping : float
        alpha.

    Returns
    -------
    middle, turned : (N, 3), (N, 3)
        Unit rows n and e'; e' is e mirrored through n, so its length is that of e to rounding.
    """
    xp = array_namespace(spins)
    half = 0.5 * turn
    start = spins + damping * half if damping else spins
    along = dot(half, start)
    excess = dot(start, start) - dot(half, half)
    root = xp.sqrt(excess * excess + 4.0 * along * along)
    square = xp.clip(0.5 * (excess + root), 1e-20, None)
    middle = cross(half, start)
    middle *= xp.sqrt(square)[:, None]
    middle += square[:, None] * start
    middle += along[:, None] * half
    middle = unit(middle)
    turned = (2.0 * dot(spins, middle))[:, None] * middle
    turned -= spins
    return middle, turned


def midpoint_step(
    spins,
    field_function,
    timestep,
    damping=0.0,
    noise=None,
    gyromagnetic_ratio=GYROMAGNETIC_RATIO,
    memory=None,
    tolerance=1e-12,
):
    """One step of the spherical midpoint method: e' - e = dt de/dt, taken at n = (e + e')/|e + e'|.

    Second order, time reversible, symplectic at zero damping (McLachlan, Modin and Verdier, Phys. Rev. E 89, 061301
    (2014)); keeps every length, and every total that the field keeps (the total moment, for an isotropic exchange).
    With thermal noise it converges to the Stratonovich solution.

    A field that is known as a function of the spins is followed without evaluations (:func:`midpoint_rotation`), and
    what ``memory`` has learned from earlier fields is such a function
    (:class:`ase_spinml.dynamics.solver.LocalField`); every evaluation corrects it. That changes the number of field
    evaluations, not the solution.

    Parameters
    ----------
    spins : (N, 3)
        Unit rows, NumPy or torch.
    field_function : callable
        Maps unit rows (N, 3) to fields H (N, 3) in eV/mu_B; the part along each spin is free.
    timestep : float
        In ASE time units.
    damping : float
        Gilbert's alpha.
    noise : (N, 3), optional
        Thermal field of this step, added to H (:func:`ase_spinml.dynamics.thermostats.thermal_field`).
    gyromagnetic_ratio : float
        gamma in 1/(eV ASE time) per mu_B.
    memory : MidpointMemory or PlainMemory, optional
        What earlier steps have taught; updated in place. Without it the step starts from scratch.
    tolerance : float
        Bound on the residual |e' - e - dt de/dt(n)| of every spin; that of the last iteration is estimated from its
        gain on the one before.

    Returns
    -------
    turned, field : (N, 3), (N, 3)
        Unit rows e'; the transverse field H, without noise, at n (eV/mu_B).

    Raises
    ------
    InputError
        No convergence, or fields that are not finite numbers.
    """
    memory = MidpointMemory() if memory is None else memory
    scale = gyromagnetic_ratio * timestep
    alpha = damping if gyromagnetic_ratio > 0 else -damping

    def rotate(field):
        total = field if noise is None else field + noise
        return midpoint_rotation(spins, scale / (1.0 + alpha**2) * total, alpha)

    model = memory.local_field(spins)
    middle, residual, rate = spins, memory.expected_error, 1.0
    for evaluation in range(MAX_EVALUATIONS):
        middle, _, used = _follow(model, rotate, middle, max(INNER_ACCURACY * residual, 0.1 * tolerance))
        field = field_function(middle)
        previous, residual = residual, abs(scale) * float(abs(transverse(field - used, middle)).max())
        if not math.isfinite(residual):
            raise InputError(
                "Expected finite exchange fields from the calculator, got NaN or infinity: check the model."
            )
        if evaluation == 0:
            memory.expected_error = min(residual, 1e-3)
        else:
            rate = max(residual / previous, LARGEST_GAIN)
        model.learn(middle, field)
        if residual * min(rate, 1.0) <= tolerance:
            field = transverse(field, middle)
            memory.store(middle, field)
            return unit(_follow(model, rotate, middle, 0.02 * tolerance)[1]), field
    raise InputError(
        f"Expected the midpoint step to converge to {tolerance:g}, got a residual of {residual:.1e} after "
        f"{MAX_EVALUATIONS} field evaluations: use a smaller timestep."
    )


def _follow(model, rotate, middle, accuracy):
    """Solve the step for a field that is known as a function: n, e' and the field used, from the guess ``middle``."""
    for _ in range(INNER_ITERATIONS):
        used, last = model(middle), middle
        middle, turned = rotate(used)
        if not model.varies or float(abs(middle - last).max()) <= accuracy:
            break
    return middle, turned, used


def _components(rows):
    """Columns of an (N, 3) array."""
    return rows.T if type(rows) is np.ndarray else rows.unbind(1)
