"""Job folders for VASP: INCAR with moments and constraint, POSCAR, KPOINTS, and the order of the atoms. No POTCAR."""

import os
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.vasp import write_vasp as write_poscar

from ase_spinml.errors import InputError
from ase_spinml.io.vasp import incar as incar_format
from ase_spinml.io.vasp.constraint import FACTORS
from ase_spinml.io.vasp.folder import SORT_FILE, find_order, order_text, read_order, read_poscar
from ase_spinml.io.vasp.saxis import saxis_rotation
from ase_spinml.moments import get_moments, set_moments

DEFAULTS = {"LORBIT": 11}
"""Tags written unless the user gives them: LORBIT has the PAW moments printed."""


def write_vasp(folder, frames, *, overwrite=False, **options):
    """Write job folders for VASP.

    Parameters
    ----------
    folder : str or Path
        The job folder of one frame; for a list of frames, ``0000``, ``0001``, ... are made in it.
    frames : ase.Atoms or list of ase.Atoms
        With moment vectors; a zero row starts without moment and is not constrained.
    constraint : None, 1, 2 or 4
        I_CONSTRAINED_M. None: no constraint.
    lam : float
        LAMBDA in eV/mu_B^2 (modes 1, 2) or eV/mu_B (mode 4).
    rwigs : dict of str -> float, or sequence of float
        RWIGS in A, by element or in the order of POSCAR's species.
    targets : array_like, shape (N, 3), optional
        M_CONSTR in mu_B, Cartesian, in the order of the frame; the moments by default. Modes 1 and 4 use the direction
        only. A zero row is not constrained.
    saxis : array_like, shape (3,), optional
        SAXIS; MAGMOM and M_CONSTR are turned into its frame.
    spin_orbit : bool
        LSORBIT.
    kpoints : sequence of 3 int, optional
        Gamma-centred mesh for KPOINTS; without, no such file is written (give KSPACING in ``incar``).
    incar : dict, optional
        The user's own tags. A tag that is written anyway is refused.
    overwrite : bool
        Replace files of an earlier call.

    Returns
    -------
    list of Path
        The job folders. Each holds INCAR, POSCAR, KPOINTS on request, ``ase-sort.dat`` (which atom went where, in ASE's
        own form, so that reading undoes the order) and ``POTCAR.spec``: the species, in whose order the user
        concatenates POTCAR.

    Raises
    ------
    InputError
        No moment vectors, a constraint without lambda or radii, tags given twice, files that exist.
    """
    single = isinstance(frames, Atoms)
    frames = [frames] if single else list(frames)
    if not frames:
        raise InputError("Expected at least one frame to write, got none.")
    if options.get("targets") is not None and not single:
        raise InputError("Expected targets with a single frame, got a list of frames: write them one by one.")
    folders = [Path(folder)] if single else [Path(folder) / f"{k:04d}" for k in range(len(frames))]
    jobs = [_job(frame, **options) for frame in frames]
    for target, files in zip(folders, jobs, strict=True):
        present = [name for name in files if (target / name).exists()]
        if present and not overwrite:
            raise InputError(f"Expected no {', '.join(present)} in {target}, got files: write elsewhere, or overwrite.")
    for target, files in zip(folders, jobs, strict=True):
        _write(target, files)
    return folders


def _job(
    atoms,
    constraint=None,
    lam=None,
    rwigs=None,
    targets=None,
    saxis=None,
    spin_orbit=False,
    kpoints=None,
    incar=None,
):
    """Texts of the files of one job by their name."""
    moments = get_moments(atoms)
    sort = find_order(atoms)
    species = list(dict.fromkeys(np.array(atoms.get_chemical_symbols())[sort].tolist()))
    frame = np.eye(3) if saxis is None else saxis_rotation(saxis)
    tags = {"LNONCOLLINEAR": True}
    if spin_orbit:
        tags["LSORBIT"] = True
    if saxis is not None:
        tags["SAXIS"] = np.array(saxis, dtype=float)
    tags["MAGMOM"] = (moments @ frame)[sort]
    tags |= _constraint_tags(atoms, moments, constraint, lam, rwigs, targets, species, frame, sort)
    tags = _merged(tags, incar)
    files = {
        "INCAR": "".join(incar_format.format_tag(name, content) for name, content in tags.items()),
        "POSCAR": _poscar(atoms[sort]),
        SORT_FILE: order_text(sort),
        "POTCAR.spec": "".join(f"{symbol}\n" for symbol in species),
    }
    if kpoints is not None:
        files["KPOINTS"] = _kpoints(kpoints)
    return files


def _constraint_tags(atoms, moments, mode, lam, rwigs, targets, species, frame, sort):
    if mode is None:
        given = [name for name, x in (("lam", lam), ("targets", targets)) if x is not None]
        if given:
            raise InputError(f"Expected constraint=1, 2 or 4 with {' and '.join(given)}, got none: give the mode.")
        return {} if rwigs is None else {"RWIGS": _radii(rwigs, species)}
    if isinstance(mode, bool) or mode not in FACTORS:
        raise InputError(f"Expected constraint to be None, 1, 2 or 4, got {mode!r}.")
    if lam is None or not np.isfinite(lam) or lam <= 0:
        raise InputError(f"Expected lam > 0 for a constrained run, got {lam!r}: 10 eV/mu_B^2 is a common start.")
    if rwigs is None:
        raise InputError(
            "Expected rwigs for a constrained run, got none: with VASP's default of -1 the spheres are empty and "
            "nothing is constrained; take the radii that POTCAR names, or half the shortest bond."
        )
    targets = moments if targets is None else np.array(targets, dtype=float)
    if targets.shape != (len(atoms), 3) or not np.isfinite(targets).all() or not targets.any():
        raise InputError(f"Expected targets of shape ({len(atoms)}, 3), finite and not all zero, got {targets.shape}.")
    return {
        "I_CONSTRAINED_M": int(mode),
        "LAMBDA": float(lam),
        "M_CONSTR": (targets @ frame)[sort],
        "RWIGS": _radii(rwigs, species),
    }


def _radii(rwigs, species):
    if isinstance(rwigs, dict):
        missing = [symbol for symbol in species if symbol not in rwigs]
        if missing:
            raise InputError(f"Expected rwigs of {', '.join(species)}, got none of {', '.join(missing)}.")
        rwigs = [rwigs[symbol] for symbol in species]
    radii = np.atleast_1d(np.array(rwigs, dtype=float))
    if radii.shape != (len(species),) or not (np.isfinite(radii) & (radii > 0)).all():
        raise InputError(f"Expected {len(species)} positive radii for {', '.join(species)}, got {radii.tolist()}.")
    return radii


def _merged(tags, own):
    """The user's tags first, then ours; InputError where both have one."""
    own = {str(name).upper(): content for name, content in (own or {}).items()}
    both = sorted(set(own) & set(tags))
    if both:
        raise InputError(
            f"Expected tags in incar other than those written for the moments, got {', '.join(both)}: "
            f"leave them out, the arguments of write_vasp set them."
        )
    if own.get("ISPIN", 2) != 2:
        raise InputError(f"Expected no ISPIN beside LNONCOLLINEAR, got {own['ISPIN']}: leave it out.")
    return own | {name: content for name, content in DEFAULTS.items() if name not in own} | tags


def _poscar(atoms):
    """Text of POSCAR, Cartesian with 16 decimals, as ASE writes it."""
    if atoms.cell.rank < 3:
        raise InputError("Expected a cell with a volume, got none: VASP computes periodic crystals.")
    bare = Atoms(atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=True)
    bare.set_constraint(atoms.constraints)
    with tempfile.TemporaryDirectory() as folder:
        write_poscar(Path(folder) / "POSCAR", bare)
        return (Path(folder) / "POSCAR").read_text()


def _kpoints(mesh):
    mesh = np.array(mesh)
    if mesh.shape != (3,) or not np.issubdtype(mesh.dtype, np.integer) or (mesh < 1).any():
        raise InputError(f"Expected kpoints to be three whole numbers, got {mesh.tolist()}.")
    return f"Gamma-centred mesh\n0\nGamma\n{mesh[0]} {mesh[1]} {mesh[2]}\n0 0 0\n"


def _write(folder, files):
    """Every file under a temporary name first, so that none is ever half there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        scratch = folder / f".{name}.part"
        scratch.write_text(text)
        os.replace(scratch, folder / name)


def read_vasp_input(folder):
    """The frame that a job folder was written for: POSCAR and the moments of INCAR, in the original order.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    ase.Atoms
        With ``initial_magmoms`` from MAGMOM and ``target_moments`` from M_CONSTR, Cartesian, in mu_B, where given.

    Raises
    ------
    InputError
        No POSCAR, or numbers of a wrong count in INCAR.
    """
    folder = Path(folder)
    atoms = read_poscar(folder / "POSCAR")
    tags = incar_format.read_incar(folder / "INCAR")
    saxis = incar_format.values(tags, "SAXIS")
    frame = np.eye(3) if saxis is None else saxis_rotation(saxis)
    found = {name: incar_format.values(tags, name) for name in ("MAGMOM", "M_CONSTR")}
    for name, numbers in found.items():
        if numbers is not None and len(numbers) != 3 * len(atoms):
            raise InputError(f"Expected {3 * len(atoms)} numbers for {name} in INCAR, got {len(numbers)}.")
    if found["MAGMOM"] is not None:
        set_moments(atoms, found["MAGMOM"].reshape(-1, 3) @ frame.T)
    if found["M_CONSTR"] is not None:
        atoms.set_array("target_moments", found["M_CONSTR"].reshape(-1, 3) @ frame.T)
    order = read_order(folder, len(atoms))
    return atoms if order is None else atoms[order]
