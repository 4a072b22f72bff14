"""Runs of VASP as frames with energies, forces, stress, moments and exchange fields.

Which file gives what: structure, energies, forces and stress come from vasprun.xml, else vaspout.h5, else OUTCAR, else
(energies of a single step, with POSCAR) OSZICAR; the moments of a constrained run, its penalty and its fields from
OSZICAR; the moments of other runs from OUTCAR or vaspout.h5. What several files tell is compared.
"""

import warnings

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io import incar, vasp_constraint
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.oszicar import read_oszicar
from ase_spinml.io.outcar import read_outcar
from ase_spinml.io.vasp_checks import Checks, VaspWarning
from ase_spinml.io.vasp_compare import compare, compare_runs
from ase_spinml.io.vasp_folder import find_files, read_order, read_poscar, tags_of
from ase_spinml.io.vasp_saxis import saxis_rotation
from ase_spinml.io.vasp_steps import Run, Step
from ase_spinml.io.vasp_text import Damaged
from ase_spinml.io.vaspout import read_vaspout
from ase_spinml.io.vasprun import read_vasprun

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
                builder = _Builder(files, steps, axis, constraint, moments, checks, original_order)
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


def _at_most(reader, count):
    for _, step in zip(range(count), reader, strict=False):
        yield step


class _Builder:
    """Frames of one run: knows its constraint, its SAXIS frame and the order of its atoms."""

    def __init__(self, files, steps, axis, asked, moments, checks, original_order):
        self.files, self.axis, self.wanted, self.checks = files, axis, moments, checks
        self.main = next(kind for kind in ("vasprun", "vaspout", "outcar", "poscar") if kind in steps)
        self.runs = {kind: step.run for kind, step in steps.items() if kind != "oszicar"}
        self.run = self.runs[self.main]
        compare_runs(self.runs)
        tags = tags_of(files)
        settings = {run.file: run.settings for run in self.runs.values()} | ({"INCAR": tags} if tags else {})
        self.n = len(self.run.symbols)
        self.constraint = vasp_constraint.find_constraint(settings, asked, self.n)
        self.rotation = self._rotation(tags)
        self.order = read_order(files.folder, self.n) if original_order else None
        self._check(steps.get("oszicar"))

    def _rotation(self, tags):
        """R of m_cart = R m; from SAXIS where a file gives it, which has more digits than the matrix of OUTCAR."""
        if self.run.spin != "noncollinear":
            return None
        saxis = incar.values(tags, "SAXIS")
        known = [run.rotation for run in self.runs.values() if run.rotation is not None]
        rotation = known[0] if saxis is None else saxis_rotation(saxis)
        for other in known:
            if np.abs(other - rotation).max() > 2e-6:
                raise InputError(
                    "Expected the same SAXIS in all files of the run, got different ones: the files belong to "
                    "different runs, put those of one run into the folder."
                )
        return rotation

    def _check(self, found):
        """Refuse what cannot be read without a guess."""
        if self.axis is not None and self.run.spin != "collinear":
            kind = {"none": "one without spin"}.get(self.run.spin, "a noncollinear one")
            raise InputError(f"Expected a collinear run to lay along axis, got {kind}: leave axis out.")
        if self.constraint.ignored:
            return
        if self.constraint.mode and found is None:
            raise InputError(
                f"Expected OSZICAR of a run with I_CONSTRAINED_M = {self.constraint.mode}, got none: its penalty and "
                f"fields are nowhere else, read the folder with it, or read with constraint=False."
            )
        if self.constraint.mode and self.run.spin != "noncollinear":
            raise InputError(
                f"Expected a noncollinear run where I_CONSTRAINED_M = {self.constraint.mode}, got one of spin "
                f"'{self.run.spin}': read with constraint=False."
            )
        if not self.constraint.mode and found is not None and found.penalty is not None:
            raise InputError(
                "Expected I_CONSTRAINED_M in INCAR or vasprun.xml of a run with a penalty E_p in OSZICAR, got none: "
                "add INCAR, or give the mode, as constraint=4; the factor of the field depends on it."
            )

    def frame(self, steps):
        """Frame of one ionic step."""
        main, found = steps[self.main], steps.get("oszicar")
        compare(steps, self.files)
        penalized = self.constraint.mode > 0
        if penalized:
            self._check_constrained(found)
        moments, source = self._moments(steps)
        info = self._info(steps, source)
        arrays, fields = {}, None
        penalty = 0.0
        if penalized:
            penalty = found.penalty
            fields, arrays = self._fields(found, moments)
            info |= self._penalty_info(main, found)
            self.checks.constrained_step(main.number, self.constraint, found, self.n)
        self.checks.step(main.number, self.run, info.get("converged"), moments is not None)
        frame = make_frame(
            self.run.symbols,
            main.positions,
            main.cell,
            pbc=True,
            moments=moments,
            fields=None if moments is None else fields,
            energy=main.energy - penalty,
            free_energy=main.free_energy - penalty,
            forces=main.forces,
            stress=main.stress,
            info=info,
            axis=self.axis,
        )
        for name, rows in arrays.items():
            frame.set_array(name, rows)
        return frame if self.order is None else _reordered(frame, self.order)

    def _check_constrained(self, found):
        missing = [
            name
            for name, value in (("MW_int", found.smooth), ("lambda*MW_perp", found.fields), ("E_p", found.penalty))
            if value is None
        ]
        if missing:
            raise Damaged(
                f"Expected {', '.join(missing)} of ionic step {found.number} in OSZICAR of a constrained run, got "
                f"none: take the whole file, or read with constraint=False."
            )
        if len(found.smooth) != self.n:
            raise Damaged(f"Expected MW_int of {self.n} atoms in OSZICAR, got {len(found.smooth)}: {_MIXED}.")
        constrained = self.constraint.constrained
        if constrained is not None and sorted(found.fields) != np.flatnonzero(constrained).tolist():
            raise Damaged(
                f"Expected lambda*MW_perp of the {constrained.sum()} atoms with M_CONSTR in step {found.number} of "
                f"OSZICAR, got {len(found.fields)} rows of others: {_MIXED}, or read with damaged='keep'."
            )
        lam = self.constraint.lam
        if lam is not None and abs(found.lam - lam) > 6e-4 * abs(lam):
            raise Damaged(f"Expected lambda = {lam:g} of INCAR in OSZICAR, got {found.lam:g}: {_MIXED}.")

    def _moments(self, steps):
        """Cartesian moments, or numbers of a collinear run, and what they are called."""
        found = steps.get("oszicar")
        tables = {kind: step.moments for kind, step in steps.items() if kind != "oszicar" and step.moments is not None}
        paw = tables.get("vaspout", tables.get("outcar"))
        choices = {"PAW": paw, "MW_int": None, "M_int": None}
        if found is not None and found.smooth is not None:
            choices |= {"MW_int": found.smooth, "M_int": found.sphere}
        source = self.wanted
        if source is None:
            usable = choices["MW_int"] is not None and choices["MW_int"].any()
            source = "MW_int" if usable else "PAW"
        table = choices[source]
        if table is None and self.wanted is not None:
            raise InputError(f"Expected moments {source} in the files of the run, got none: leave moments out.")
        if table is None:
            return None, None
        return (table @ self.rotation.T if table.ndim == 2 else table), source

    def _fields(self, found, moments):
        """Transverse -dE/dm conjugate to ``moments`` (N, 3), and the columns that go with it.

        The torque m x H is that of MW_int whatever the moments: H is scaled with |MW_int|/|m|.
        """
        rows = vasp_constraint.field_rows(self.constraint, found, self.n) @ self.rotation.T
        smooth = found.smooth @ self.rotation.T
        fields = np.full((self.n, 3), np.nan)
        if moments is not None:
            lengths = np.linalg.norm(moments, axis=1, keepdims=True)
            scale = np.linalg.norm(smooth, axis=1, keepdims=True) / np.where(lengths > 0, lengths, np.nan)
            fields = vasp_constraint.transverse_rows(rows * scale, moments)
        arrays = {"field_known": np.isfinite(fields).all(axis=1), "constraint_fields": rows}
        if self.constraint.targets is not None:
            arrays["target_moments"] = self.constraint.targets @ self.rotation.T
        return fields, arrays

    def _info(self, steps, source):
        outcar = steps.get("outcar")
        converged = steps[self.main].converged if outcar is None else outcar.converged
        info = {
            "step": steps[self.main].number,
            "converged": converged,
            "moments_source": source,
            "spin_orbit": self.run.spin_orbit if self.run.spin == "noncollinear" else None,
            "vasp_version": next((run.version for run in self.runs.values() if run.version), None),
            "vasp_files": ", ".join(file.name for file in self.files.found.values()),
        }
        return {name: value for name, value in info.items() if value is not None}

    def _penalty_info(self, main, found):
        return {
            "constraint_mode": self.constraint.mode,
            "lambda": found.lam if self.constraint.lam is None else self.constraint.lam,
            "penalty_energy": found.penalty,
            "energy_with_penalty": main.energy,
            "free_energy_with_penalty": main.free_energy,
            "energy_without_penalty": main.energy - found.penalty,
            "free_energy_without_penalty": main.free_energy - found.penalty,
        }


_MIXED = "the files belong to different runs or are damaged, put those of one run together"


def _reordered(frame, order):
    """Frame with atoms in another order, its results with them."""
    results = dict(frame.calc.results)
    out = frame[order]
    if "forces" in results:
        results["forces"] = results["forces"][order]
    frame.calc.results = results
    out.calc = type(frame.calc)(out, **results)
    return out
