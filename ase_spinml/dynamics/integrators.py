"""Explicit steps of the Landau-Lifshitz-Gilbert equation, two field evaluations each, and the table of all integrators.

They share the arguments and results of :func:`ase_spinml.dynamics.llg.midpoint_step` and its table of symbols. All are
of second order, keep the lengths, and converge to the Stratonovich solution with thermal noise. None keeps the energy
at zero damping exactly: how fast it drifts is what tells them apart (docs, Dynamics).

| name | evaluations | energy at zero damping |
|---|---|---|
| midpoint | until converged | bounded, no drift |
| sib | 2 | slow drift, of third order in the time step; thermal averages biased in first order |
| depondt | 2 | slow drift, of third order in the time step; thermal averages biased, the sign depends on the damping |
| heun | 2 | fast drift; thermal averages biased in first order; for checks |
"""

from ase_spinml.dynamics.llg import array_namespace, cross, dot, inverse_root, midpoint_step, rate, unit
from ase_spinml.units import GYROMAGNETIC_RATIO


def sib_step(spins, field_function, timestep, damping=0.0, noise=None, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
    """Semi-implicit step: implicit in the spin that turns, explicit in the field that turns it.

    A predictor with the field at e, a corrector with the field at the mean of e and the prediction; both are Cayley
    rotations, so every length is exact and stiffness of a moment in its own field does no harm. A Cayley rotation
    turns a little less than it is told to, also by noise: thermal averages are biased in the first order of the time
    step, towards lower temperatures.

    Source: Mentink, Tretyakov, Fasolino, Katsnelson and Rasing, J. Phys.: Condens. Matter 22, 176001 (2010), method
    SIB, with the field taken on the unit sphere.

    Parameters and results as in :func:`depondt_step`.
    """
    args = (timestep, damping, noise, gyromagnetic_ratio)
    predicted = cayley(spins, _turn(spins, field_function(spins), *args))
    middle = 0.5 * (spins + predicted)
    field = field_function(unit(middle))
    return unit(cayley(spins, _turn(middle, field, *args))), field


def depondt_step(spins, field_function, timestep, damping=0.0, noise=None, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
    """Rotation about the field, predicted and corrected.

    A predictor rotates every spin about its effective field at e, the corrector about the mean of the effective fields
    at e and at the prediction. Precession in a constant field is exact.

    Source: Depondt and Mertens, J. Phys.: Condens. Matter 21, 336005 (2009).

    Parameters
    ----------
    spins : (N, 3)
        Unit rows, NumPy or torch.
    field_function : callable
        Maps unit rows (N, 3) to fields H (N, 3) in eV/mu_B.
    timestep : float
        In ASE time units.
    damping : float
        Gilbert's alpha.
    noise : (N, 3), optional
        Thermal field of this step, added to H in both stages.
    gyromagnetic_ratio : float
        gamma in 1/(eV ASE time) per mu_B.

    Returns
    -------
    turned, field : (N, 3), (N, 3)
        Unit rows after the step; the field H, without noise, that acted over it (eV/mu_B).
    """
    args = (timestep, damping, noise, gyromagnetic_ratio)
    first = field_function(spins)
    turn = _turn(spins, first, *args)
    predicted = rotation(spins, turn)
    second = field_function(predicted)
    turn += _turn(predicted, second, *args)
    turn *= 0.5
    return unit(rotation(spins, turn)), 0.5 * (first + second)


def heun_step(spins, field_function, timestep, damping=0.0, noise=None, gyromagnetic_ratio=GYROMAGNETIC_RATIO):
    """Heun's step, projected back to unit length. Without damping its energy grows: for checks and comparisons.

    Parameters and results as in :func:`depondt_step`.
    """
    total = _adder(noise)
    first = field_function(spins)
    slope = rate(spins, total(first), damping, gyromagnetic_ratio)
    predicted = unit(spins + timestep * slope)
    second = field_function(predicted)
    slope = 0.5 * (slope + rate(predicted, total(second), damping, gyromagnetic_ratio))
    return unit(spins + timestep * slope), 0.5 * (first + second)


SMALLEST = 1e-30
"""Added to squared angles: too small to count, also in single precision, and above zero."""
INTEGRATORS = {"midpoint": midpoint_step, "sib": sib_step, "depondt": depondt_step, "heun": heun_step}
"""Step functions by the name that ``integrator=`` takes."""


def cayley(spins, turn):
    """Solve e' - e = w x (e + e')/2: rotation about w by 2 arctan(|w|/2). Rows (N, 3)."""
    half = 0.5 * turn
    return _about(spins, half, dot(half, half))


def rotation(spins, turn):
    """Rotate the rows of ``spins`` (N, 3) about the rows of ``turn`` (N, 3) by their length, in radians."""
    square = dot(turn, turn) + SMALLEST  # the quotient of tangent and angle is one where there is nothing to turn
    inverse = inverse_root(square)
    tangent = array_namespace(spins).tan(0.5 * square * inverse)
    return _about(spins, (tangent * inverse)[:, None] * turn, tangent * tangent)


def _about(spins, half, square):
    """e + 2 (h x e + h x (h x e))/(1 + h^2) for rows h, which are overwritten, and their squares (N,)."""
    scale = 2.0 / (1.0 + square)
    out = cross(half, spins)
    half *= dot(half, spins)[:, None]
    out += half
    out *= scale[:, None]
    scale *= square
    out += (1.0 - scale)[:, None] * spins
    return out


def _turn(spins, field, timestep, damping, noise, gyromagnetic_ratio):
    """w of de/dt = w x e for a step, in radians."""
    field = _adder(noise)(field)
    scale = gyromagnetic_ratio * timestep / (1.0 + damping**2)
    turn = scale * field
    if damping != 0.0:
        across = cross(spins, field)
        across *= abs(scale) * damping
        turn += across
    return turn


def _adder(noise):
    return (lambda field: field) if noise is None else (lambda field: field + noise)
