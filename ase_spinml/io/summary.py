"""What a set of frames holds, and what looks wrong with it, in plain lines."""

from collections import Counter

import numpy as np

from ase_spinml.io.canonical import COLLINEAR, contents
from ase_spinml.io.exchange.table import exchange_sums, parts
from ase_spinml.moments import MOMENTS, transverse, unit_rows

HUGE_MOMENT = 12.0
"""mu_B; no free atom has more than 11."""

OUTLIER = 10.0
"""Energies per atom further from the median than this many times the usual deviation are reported."""


def describe(frames):
    """Lines about frames: atoms, labels with their ranges, suspicious frames.

    Parameters
    ----------
    frames : list of ase.Atoms
        In canonical form.

    Returns
    -------
    list of str
    """
    found = [_contents(atoms) for atoms in frames]
    formulas = Counter(atoms.get_chemical_formula() for atoms in frames).most_common()
    listed = ", ".join(f"{count} x {formula}" for formula, count in formulas[:5])
    species = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    return [
        f"frames: {len(frames)} ({listed}{', ...' if len(formulas) > 5 else ''}), species: {' '.join(species)}",
        *_ranges(frames, found),
        *[f"suspicious: {line}" for line in _suspicions(frames, found)],
    ]


def describe_exchange(atoms, table):
    """Lines about a crystal and its exchange table."""
    isotropic, dmi, symmetric = parts(table.J)
    sums = exchange_sums(table, len(atoms))
    distance = np.linalg.norm(atoms.positions[table.j] + table.S @ atoms.cell.array - atoms.positions[table.i], axis=1)
    strongest = np.argmax(np.abs(isotropic))
    return [
        f"crystal: {atoms.get_chemical_formula()}, {len(table.i)} couplings listed from both ends, E = -1/2 sum e.J e",
        f"distance: {distance.min():.3f} to {distance.max():.3f} A",
        f"J: {1e3 * isotropic.min():.4f} to {1e3 * isotropic.max():.4f} meV, "
        f"strongest {1e3 * isotropic[strongest]:.4f} at {distance[strongest]:.3f} A",
        f"sum of J per atom: {1e3 * sums.min():.2f} to {1e3 * sums.max():.2f} meV",
        f"largest DMI {1e3 * np.linalg.norm(dmi, axis=1).max():.4f} meV, largest symmetric anisotropic part "
        f"{1e3 * np.abs(symmetric).max():.4f} meV",
    ]


def _contents(atoms):
    """Contents of a frame; collinear moments, which are not vectors, are left to their own line."""
    if np.ndim(atoms.arrays.get(MOMENTS)) == 1:
        atoms = atoms.copy()
        atoms.set_array(MOMENTS, None)
    return contents(atoms)


def _ranges(frames, found):
    n = np.array([len(atoms) for atoms in frames])
    values = {
        "energy (eV/atom)": [None if x.energy is None else [x.energy / k] for x, k in zip(found, n, strict=True)],
        "|force| (eV/A)": [None if x.forces is None else np.linalg.norm(x.forces, axis=1) for x in found],
        "stress (eV/A^3)": [x.stress for x in found],
        "|moment| (mu_B)": [None if x.moments is None else np.linalg.norm(x.moments, axis=1) for x in found],
        "|field| (eV/mu_B)": [None if x.fields is None else _known(np.linalg.norm(x.fields, axis=1)) for x in found],
    }
    for name, parts_ in values.items():
        present = [np.asarray(part) for part in parts_ if part is not None and len(part)]
        if not present:
            yield f"{name}: none"
            continue
        joined = np.concatenate(present)
        yield (
            f"{name}: {len(present)} of {len(frames)} frames, {joined.min():.6g} to {joined.max():.6g}, "
            f"mean {joined.mean():.6g}, spread {joined.std():.3g}"
        )
    yield from _field_details(frames, found)


def _field_details(frames, found):
    collinear = sum(COLLINEAR in atoms.arrays or np.ndim(atoms.arrays.get(MOMENTS)) == 1 for atoms in frames)
    if collinear:
        yield f"collinear moments: {collinear} frames, one number per atom: lift them with an axis"
    along, whole, unknown = 0.0, 0.0, 0
    for x in found:
        if x.fields is not None and x.moments is not None:
            magnetic = x.moments.any(axis=1)
            known = np.isfinite(x.fields).all(axis=1)
            unknown += int((magnetic & ~known).sum())
            fields = x.fields[magnetic & known]
            rest = transverse(fields, unit_rows(x.moments[magnetic & known]))
            whole += (fields**2).sum()
            along += ((fields - rest) ** 2).sum()
    if whole > 0:
        yield f"part of the fields along the moments: {100 * np.sqrt(along / whole):.2f} %"
    if unknown:
        yield f"unknown fields: {unknown} magnetic atoms (NaN)"


def _suspicions(frames, found):
    yield from _missing(found)
    yield from _outliers(frames, found)
    lengths = [None if x.moments is None else np.linalg.norm(x.moments, axis=1) for x in found]
    checks = {
        "all moments zero": [length is not None and not length.any() for length in lengths],
        f"a moment above {HUGE_MOMENT:g} mu_B": [x is not None and x.max() > HUGE_MOMENT for x in lengths],
        "fields parallel to the moments (only their transverse part turns spins)": [_parallel(x) for x in found],
        "fields exactly zero (was a constraint active?)": [_all_zero(x) for x in found],
        "atoms closer than 0.5 A": [_coincident(atoms) for atoms in frames],
    }
    for text, flags in checks.items():
        if any(flags):
            yield f"{text}: {_listed(flags)}"
    first, flags = {}, []
    for index, (atoms, x) in enumerate(zip(frames, found, strict=True)):
        moments = b"" if x.moments is None else np.round(x.moments, 6).tobytes()
        key = (atoms.numbers.tobytes(), np.round(atoms.positions, 6).tobytes(), atoms.cell.array.tobytes(), moments)
        flags.append(first.setdefault(key, index) != index)
    if any(flags):
        yield f"duplicates of earlier frames: {_listed(flags)}"


def _missing(found):
    for name in ("energy", "forces", "moments", "fields"):
        flags = [getattr(x, name) is None for x in found]
        if any(flags) and not all(flags):
            yield f"no {name} in some frames only: {_listed(flags)}"


def _outliers(frames, found):
    """Energies per atom far from those of the same composition."""
    flags = [False] * len(frames)
    groups = {}
    for index, (atoms, x) in enumerate(zip(frames, found, strict=True)):
        if x.energy is not None:
            fractions = tuple(sorted((symbol, count / len(atoms)) for symbol, count in Counter(atoms.symbols).items()))
            groups.setdefault(fractions, []).append((index, x.energy / len(atoms)))
    for group in groups.values():
        energies = np.array([energy for _, energy in group])
        deviation = np.abs(energies - np.median(energies))
        limit = OUTLIER * 1.4826 * np.median(deviation)
        for (index, _), value in zip(group, deviation, strict=True):
            flags[index] = len(group) > 4 and limit > 0 and value > limit
    if any(flags):
        yield f"energy per atom far from the others of the composition: {_listed(flags)}"


def _parallel(x):
    if x.fields is None or x.moments is None:
        return False
    chosen = x.moments.any(axis=1) & np.isfinite(x.fields).all(axis=1)
    fields = x.fields[chosen]
    rest = transverse(fields, unit_rows(x.moments[chosen]))
    return bool(np.linalg.norm(fields) > 1e-6 and np.linalg.norm(rest) < 1e-3 * np.linalg.norm(fields))


def _all_zero(x):
    return x.fields is not None and x.moments is not None and bool(x.moments.any()) and not x.fields.any()


def _coincident(atoms):
    """Whether two atoms of a frame that is not too large to look at are closer than 0.5 A."""
    if len(atoms) > 300:
        return False
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    return bool((distances + 10 * np.eye(len(atoms)) < 0.5).any())


def _known(values):
    return values[np.isfinite(values)]


def _listed(flags):
    indices = np.flatnonzero(flags)
    shown = ", ".join(str(index) for index in indices[:8])
    return f"{len(indices)} frames ({shown}{', ...' if len(indices) > 8 else ''})"
