"""Runs of VASP as frames with energies, forces, stress, moments and exchange fields.

Which file gives what: structure, energies, forces and stress come from vasprun.xml, else vaspout.h5, else OUTCAR, else
(energies of a single step, with POSCAR) OSZICAR; the moments of a constrained run, its penalty and its fields from
OSZICAR; the moments of other runs from OUTCAR or vaspout.h5. What several files tell is compared.
"""

import warnings

from ase_spinml.errors import InputError
from ase_spinml.io.vasp import incar
from ase_spinml.io.vasp.checks import Checks, VaspWarning
from ase_spinml.io.vasp.folder import find_files, read_poscar, tags_of
from ase_spinml.io.vasp.frame import FrameBuilder
from ase_spinml.io.vasp.lines import Damaged
from ase_spinml.io.vasp.oszicar import half_unit, read_oszicar
from ase_spinml.io.vasp.outcar import read_outcar
from ase_spinml.io.vasp.steps import Run, Step
from ase_spinml.io.vasp.vaspout import read_vaspout
from ase_spinml.io.vasp.vasprun import read_vasprun

READERS = {"vasprun": read_vasprun, "vaspout": read_vaspout, "outcar": read_outcar, "oszicar": read_oszicar}
MOMENT_SOURCES = ("MW_int", "M_int", "PAW")


def read_vasp(path=".", **options):
    """Frames of a VASP run, one for every ionic step.

    Parameters
    ----------
    path : str or Path
        Run folder, or one of its output files (OUTCAR, OSZICAR, vasprun.xml, vaspout.h5, each also packed as ``.gz``;
        the name must contain that word). Beside a single file INCAR and POSCAR count, other output files do not.
    axis : array_like, shape (3,), optional
        Direction along which the moments of a collinear run are laid. Without, they stay numbers in
        ``arrays["collinear_magmoms"]``.
    constraint : None, False, 1, 2 or 4
        Mode of the constraint where no file tells ``I_CONSTRAINED_M``; False leaves the constraint alone: energies with
        their penalty, no fields.
    moments : "MW_int", "M_int" or "PAW", optional
        Which moments to take, by default MW_int of a constrained run and PAW of others.
    damaged : "refuse" or "keep"
        What to do with a file that is cut off or altered: raise, or warn and return the complete steps before.
    max_angle : float
        Degrees between target and moment beyond which to warn.
    max_penalty : float
        Penalty E_p in eV/atom beyond which to warn.
    original_order : bool
        Undo the sorting recorded in ``ase-sort.dat`` of the folder (ASE's calculator and
        :func:`~ase_spinml.io.write_vasp` write it).

    Returns
    -------
    list of ase.Atoms
        ``energy`` (zero smearing) and ``free_energy`` in eV without the penalty, ``forces`` in eV/A, ``stress`` in
        eV/A^3 with ASE's sign in a single-point calculator.

        ``arrays``: ``initial_magmoms`` (N, 3) in mu_B, Cartesian; ``exchange_fields`` (N, 3) in eV/mu_B, NaN rows where
        unknown, with the mask ``field_known``; ``target_moments`` (M_CONSTR); ``constraint_fields``, -dE/dm as printed,
        with its part along the moment.

        ``info``: ``moments_source``, ``converged``, ``step``, ``constraint_mode``, ``lambda``, ``penalty_energy``,
        ``energy_with_penalty``, ``free_energy_with_penalty``, the same ``_without_penalty``, ``spin_orbit``,
        ``vasp_version``, ``vasp_files``.

    Raises
    ------
    InputError
        The run cannot be read without a guess; the message says what is missing.

    Warns
    -----
    VaspWarning
        Large angles or penalties, zero MW_int, electrons not converged, no moments of atoms.
    """
    return list(iread_vasp(path, **options))


def iread_vasp(
    path=".",
    *,
    axis=None,
    constraint=None,
    moments=None,
    damaged="refuse",
    max_angle=5.0,
    max_penalty=1e-3,
    original_order=True,
):
    """As :func:`read_vasp`, one frame after another, in the memory of one ionic step.

    Warnings of the kind :class:`~ase_spinml.io.VaspWarning` come after the last frame.
    """
    if damaged not in ("refuse", "keep"):
        raise InputError(f"Expected damaged='refuse' or 'keep', got {damaged!r}.")
    if moments not in (None, *MOMENT_SOURCES):
        raise InputError(f"Expected moments to be one of {', '.join(MOMENT_SOURCES)}, got {moments!r}.")
    return _frames(path, axis, constraint, moments, damaged, Checks(max_angle, max_penalty), original_order)


def _frames(path, axis, constraint, moments, damaged, checks, original_order):
    files = find_files(path)
    builder, count = None, 0
    try:
        for steps in _together(files, damaged):
            if builder is None:
                builder = FrameBuilder(files, steps, axis, constraint, moments, checks, original_order)
            frame = builder.frame(steps)
            count += 1
            yield frame
    except Damaged as error:
        if damaged == "refuse" or not error.keepable or count == 0:
            raise
        message = f"{path}: only the first {count} ionic steps are read. {error}"
        warnings.warn(message, VaspWarning, stacklevel=3)
    checks.tell(path)


def _together(files, damaged):
    """The same ionic step of every file, as a dict by kind, until all of them end.

    Raises
    ------
    Damaged
        A file is damaged, or one ends before another.
    """
    readers = {kind: READERS[kind](file) for kind, file in files.found.items()}
    if list(readers) == ["oszicar"]:
        readers = _oszicar_alone(files, readers["oszicar"])
    number = 0
    while True:
        steps = {kind: next(reader, None) for kind, reader in readers.items()}
        missing = [kind for kind, step in steps.items() if step is None]
        if len(missing) == len(steps):
            return
        number += 1
        if missing:
            longer, shorter = (files.found[k].name for k in (next(k for k in steps if k not in missing), missing[0]))
            raise Damaged(
                f"Expected the same number of ionic steps in {longer} and {shorter}, got step {number} in {longer} "
                f"only: put the files of one finished run together, or read with damaged='keep' to get the steps "
                f"that all files have."
            )
        yield steps


def _oszicar_alone(files, reader):
    """POSCAR in place of a file with structures; good for a single ionic step."""
    if files.poscar is None:
        raise InputError(
            f"Expected OUTCAR, vasprun.xml or POSCAR beside {files.found['oszicar'].name}, got none of them: "
            f"OSZICAR alone has no structure, add one of them."
        )
    atoms = read_poscar(files.poscar)
    run = Run(file=files.poscar.name, symbols=atoms.get_chemical_symbols())
    steps = list(_at_most(reader, 2))
    if len(steps) > 1:
        raise InputError(
            f"Expected a single ionic step in {files.found['oszicar'].name} beside POSCAR alone, got several: "
            f"add OUTCAR or vasprun.xml, which have the positions of the later steps."
        )
    _check_alone(steps[0], files)
    tags = tags_of(files)
    noncollinear = incar.logical(tags, "LNONCOLLINEAR") or incar.logical(tags, "LSORBIT")
    if noncollinear or steps[0].smooth is not None:
        run.spin, run.spin_orbit = "noncollinear", incar.logical(tags, "LSORBIT")
        saxis = incar.values(tags, "SAXIS")
        run.set_saxis((0, 0, 1) if saxis is None else saxis)
    else:
        run.spin = "collinear" if incar.value(tags, "ISPIN") == 2 else "none"
    run.settings = {}
    found = steps[0]
    step = Step(1, run, atoms.cell.array, atoms.positions, found.free_energy, found.energy)
    return {"poscar": iter([step]), "oszicar": iter(steps)}


def _check_alone(found, files):
    """Damaged unless F is the last electronic energy and E0 - F its share of the entropy; nothing else checks them.

    ``d E`` of a static run is F - E, so E0 = F - d E/(n + 2) for some order n of the smearing; that of the first step
    of a relaxation is F.
    """
    unit = half_unit(found.free_energy)
    consistent = found.electronic is None or abs(found.electronic - found.free_energy) < 1.01 * unit
    if found.change is not None and abs(found.change - found.free_energy) > 1e-3 * abs(found.free_energy):
        wanted = [found.free_energy - found.change / (n + 2) for n in range(11)]
        consistent &= min(abs(found.energy - e) for e in wanted) < 3 * unit
    if not consistent:
        raise Damaged(
            f"Expected energies F and E0 of {files.found['oszicar'].name} that fit its last electronic step and d E, "
            f"got F = {found.free_energy:.8g}, E0 = {found.energy:.8g}: add OUTCAR or vasprun.xml to the folder."
        )


def _at_most(reader, count):
    for _, step in zip(range(count), reader, strict=False):
        yield step
