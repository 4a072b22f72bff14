"""Files of other programs: VASP in and out, spin formats of other codes.

Public names are loaded on first use, so that ``import ase_spinml.io`` stays light.
"""

import importlib

_HOME = {
    # VASP
    "read_vasp": "vasp",
    "iread_vasp": "vasp",
    "write_vasp": "vasp_write",
    "read_vasp_input": "vasp_write",
    "write_ladder": "vasp_ladder",
    "read_ladder": "vasp_ladder",
    "VaspWarning": "vasp_checks",
    # labels
    "check_labels": "checks",
    # other codes: frames
    "read_frames": "extxyz",
    "write_frames": "extxyz",
    "read_dialect": "dialects",
    "write_dialect": "dialects",
    "transverse_only": "canonical",
    "read_deepmd": "deepmd",
    "write_deepmd": "deepmd",
    "read_mtp": "mtp",
    "write_mtp": "mtp",
    "read_abacus": "abacus",
    "read_deltaspin": "deltaspin",
    "read_lammps_data": "lammps",
    "write_lammps_data": "lammps",
    "read_lammps_dump": "lammps_dump",
    "write_lammps_dump": "lammps_dump",
    # other codes: exchange tables
    "ExchangeTable": "exchange",
    "with_reverses": "exchange",
    "pair_energy": "exchange",
    "read_tb2j": "tb2j",
    "write_tb2j": "tb2j",
    "read_uppasd": "uppasd",
    "write_uppasd": "uppasd",
    "read_vampire": "vampire",
    "write_vampire": "vampire",
    "read_spirit": "spirit",
    "write_spirit": "spirit",
    # any of these
    "read_any": "formats",
    "write_any": "formats",
    "guess_format": "formats",
    "describe": "summary",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
