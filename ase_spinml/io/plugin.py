"""The formats of this package as formats of ASE: ``ase.io.read(path, format="vasp-spin")``, ``ase convert``.

ASE finds the descriptions below through the entry points of the installed package, and the functions ``read_...`` and
``write_...`` of this module by the name of the format. Everything else is imported when it is used, since ASE loads
this module whenever :mod:`ase.io` is imported.
"""

from ase.utils.plugins import ExternalIOFormat

_HERE = "ase_spinml.io.plugin"

vasp_spin = ExternalIOFormat("VASP run with vector moments and exchange fields", "+S", _HERE)
spin_xyz = ExternalIOFormat("Extended XYZ with moments and exchange fields", "+S", _HERE)
mace_spin = ExternalIOFormat("Extended XYZ with the magnetic keys of MACE", "+S", _HERE)
gpumd_spin = ExternalIOFormat("Extended XYZ with the spin keys of GPUMD", "+S", _HERE)
deepmd_spin = ExternalIOFormat("DeePMD system with spin, NumPy arrays", "+S", _HERE)
deepmd_raw_spin = ExternalIOFormat("DeePMD system with spin, text", "+S", _HERE)
mtp_spin = ExternalIOFormat("MLIP configurations with magnetic moments", "+S", _HERE, magic=b"BEGIN_CFG")
abacus_spin = ExternalIOFormat("Log of a spin-constrained ABACUS run", "+S", _HERE)
deltaspin = ExternalIOFormat("OSZICAR of VASP with DeltaSpin", "+S", _HERE)
lammps_spin = ExternalIOFormat("LAMMPS data file of atom_style spin", "1S", _HERE)
lammps_dump_spin = ExternalIOFormat("LAMMPS text dump with spins", "+S", _HERE)

_NAMES = {
    "vasp_spin": "vasp",
    "spin_xyz": "extxyz",
    "mace_spin": "mace",
    "gpumd_spin": "gpumd",
    "deepmd_spin": "deepmd",
    "deepmd_raw_spin": "deepmd-raw",
    "mtp_spin": "mtp",
    "abacus_spin": "abacus",
    "deltaspin": "deltaspin",
    "lammps_dump_spin": "lammps-dump",
}
_READ_ONLY = ("vasp_spin", "abacus_spin", "deltaspin")


def _reader(name):
    def read(filename, index=-1, **options):
        from ase_spinml.io.formats import read_any

        return read_any(filename, name, **options)[index]

    read.__doc__ = f"Frames of format {name}, see :mod:`ase_spinml.io.formats`."
    return read


def _writer(name):
    def write(filename, images, **options):
        from ase_spinml.io.formats import write_any

        write_any(filename, list(images), name, **options)

    write.__doc__ = f"Write frames of format {name}, see :mod:`ase_spinml.io.formats`."
    return write


for _plugin, _name in _NAMES.items():
    globals()[f"read_{_plugin}"] = _reader(_name)
    if _plugin not in _READ_ONLY:
        globals()[f"write_{_plugin}"] = _writer(_name)


def read_lammps_spin(filename, **options):
    """The frame of a LAMMPS data file, see :func:`ase_spinml.io.codes.lammps.read_lammps_data`."""
    from ase_spinml.io.codes.lammps import read_lammps_data

    return read_lammps_data(filename, **options)


def write_lammps_spin(filename, atoms, **options):
    """Write a LAMMPS data file, see :func:`ase_spinml.io.codes.lammps.write_lammps_data`."""
    from ase_spinml.io.codes.lammps import write_lammps_data

    write_lammps_data(filename, atoms, **options)
