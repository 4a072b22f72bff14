"""Baselines: what a model adds to."""

import numpy as np

from ase_spinml.moments import FIELDS, MOMENTS


def baseline_results(calculator, atoms):
    """Energy, forces, stress and exchange fields of an ASE calculator for one frame, as far as it has them.

    A calculator without exchange fields is an ordinary one: it is shown the frame without moments, as many refuse
    moment vectors, and its fields are zero.

    Returns
    -------
    dict
        energy (eV) and, where implemented, forces (N, 3) eV/A and stress (6,) eV/A^3; exchange_fields (N, 3) eV/mu_B.
    """
    frame = atoms.copy()
    magnetic = FIELDS in calculator.implemented_properties
    if not magnetic:
        frame.set_array(MOMENTS, None)
    names = [name for name in ("forces", "stress", FIELDS) if name in calculator.implemented_properties]
    if not frame.pbc.all() and "stress" in names:
        names.remove("stress")
    energy_name = "free_energy" if "free_energy" in calculator.implemented_properties else "energy"
    results = {"energy": float(calculator.get_property(energy_name, frame))}
    results.update({name: np.array(calculator.get_property(name, frame)) for name in names})
    results.setdefault(FIELDS, np.zeros((len(frame), 3)))
    return results


def subtract(labels, results):
    """Labels minus a baseline, in place; labels that the baseline does not have are dropped."""
    if labels.energy is not None:
        labels.energy -= results["energy"]
    for name in ("forces", "stress"):
        if getattr(labels, name) is not None:
            setattr(labels, name, getattr(labels, name) - results[name] if name in results else None)
    if labels.fields is not None:
        labels.fields = labels.fields - results[FIELDS]
    return labels
