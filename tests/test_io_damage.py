"""Files cut off, altered, empty or binary: one clear error or whole frames, never a hang, never a wrong frame."""

import contextlib
import shutil
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from spin_samples import (
    ABACUS_MD,
    ABACUS_RELAX,
    ABACUS_SCF,
    MD_DUMP,
    SPIRIT,
    STRU,
    TB2J,
    UPPASD,
    VAMPIRE,
    VAMPIRE_MATERIALS,
    deltaspin_step,
    labelled_frames,
    raw,
)

from ase_spinml.errors import InputError
from ase_spinml.io import read_any, write_any
from ase_spinml.io.formats import FORMATS

SPECIES = ["Ni", "O"]


def own(folder, name):
    """Path of a self-written sample, the file in it to damage, format and options."""
    frames = labelled_frames()
    if name in ("extxyz", "mace", "gpumd", "mtp", "lammps-dump", "lammps-data"):
        write_any(folder / "a", frames[:1] if name == "lammps-data" else frames, name)
        return folder / "a", folder / "a", name, {}
    if name in ("deepmd", "deepmd-raw"):
        write_any(folder / "a", frames, name)
        inner = "set.000/force_mag.npy" if name == "deepmd" else "force_mag.raw"
        return folder / "a", folder / "a" / inner, name, {}
    if name.startswith("abacus"):
        log = {"abacus-scf": ABACUS_SCF, "abacus-relax": ABACUS_RELAX, "abacus-md": ABACUS_MD}[name]
        for file, text in (("running_x.log", log), ("MD_dump", MD_DUMP), ("STRU", STRU)):
            (folder / file).write_text(text)
        return folder, folder / "running_x.log", "abacus", {}
    if name == "deltaspin":
        atoms = Atoms("Fe2", [[0, 0, 0], [1.4, 1.4, 1.4]], cell=[2.8] * 3, pbc=True)
        write(folder / "POSCAR", atoms, format="vasp")
        (folder / "OSZICAR").write_text(deltaspin_step(1, -0.16))
        return folder, folder / "OSZICAR", "deltaspin", {}
    if name == "uppasd":
        for file, text in UPPASD.items():
            (folder / file).write_text(text)
        return folder, folder / "jfile", "uppasd", {}
    texts = {"tb2j": TB2J, "vampire": VAMPIRE, "spirit": SPIRIT + "### end\n"}
    (folder / "a").write_text(texts[name])
    (folder / "a.mat").write_text(VAMPIRE_MATERIALS)
    return folder / "a", folder / "a", name, {}


OWN = [
    "extxyz",
    "mace",
    "gpumd",
    "mtp",
    "lammps-dump",
    "lammps-data",
    "deepmd",
    "deepmd-raw",
    "abacus-scf",
    "abacus-relax",
    "abacus-md",
    "deltaspin",
    "uppasd",
    "tb2j",
    "vampire",
    "spirit",
]

REAL = {
    "dpdata/tests/abacus.spin/OUT.ABACUS/running_scf.log": ("abacus", {}),
    "dpdata/tests/abacus.spin/OUT.ABACUS/running_relax.log": ("abacus", {}),
    "dpdata/tests/abacus.spin/OUT.ABACUS/running_md.log": ("abacus", {}),
    "dpdata/tests/abacus.spin/OUT.ABACUS-nspin2/running_scf.log": ("abacus", {}),
    "dpdata/tests/lammps/spin.lmp": ("lammps-data", {"species": SPECIES}),
    "dpdata/tests/lammps/traj_partial_spin.dump": ("lammps-dump", {"species": SPECIES}),
    "dpdata/tests/tmp.deepmd.spin/Fe16-npy/set.000/spin.npy": ("deepmd", {}),
    "dpdata/tests/tmp.deepmd.spin/Fe16-raw/force_mag.raw": ("deepmd-raw", {}),
    "tb2j/Siesta/BiFeO3/TB2J_results/exchange.out": ("tb2j", {}),
    "tb2j/Abacus/Fe_no_SOC/TB2J_results/exchange.out.gz": ("tb2j", {}),
    "vampire/SimpleCubic.ucf": ("vampire", {}),
    "vampire/samples/UC.ucf": ("vampire", {}),
    "spirit/core/test/input/fd_pairs.cfg": ("spirit", {}),
    "spirit/input/input.cfg": ("spirit", {}),
    "uppasd/examples/SimpleSystems/bccFe/jfile": ("uppasd", {"lattice_constant": 2.8665}),
}


def real(folder, name):
    """As :func:`own`, of a copy of a real file with what belongs to it."""
    path, (form, options) = raw(name), REAL[name]
    top = path.parent.parent if form == "deepmd" else path.parent
    shutil.copytree(top, folder / "copy", copy_function=shutil.copyfile)
    for item in [folder / "copy", *(folder / "copy").rglob("*")]:
        item.chmod(0o755)
    copy = folder / "copy" / path.relative_to(top)
    whole = form in ("deepmd", "deepmd-raw", "uppasd")
    return folder / "copy" if whole else copy, copy, form, options


def read(path, form, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_any(path, form, **options)


def flat(found):
    """Everything that was read, as one list of arrays per frame; a table counts as one frame."""
    if not isinstance(found, list):
        return [[found[0].numbers, found[0].positions, found[0].cell.array, *found[1]]]
    return [
        [
            atoms.numbers,
            atoms.positions,
            atoms.cell.array,
            *(atoms.arrays[name] for name in sorted(atoms.arrays)),
            *(np.asarray(value) for _, value in sorted((atoms.calc.results if atoms.calc else {}).items())),
        ]
        for atoms in found
    ]


def is_prefix(frames, whole):
    """Whether frames are the first of the whole, number by number."""
    return len(frames) <= len(whole) and all(
        len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in zip(frames, whole, strict=False)
    )


def truncate(sample, positions):
    path, file, form, options = sample
    data, whole = file.read_bytes(), flat(read(path, form, options))
    keep = form in ("extxyz", "mace", "gpumd", "mtp", "lammps-dump", "abacus", "deltaspin")
    endless = form in ("tb2j", "uppasd", "spirit")  # neither count nor end mark: cut between lines is a shorter file
    refused = 0
    for position in positions(len(data)):
        if endless and data[:position].endswith(b"\n"):
            continue
        file.write_bytes(data[:position])
        try:
            assert is_prefix(flat(read(path, form, options)), whole), f"cut at {position} of {len(data)} bytes"
        except InputError:
            refused += 1
        if keep:
            with contextlib.suppress(InputError):
                assert is_prefix(flat(read(path, form, {**options, "damaged": "keep"})), whole), position
    file.write_bytes(data)
    return refused


def flip(sample, count):
    """Alter one byte at a time: refused, or as many atoms and finite numbers as before."""
    path, file, form, options = sample
    data, whole = bytearray(file.read_bytes()), flat(read(path, form, options))
    rng = np.random.default_rng(1)
    for position, bits in zip(rng.integers(len(data), size=count), rng.integers(1, 256, size=count), strict=True):
        data[position] ^= bits
        file.write_bytes(data)
        data[position] ^= bits
        try:
            found = flat(read(path, form, options))
        except (InputError, FileNotFoundError):  # the latter for the name of another file
            continue
        assert len(found) == len(whole), f"byte {position}"
        for frame, other in zip(found, whole, strict=True):
            assert [len(x) for x in frame[:3]] == [len(x) for x in other[:3]]
            assert all(np.isfinite(x).all() for x in frame if x.dtype.kind == "f"), f"byte {position}"
    file.write_bytes(data)


SLOW = "tb2j/Abacus/Fe_no_SOC/TB2J_results/exchange.out.gz"  # 1370 couplings


def at_random(count):
    return lambda size: np.random.default_rng(0).integers(size, size=count)


@pytest.mark.parametrize("name", OWN)
def test_own_samples_cut_off(name, tmp_path):
    assert truncate(own(tmp_path, name), at_random(60)) > 30


@pytest.mark.parametrize("name", OWN)
def test_own_samples_altered(name, tmp_path):
    """Every file that belongs to the sample, one at a time."""
    path, _, form, options = own(tmp_path, name)
    for file in sorted(tmp_path.rglob("*")):
        if file.is_file() and file.name != "POSCAR" and file.stat().st_size:
            flip((path, file, form, options), 40)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_samples_cut_off(name, tmp_path):
    truncate(real(tmp_path, name), at_random(20 if name == SLOW else 200))


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_samples_altered(name, tmp_path):
    flip(real(tmp_path, name), 20 if name == SLOW else 200)


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if name != "vasp"])
def test_files_that_hold_nothing(name, tmp_path):
    path = tmp_path / "a"
    for data in (b"", b"\n\n\n", b"\0" * 4096, bytes(range(256)) * 40, b"\x1f\x8b junk", b"\xff\xfe" * 100):
        if name in ("deepmd", "deepmd-raw"):
            path = tmp_path / "type.raw"
        elif name in ("uppasd", "deltaspin"):
            path = tmp_path / {"uppasd": "inpsd.dat", "deltaspin": "OSZICAR"}[name]
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_any(tmp_path if "deepmd" in name else path, name)


@pytest.mark.parametrize("name", ["extxyz", "mtp", "tb2j", "lammps-dump", "abacus"])
def test_a_large_sparse_file_is_refused_at_once(name, tmp_path):
    with open(tmp_path / "a", "wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match="binary content"):
        read_any(tmp_path / "a", name)


@pytest.mark.parametrize("name", OWN)
def test_line_ends_of_other_systems(name, tmp_path):
    path, file, form, options = own(tmp_path, name)
    if form == "deepmd":
        return
    whole = flat(read(path, form, options))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert is_prefix(flat(read(path, form, options)), whole)
