"""Files of other programs: VASP in and out, spin formats of other codes.

Public names are loaded on first use, so that ``import ase_spinml.io`` stays light.
"""

from ase_spinml.lazy import lazy_names

_HOME = {
    # VASP
    "read_vasp": "vasp.reader",
    "iread_vasp": "vasp.reader",
    "write_vasp": "vasp.writer",
    "read_vasp_input": "vasp.writer",
    "write_ladder": "vasp.ladder",
    "read_ladder": "vasp.ladder",
    "VaspWarning": "vasp.checks",
    # labels
    "check_labels": "labels.check",
    # other codes: frames
    "read_frames": "codes.extxyz",
    "write_frames": "codes.extxyz",
    "read_dialect": "codes.dialects",
    "write_dialect": "codes.dialects",
    "transverse_only": "canonical",
    "read_deepmd": "codes.deepmd",
    "write_deepmd": "codes.deepmd",
    "read_mtp": "codes.mtp",
    "write_mtp": "codes.mtp",
    "read_abacus": "codes.abacus",
    "read_deltaspin": "codes.deltaspin",
    "read_lammps_data": "codes.lammps",
    "write_lammps_data": "codes.lammps",
    "read_lammps_dump": "codes.lammps_dump",
    "write_lammps_dump": "codes.lammps_dump",
    "write_ovito": "codes.ovito",
    # other codes: exchange tables
    "ExchangeTable": "exchange.table",
    "with_reverses": "exchange.table",
    "pair_energy": "exchange.table",
    "read_tb2j": "exchange.tb2j",
    "write_tb2j": "exchange.tb2j",
    "read_uppasd": "exchange.uppasd",
    "write_uppasd": "exchange.uppasd",
    "read_vampire": "exchange.vampire",
    "write_vampire": "exchange.vampire",
    "read_spirit": "exchange.spirit",
    "write_spirit": "exchange.spirit",
    # any of these
    "read_any": "formats",
    "write_any": "formats",
    "guess_format": "formats",
    "describe": "summary",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
