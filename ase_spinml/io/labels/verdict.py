"""From the numbers of a label check to a verdict and one sentence."""

import numpy as np

EXPLAINED, POORLY = 0.5, 0.8
"""Shares of the fields that a model explains: below the first they are no exchange fields, below the second suspect."""

UNRELATED = 0.5
"""Torques whose balance is above this share of that of shuffled fields."""

UNSURE = 0.15
"""Relative error beyond which a factor does not tell."""

SIGMAS = 3.0
"""Standard errors that make a difference count."""

BETWEEN = 1.0
"""Standard errors that the weight of the lengths must stay away from one half, the middle between the two units."""

UNDECIDED = 0.33
"""Standard error of that weight beyond which it tells nothing."""

FLOOR = 2e-3
"""Contrasts of torques between the units below this may come from moments rounded to three decimals."""

MATTERS = 0.1
"""Moments so near 1 mu_B, as a logarithm, that the unit makes no difference worth a warning."""

CLOSE = 0.2
"""Causes whose factors differ less from what was found, as a logarithm, are named together."""

CAUSES = {
    1.0: "the sizes agree",
    2.0: "the fields are twice too large (a factor 2 applied twice, or energies per pair counted once)",
    0.5: "the fields are half of what they should be (VASP's penalty modes 1 and 2 need 2 lambda MW_perp)",
}


def verdict(found, slope, balance, tolerance):
    """Whether labels are fine, and why.

    Parameters
    ----------
    found : dict
        As :func:`ase_spinml.io.labels.check.check_labels` returns.
    slope : Slope; balance : TorqueBalance
    tolerance : float

    Returns
    -------
    ok : True, False or None
    message : str
    """
    number = f"factor {found['factor']:.2f} +- {found['factor_error']:.2f} from {found['n_frames']} frames"
    explained = found["field_explained"]
    unrelated = not balance.per_moment < UNRELATED * balance.shuffled
    share = f"an exchange model explains {max(100 * explained, 0):.0f} % of the fields of frames left out"
    if explained < EXPLAINED and np.isfinite(balance.per_moment) and not unrelated:
        return None, f"Cannot tell: {share}; give more frames or a larger cutoff ({number})."
    if explained < EXPLAINED or (explained < POORLY and unrelated):
        return False, (
            f"Fields do not belong to their atoms: {share} and their torques do not balance; the order of atoms "
            f"probably differs between moments and fields, or frames are mixed up ({number})."
        )
    unit = _unit(balance)
    if unit == "per direction":
        return False, (
            f"Fields look like eV per unit direction (m H, not H): their torques balance better as they stand "
            f"({balance.per_direction:.2g}) than times the moments ({balance.per_moment:.2g}); divide them by the "
            f"moment lengths{_remaining(found['factor_per_direction'], tolerance)} ({number})."
        )
    if slope.slope_error * SIGMAS < tolerance * 2 and abs(slope.slope) < 0.25:
        return False, (
            f"Energies do not follow the fields (correlation {found['correlation']:.2f}): energies of other frames, or "
            f"a factor beyond 4 ({number})."
        )
    away = abs(found["factor"] - 1) - tolerance
    if found["factor_error"] > UNSURE * abs(found["factor"]) and away < SIGMAS * found["factor_error"]:
        return None, (
            f"Cannot tell: {number}; the energies vary by {1e3 * found['energy_spread']:.2g} meV/atom and scatter by "
            f"{1e3 * found['energy_scatter']:.2g} about what the fields imply; give more frames, or frames that differ "
            f"more in their spins."
        )
    if away <= 0 and unit is None and _other_unit_passes(found, tolerance):
        return None, (
            f"Cannot tell the unit: {number} if the fields are in eV/mu_B, but {found['factor_per_direction']:.2f} if "
            f"they are in eV per unit direction, and moments of {found['mean_moment']:.2f} mu_B hardly differ."
        )
    if away <= 0:
        return True, f"Fields and energies agree: {number}."
    return False, f"Fields and energies disagree, {number}: {_cause(found, unit)}."


def _unit(balance):
    """The unit that balances the torques, "per moment" or "per direction", or None when they cannot tell."""
    if not (balance.contrast > FLOOR and balance.weight_error < UNDECIDED):
        return None
    if abs(balance.weight - 0.5) < BETWEEN * balance.weight_error:
        return None
    return "per moment" if balance.weight > 0.5 else "per direction"


def _other_unit_passes(found, tolerance):
    """Whether fields per unit direction would pass as well, and it would matter."""
    other = found["factor_per_direction"]
    return abs(other - 1) <= tolerance and abs(np.log(other / found["factor"])) > MATTERS


def _remaining(factor, tolerance):
    return "" if abs(factor - 1) <= tolerance else f", and a factor {factor:.2f} remains"


def _cause(found, unit):
    """What may explain the factor, nearest first."""
    factor = found["factor"]
    candidates = [(abs(np.log(abs(factor) / size)), text) for size, text in CAUSES.items()]
    if unit is None:
        text = f"the fields are in eV per unit direction (mean moment {found['mean_moment']:.2f} mu_B)"
        candidates.append((abs(np.log(abs(found["factor_per_direction"]))), text))
    candidates.sort()
    best = [text for distance, text in candidates if distance < candidates[0][0] + CLOSE]
    if candidates[0][0] > CLOSE + 0.1:
        best = ["no usual mistake has this size"]
    sign = "the sign of the fields is flipped, and " if factor < 0 else ""
    return sign + " or ".join(best)
