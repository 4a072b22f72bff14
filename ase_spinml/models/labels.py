"""Labels of training frames: read, checked, and compared with predictions."""

from dataclasses import dataclass

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.moments import FIELDS, get_moments, transverse, unit_rows

SIGMAS = ("sigma_energy", "sigma_forces", "sigma_stress", "sigma_field")


@dataclass
class Labels:
    """What is known about one frame; None where a label is absent.

    Attributes
    ----------
    moments : (N, 3), mu_B
    energy : float, eV
    forces : (N, 3), eV/A
    stress : (6,), eV/A^3, Voigt order xx yy zz yz xz xy
    fields : (N, 3), eV/mu_B
        NaN rows are atoms without a label.
    sigmas : dict
        Per-frame values of sigma_energy, sigma_forces, sigma_stress, sigma_field from ``atoms.info``.
    """

    moments: np.ndarray
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    fields: np.ndarray | None
    sigmas: dict

    @property
    def lengths(self):
        """Moment lengths (N,), mu_B."""
        return np.linalg.norm(self.moments, axis=1)

    @property
    def labelled_spins(self):
        """(N,) bool: magnetic atoms whose field is known."""
        if self.fields is None:
            return np.zeros(len(self.moments), dtype=bool)
        return (self.lengths > 0) & np.isfinite(self.fields).all(axis=1)

    def only(self, atoms):
        """Forget the fields of atoms outside the mask (N,) of bool; returns self."""
        if self.fields is not None:
            self.fields = np.where(np.asarray(atoms)[:, None], self.fields, np.nan)
        return self

    @property
    def empty(self):
        """True when nothing is known about the frame."""
        return self.energy is None and self.forces is None and self.stress is None and not self.labelled_spins.any()


def read_labels(atoms, where="the frame"):
    """Labels of one frame: energy, forces and stress of ``atoms.calc``, fields of ``arrays["exchange_fields"]``.

    Parameters
    ----------
    atoms : ase.Atoms
    where : str
        How error messages call the frame.

    Raises
    ------
    InputError
        For wrong shapes and for NaN anywhere but in whole rows of exchange_fields.
    """
    results = getattr(atoms.calc, "results", {}) if atoms.calc is not None else {}
    n = len(atoms)
    energy = results.get("free_energy", results.get("energy"))
    stress = _finite(results.get("stress"), None, "stress", where)
    if stress is not None:
        stress = _voigt(stress, where)
        if atoms.cell.rank < 3:
            raise InputError(f"{where} has a stress but no cell with a volume; remove the label or give it a cell")
    return Labels(
        moments=get_moments(atoms),
        energy=None if energy is None else float(_finite(energy, (), "energy", where)),
        forces=_finite(results.get("forces"), (n, 3), "forces", where),
        stress=stress,
        fields=_fields(atoms, results, where),
        sigmas=_sigmas(atoms.info, where),
    )


def _finite(value, shape, name, where):
    if value is None:
        return None
    value = np.array(value, dtype=float)
    if shape is not None and value.shape != shape:
        raise InputError(f"{name} of {where} must have shape {shape}, got {value.shape}")
    if not np.isfinite(value).all():
        raise InputError(f"{name} of {where} contain NaN or infinity; remove the label if it is not known")
    return value


def _voigt(stress, where):
    if stress.shape == (3, 3):
        stress = np.array([stress[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
    if stress.shape != (6,):
        raise InputError(f"stress of {where} must have shape (6,) or (3, 3), got {stress.shape}")
    return stress


def _fields(atoms, results, where):
    fields = atoms.arrays.get(FIELDS, results.get(FIELDS))
    if fields is None:
        return None
    fields = np.array(fields, dtype=float)
    if fields.shape != (len(atoms), 3):
        raise InputError(f"exchange_fields of {where} must have shape ({len(atoms)}, 3), got {fields.shape}")
    missing = np.isnan(fields)
    if np.isinf(fields).any() or (missing.any(axis=1) != missing.all(axis=1)).any():
        raise InputError(
            f"exchange_fields of {where} must be finite, or NaN in the whole row of an atom without a label"
        )
    return fields


def _sigmas(info, where):
    sigmas = {}
    for name in SIGMAS:
        if name in info:
            value = float(info[name])
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"info[{name!r}] of {where} must be a positive number, got {info[name]!r}")
            sigmas[name] = value
    return sigmas


def compare(frames_labels, results):
    """Root-mean-square errors of predictions, for whatever is labelled.

    Parameters
    ----------
    frames_labels : list of Labels
    results : list of dict
        As returned by a model's ``predict``.

    Returns
    -------
    dict
        n_frames, n_atoms, and where labelled: energy_rmse (eV/atom), energy_rmse_about_mean (eV/atom, a constant
        offset removed), forces_rmse (eV/A), stress_rmse (eV/A^3), field_rmse (eV/mu_B) and turning_rmse (eV, error of
        m_i H_i); vector quantities per Cartesian component, fields over labelled magnetic atoms and without their part
        along the moments, which labels of some programs have.
    """
    errors = {name: [] for name in ("energy", "forces", "stress", "field", "turning")}
    for labels, result in zip(frames_labels, results, strict=True):
        if labels.energy is not None and "energy" in result:
            errors["energy"].append([(result["energy"] - labels.energy) / len(labels.moments)])
        if labels.forces is not None and "forces" in result:
            errors["forces"].append((result["forces"] - labels.forces).ravel())
        if labels.stress is not None and "stress" in result:
            errors["stress"].append(result["stress"] - labels.stress)
        known = labels.labelled_spins
        if known.any():
            error = transverse(result["exchange_fields"] - labels.fields, unit_rows(labels.moments))[known]
            errors["field"].append(error.ravel())
            errors["turning"].append((labels.lengths[known, None] * error).ravel())
    out = {"n_frames": len(frames_labels), "n_atoms": sum(len(x.moments) for x in frames_labels)}
    for name, parts in errors.items():
        if parts:
            out[f"{name}_rmse"] = float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))
    if errors["energy"]:
        out["energy_rmse_about_mean"] = float(np.std(np.concatenate(errors["energy"])))
    return out
