"""Extended XYZ that OVITO shows as arrows.

OVITO makes arrows of a few vector columns that it knows by name, and a plain property of any other, the canonical
``initial_magmoms`` included. Known are ``forces`` and, of what suits a moment, ``dipoles``, which becomes the property
Dipole Orientation with arrows centred on the atoms. (The column ``spin`` is a single number to OVITO.)
"""

from ase.io.extxyz import write_xyz

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import as_frames, contents, make_frame
from ase_spinml.io.text import whole_file

MOMENTS, FORCES = "dipoles", "forces"


def write_ovito(path, frames):
    """Write frames as extended XYZ with the moments in the column ``dipoles`` and forces in ``forces``.

    Parameters
    ----------
    path : str or Path
        The file appears when all frames are written.
    frames : ase.Atoms or list of ase.Atoms
        In canonical form, all with moments. ``info`` is kept, and the energy with it.

    Raises
    ------
    InputError
        A frame without moment vectors.
    """
    frames = as_frames(frames)
    with whole_file(path) as file:
        for k, atoms in enumerate(frames):
            write_xyz(file, [_for_ovito(atoms, k)], write_results=False)


def _for_ovito(atoms, k):
    found = contents(atoms)
    if found.moments is None:
        raise InputError(f"Expected frames with moments to draw in OVITO, got frame {k} without: set them first.")
    frame = make_frame(atoms.numbers, atoms.positions, atoms.cell, atoms.pbc, info=atoms.info)
    frame.set_array(MOMENTS, found.moments)
    if found.forces is not None:
        frame.set_array(FORCES, found.forces)
    if found.energy is not None:
        frame.info["energy"] = found.energy
    return frame
