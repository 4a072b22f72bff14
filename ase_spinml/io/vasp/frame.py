"""From the ionic steps of a run's files to frames: moments, fields, penalty, order of atoms."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.canonical import make_frame
from ase_spinml.io.vasp import constraint as vasp_constraint
from ase_spinml.io.vasp import incar
from ase_spinml.io.vasp.compare import compare, compare_runs
from ase_spinml.io.vasp.folder import read_order, tags_of
from ase_spinml.io.vasp.lines import Damaged
from ase_spinml.io.vasp.saxis import saxis_rotation


class FrameBuilder:
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
        if lam is not None and abs(found.lam - lam) > 5.1e-3 * abs(lam):  # printed with three digits
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
