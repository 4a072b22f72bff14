"""Frames to train on: spin states times displacements times strains, with a manifest, and the most diverse of them.

Public names are loaded on first use.
"""

import importlib

_HOME = {
    "random_spins": "spins",
    "spin_cones": "spins",
    "spin_spirals": "spins",
    "spin_rotations": "spins",
    "thermal_spins": "spins",
    "rattles": "lattice",
    "thermal_displacements": "lattice",
    "isotropic_strains": "lattice",
    "shear_strains": "lattice",
    "sample": "frames",
    "make_frame": "frames",
    "write_samples": "manifest",
    "read_manifest": "manifest",
    "regenerate": "manifest",
    "select_diverse": "diversity",
    "frame_features": "diversity",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
