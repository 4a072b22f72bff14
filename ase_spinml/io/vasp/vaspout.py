"""vaspout.h5: structure, energies, forces, stress and PAW moments in full precision.

Names of data sets follow a file of VASP 6.4 and the definitions of py4vasp. No magnetic file was at hand: the layout of
its moments (total charge, then m or mx, my, mz) is checked as far as the file names its components.
"""

import gzip
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from ase_spinml.errors import InputError
from ase_spinml.io.vasp.lines import Damaged, open_bytes, unreadable
from ase_spinml.io.vasp.steps import Run, Step, ase_stress, energies_agree

_DYNAMICS = "intermediate/ion_dynamics"
_TAGS = ("free energy TOTEN", "energy without entropy", "energy(sigma->0)")
_LARGEST = 50_000_000  # numbers in one data set
_SMALLEST_VALUE, _LARGEST_VALUE = 1e-60, 1e9  # beyond them the bytes of a number are not its own


def read_vaspout(path):
    """Ionic steps of a vaspout.h5: a generator of :class:`~ase_spinml.io.vasp.steps.Step`.

    Raises
    ------
    InputError
        h5py is not installed.
    Damaged
        The container is broken, or a data set is missing or of a wrong shape.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"Expected h5py to read {Path(path).name}, got no such package: pip install 'ase_spinml[vasp]'."
        ) from None
    with open_bytes(path):  # exists and is not empty
        pass
    with tempfile.TemporaryDirectory() as folder:
        file_path = _unpack(Path(path), Path(folder)) if Path(path).suffix == ".gz" else Path(path)
        try:
            with h5py.File(file_path, "r") as file:
                run, data = _Vaspout(file, Path(path).name).everything()
        except Damaged:
            raise
        except Exception as error:  # a broken container makes h5py raise many kinds
            raise Damaged(
                f"Expected {Path(path).name} to be a whole HDF5 file, got '{str(error)[:99]}': take a good copy.",
                keepable=False,
            ) from None
    for k in range(len(data["energies"])):
        yield _step(k, run, data)


def _unpack(path, folder):
    target = folder / "vaspout.h5"
    try:
        with gzip.open(path) as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None
    return target


def _step(k, run, data):
    free, without, zero = data["energies"][k]
    if not energies_agree(free, without, zero, run.smearing) or free == 0:
        raise Damaged(
            f"Expected three energies that belong together in ionic step {k + 1} of {run.file}, got "
            f"{free}, {without}, {zero}: take an undamaged copy, or read with damaged='keep' to get the steps before."
        )
    stress = data["stress"][k] if data["stress"] is not None else None
    return Step(
        k + 1,
        run,
        cell=data["cells"][k],
        positions=data["positions"][k] @ data["cells"][k],
        free_energy=float(free),
        energy=float(zero),
        forces=data["forces"][k],
        stress=ase_stress(stress) if stress is not None and stress.any() else None,  # all zero: not computed
        moments=data["moments"][k] if data["moments"] is not None else None,
    )


class _Vaspout:
    def __init__(self, file, name):
        self.file, self.name = file, name

    def damage(self, expected, got):
        return Damaged(
            f"Expected {expected} in {self.name}, got {got}: take an undamaged copy.",
            keepable=False,
        )

    def everything(self):
        run = self._run()
        return run, self._data(run)

    def array(self, name, shape, required=True):
        """Finite numbers of a data set; -1 in ``shape`` is any length."""
        if name not in self.file:
            if required:
                raise self.damage(f"a data set {name}", "none")
            return None
        data = self.file[name]
        fits = len(data.shape) == len(shape) and all(s in (-1, n) for s, n in zip(shape, data.shape, strict=True))
        if not fits or data.size > _LARGEST:
            raise self.damage(f"{name} of shape {shape}", data.shape)
        values = np.array(data[()], dtype=float)
        size = np.abs(values[values != 0])
        if not np.isfinite(values).all() or (size > _LARGEST_VALUE).any() or (size < _SMALLEST_VALUE).any():
            raise self.damage(f"finite numbers of a possible size in {name}", "others")
        return values

    def _small(self, data):
        """Contents of a data set that can only be small."""
        if data.size > _LARGEST // 10:
            raise self.damage(f"a small data set {data.name}", f"{data.size} items")
        return data[()]

    def _run(self):
        file = self.file
        settings = {name.upper(): _plain(self._small(item)) for name, item in file.get("input/incar", {}).items()}
        types = [_text(x) for x in np.atleast_1d(self._small(file["results/positions/ion_types"]))]
        counts = self.array("results/positions/number_ion_types", (len(types),)).astype(int)
        if any(t not in chemical_symbols for t in types) or (counts < 1).any() or counts.sum() > _LARGEST:
            raise self.damage("elements and how many there are of each", f"{types}, {counts.tolist()}")
        spin_orbit = bool(_truth(settings.get("LSORBIT")))
        noncollinear = spin_orbit or _truth(settings.get("LNONCOLLINEAR"))
        collinear = int(float(settings.get("ISPIN", 1))) == 2
        version = [file[f"version/{part}"][()] for part in ("major", "minor", "patch") if f"version/{part}" in file]
        run = Run(
            file=self.name,
            version=".".join(map(str, version)) or None,
            symbols=[t for t, n in zip(types, counts, strict=True) for _ in range(n)],
            spin="noncollinear" if noncollinear else "collinear" if collinear else "none",
            spin_orbit=spin_orbit,
            smearing=int(float(settings["ISMEAR"])) if "ISMEAR" in settings else None,
            settings=settings,
        )
        if noncollinear:
            run.set_saxis(np.array(settings.get("SAXIS", (0, 0, 1)), dtype=float))
        return run

    def _data(self, run):
        n = len(run.symbols)
        positions = self.array(f"{_DYNAMICS}/position_ions", (-1, n, 3))
        steps = len(positions)
        scale = self.file.get(f"{_DYNAMICS}/scale")
        cells = self.array(f"{_DYNAMICS}/lattice_vectors", (steps, 3, 3))
        cells = cells * (1.0 if scale is None else float(scale[()]))
        if steps == 0 or (np.abs(np.linalg.det(cells)) < 1e-6).any():
            raise self.damage("ionic steps with cells that have a volume", f"{steps} steps")
        return {
            "positions": positions,
            "cells": cells,
            "energies": self._energies(steps),
            "forces": self.array(f"{_DYNAMICS}/forces", (steps, n, 3)),
            "stress": self.array(f"{_DYNAMICS}/stress", (steps, 3, 3), required=False),
            "moments": self._moments(run, steps, n),
        }

    def _energies(self, steps):
        tags = [" ".join(_text(x).split()) for x in self.file[f"{_DYNAMICS}/energies_tags"][()]]
        missing = [tag for tag in _TAGS if tag not in tags]
        if missing:
            raise self.damage(f"energies named {', '.join(missing)}", ", ".join(tags)[:100])
        table = self.array(f"{_DYNAMICS}/energies", (steps, len(tags)))
        return table[:, [tags.index(tag) for tag in _TAGS]]

    def _moments(self, run, steps, n):
        """PAW moments summed over orbitals: (steps, N), or (steps, N, 3) in the SAXIS frame; None without any."""
        components = {"none": 1, "collinear": 2, "noncollinear": 4}[run.spin]
        for name in ("spin_moments/values", "moments"):
            table = self.array(f"{_DYNAMICS}/magnetism/{name}", (-1, -1, n, -1), required=False)
            if table is None:
                continue
            if table.shape[:2] != (steps, components):
                raise self.damage(f"moments of {steps} steps with {components} components", table.shape[:2])
            if components == 1:
                return None
            total = table.sum(axis=3)
            return total[:, 1] if components == 2 else np.moveaxis(total[:, 1:], 1, 2)
        return None


def _text(item):
    return (item.decode("latin-1") if isinstance(item, bytes) else str(item)).strip()


def _plain(item):
    """Value of an INCAR tag: text, or numbers."""
    if isinstance(item, bytes):
        return _text(item)
    return item if np.ndim(item) else item.item() if hasattr(item, "item") else item


def _truth(item):
    if isinstance(item, str):
        return item.strip(". ").upper().startswith("T")
    return bool(item) if item is not None else False
