"""Files of other programs: VASP in and out, spin formats of other codes.

Public names are loaded on first use, so that ``import ase_spinml.io`` stays light.
"""

import importlib

_HOME = {
    # VASP
    "read_vasp": "vasp",
    "iread_vasp": "vasp",
    "write_vasp": "vasp_write",
    "write_ladder": "vasp_ladder",
    "read_ladder": "vasp_ladder",
    "VaspWarning": "vasp_checks",
    # labels
    "check_labels": "checks",
    # other codes
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
