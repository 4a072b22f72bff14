"""Frames from recipes: every spin state times every displacement times every strain."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import FIELDS, get_moments, magnetic_mask, set_moments
from ase_spinml.sampling.lattice import displace, strain
from ase_spinml.sampling.spins import spin_directions


def sample(reference, spins, displacements=None, strains=None, rng=None):
    """All combinations of recipes as frames, each with chance numbers of its own.

    Parameters
    ----------
    reference : ase.Atoms
        Ideal structure with (N, 3) moments in mu_B: lengths for all states, and the order that cones, single spins and
        thermal states start from.
    spins : list of dict
        Recipes of :mod:`ase_spinml.sampling.spins`.
    displacements, strains : list of dict or None, optional
        Recipes of :mod:`ase_spinml.sampling.lattice`; None in a list is the reference as it is.
    rng : seed or numpy Generator
        Gives every frame its seed.

    Returns
    -------
    list of ase.Atoms
        With moments. ``info["config_type"]`` names the kinds, such as "cone+rattle+shear"; ``info["sample"]`` holds
        recipes and seed, from which :func:`make_frame` makes the frame again.

    Raises
    ------
    InputError
        Empty lists, unknown recipes, a reference without moments.
    """
    rng = np.random.default_rng(rng)
    displacements = [None] if displacements is None else list(displacements)
    strains = [None] if strains is None else list(strains)
    for name, recipes in (("spins", spins), ("displacements", displacements), ("strains", strains)):
        if not isinstance(recipes, (list, tuple)) or not len(recipes):
            raise InputError(f"Expected {name} to be a list of recipes, got {recipes!r}: such as random_spins(10).")
    entries = [
        {"spins": state, "displacement": displacement, "strain": deformation}
        for state in spins
        for displacement in displacements
        for deformation in strains
    ]
    seeds = rng.integers(2**31, size=len(entries)).tolist()
    return [make_frame(reference, {**entry, "seed": seed}) for entry, seed in zip(entries, seeds, strict=True)]


def make_frame(reference, entry):
    """The frame of one entry: a dict with recipes ``spins``, ``displacement``, ``strain`` (or None) and a ``seed``.

    Strain first, then displacement, so that its size does not depend on the strain. Results and fields of the reference
    are left behind.
    """
    if not magnetic_mask(reference).any():
        raise InputError("Expected a reference with a moment above zero, got none: set them with set_moments.")
    rng = np.random.default_rng(entry["seed"])
    lengths = np.linalg.norm(get_moments(reference), axis=1, keepdims=True)
    directions = spin_directions(reference, entry["spins"], rng)
    frame = reference.copy()
    frame.calc = None
    frame.set_array(FIELDS, None)
    set_moments(frame, lengths * directions)
    if entry["strain"] is not None:
        strain(frame, entry["strain"])
    if entry["displacement"] is not None:
        displace(frame, entry["displacement"], rng)
    kinds = [entry[name]["kind"] for name in ("spins", "displacement", "strain") if entry[name] is not None]
    frame.info = {"config_type": "+".join(kinds), "sample": entry}
    return frame
