"""Extended XYZ with the names of MACE and of the spin version of GPUMD.

=======  ==============  ==================  ==========================================================
dialect  moments         -dE/dm              energy, forces, stress
=======  ==============  ==================  ==========================================================
mace     ``REF_magmom``  ``REF_magforces``   ``REF_energy``, ``REF_forces``, ``REF_stress`` (ASE's sign)
gpumd    ``spin``        ``mforce``          ``energy``, ``force``, ``virial`` = -stress x volume, eV
=======  ==============  ==================  ==========================================================

Both hold moments in mu_B and the field with the sign of a force, in eV/mu_B. Numbers have eight decimals.
"""

import numpy as np
from ase.io.extxyz import write_xyz

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import (
    as_frames,
    contents,
    known_fields,
    make_frame,
    stress_from_virial,
    virial_from_stress,
)
from ase_spinml.io.codes.extxyz import collect
from ase_spinml.io.text import whole_file

MACE = {
    "moments": ("REF_magmom", "magmom"),
    "fields": ("REF_magforces", "magforces"),
    "energy": ("REF_energy",),
    "forces": ("REF_forces",),
    "stress": ("REF_stress",),
}
"""Names of the MACE dialect: the first is written, all are read."""

GPUMD = {
    "moments": ("spin", "spins", "moment", "moments"),
    "fields": ("mforce", "mforces", "force_mag", "forces_mag", "magnetic_force", "magnetic_forces"),
    "energy": ("energy",),
    "forces": ("force", "forces"),
    "virial": ("virial",),
}
"""Names of the spin version of GPUMD, see :data:`MACE`; upper and lower case are the same."""

DIALECTS = {"mace": MACE, "gpumd": GPUMD}


def read_dialect(path, dialect, axis=None, damaged="refuse"):
    """Frames of an extended XYZ file with the names of another program, see :data:`MACE` and :data:`GPUMD`.

    Parameters
    ----------
    path, axis, damaged
        As in :func:`ase_spinml.io.codes.extxyz.read_frames`.
    dialect : {"mace", "gpumd"}

    Raises
    ------
    InputError
        As :func:`ase_spinml.io.codes.extxyz.read_frames`; two names of the same quantity side by side.
    """
    names = DIALECTS[dialect]
    finite = {name for quantity in set(names) - {"fields"} for name in names[quantity]}
    return collect(path, damaged, lambda atoms: _from_dialect(atoms, names, axis), finite, names["fields"])


def write_dialect(path, frames, dialect):
    """Write frames with the names of another program.

    Parameters
    ----------
    path, frames
        As in :func:`ase_spinml.io.codes.extxyz.write_frames`.
    dialect : {"mace", "gpumd"}

    Raises
    ------
    InputError
        A frame with moments given as one number per atom, or whose fields are unknown on some magnetic atoms.
    """
    frames, names = as_frames(frames), DIALECTS[dialect]
    with whole_file(path) as file:
        for atoms in frames:
            write_xyz(file, [_to_dialect(atoms, names, dialect)], write_results=False)


def _from_dialect(atoms, names, axis):
    found = {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc else {})}
    taken, values = [], {}
    for quantity, aliases in names.items():
        present = [key for key in found if key in aliases or key.lower() in aliases]
        if len(present) > 1:
            raise InputError(f"Expected one column of {quantity}, got {' and '.join(present)}: remove all but one.")
        if present:
            taken.append(present[0])
            values[quantity] = np.asarray(found[present[0]], dtype=float)
            if quantity != "fields" and not np.isfinite(values[quantity]).all():
                raise InputError(f"Expected finite numbers in {present[0]}, got NaN or infinity.")
    if "energy" in values:
        values["energy"] = float(values["energy"])
    if "virial" in values:
        values["stress"] = stress_from_virial(np.reshape(values.pop("virial"), 9), atoms.cell.array)
    if "stress" in values:
        stress = values["stress"]
        values["stress"] = stress.reshape(3, 3) if stress.size == 9 else stress
    info = {key: value for key, value in atoms.info.items() if key not in taken}
    return make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, info=info, axis=axis, **values)


def _to_dialect(atoms, names, dialect):
    found = contents(atoms)
    frame = make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, info=atoms.info)
    fields = known_fields(found, f"the {dialect} format")
    for quantity, values in (("forces", found.forces), ("moments", found.moments), ("fields", fields)):
        if values is not None:
            frame.set_array(names[quantity][0], values)
    if found.energy is not None:
        frame.info[names["energy"][0]] = found.energy
    if found.stress is not None:
        if "virial" in names:
            frame.info[names["virial"][0]] = virial_from_stress(found.stress, atoms)
        else:
            frame.info[names["stress"][0]] = found.stress
    return frame
