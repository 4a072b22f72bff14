"""The terms of ``atoms.calc``: one calculator, or the calculators that an ASE sum is made of.

What a term may say beside ASE's properties: ``conservative = False`` if its exchange fields are no derivatives of its
energy; ``time``, settable and in ASE time units, if it depends on the time.

A term of directions alone leaves the part of its fields along the moments open, and ``exchange_fields`` is transverse.
The explicit spin steps are the better for the part that belongs to the polynomial in the spins (sum_j J_ij e_j for
bilinear exchange), which makes a moment precess about the field of its neighbours instead of chasing it; such a term
gives ``results["effective_fields"]`` beside. The midpoint step does not see the difference.
"""


def terms_of(calc):
    """Calculators that ``calc`` adds up, with their weights: a list of (calculator, float)."""
    if not hasattr(calc, "mixer"):
        return [(calc, 1.0)]
    parts = zip(calc.mixer.calcs, calc.mixer.weights, strict=True)
    return [(term, weight * inner) for part, weight in parts for term, inner in terms_of(part)]


def is_conservative(calc):
    """Whether all terms say, or leave unsaid, that their fields are derivatives of their energy."""
    return all(getattr(term, "conservative", True) for term, _ in terms_of(calc))


def effective_fields(atoms):
    """Fields (N, 3) in eV/mu_B, added up here: ASE's sum would ask every term for all properties it knows by now."""
    return sum(weight * effective_field(term, atoms) for term, weight in terms_of(atoms.calc))


def effective_field(term, atoms):
    """Fields (N, 3) of one term in eV/mu_B, with a part along the moments if the term has one."""
    fields = term.get_property("exchange_fields", atoms)
    return term.results.get("effective_fields", fields)


def potential_energy(atoms):
    """Energy in eV, or nan where the calculator gives none (a model of torques alone)."""
    if "energy" not in atoms.calc.implemented_properties:
        return float("nan")
    return float(atoms.calc.get_property("energy", atoms))


def forget(calc):
    """Make ``calc`` start afresh: no results of earlier frames, no neighbour lists kept from them."""
    inner = calc.mixer.calcs if hasattr(calc, "mixer") else [calc.calc] if hasattr(calc, "calc") else []
    for part in inner:
        forget(part)
    if hasattr(calc, "reset"):
        calc.reset()
    else:
        calc.atoms, calc.results = None, {}


def set_time(atoms, time):
    """Set the clocks of all time-dependent terms, in ASE time units; the energy this adds at fixed atoms, in eV."""
    clocks = [(term, weight) for term, weight in terms_of(atoms.calc) if hasattr(term, "time")]
    moving = [(term, weight) for term, weight in clocks if term.time != time]
    if not moving:
        return 0.0
    work = 0.0
    for term, weight in moving:
        before = term.get_property("energy", atoms)
        term.time = time
        work += weight * (term.get_property("energy", atoms) - before)
    _drop_sums(atoms.calc)
    return float(work)


def set_clocks(calc, time):
    """Set the clocks of all time-dependent terms, in ASE time units, and nothing else."""
    for term, _ in terms_of(calc):
        if hasattr(term, "time"):
            term.time = time
    _drop_sums(calc)


def _drop_sums(calc):
    if hasattr(calc, "mixer"):
        calc.atoms, calc.results = None, {}
        for part in calc.mixer.calcs:
            _drop_sums(part)
