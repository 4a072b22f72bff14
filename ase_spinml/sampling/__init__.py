"""Frames to train on: spin states times displacements times strains, with a manifest; which of many frames to label.

Public names are loaded on first use.
"""

from ase_spinml.lazy import lazy_names

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
    "spin_quenches": "quench",
    "perturbed_states": "quench",
    "generate": "labelling",
    "select_diverse": "diversity",
    "frame_features": "diversity",
    "select": "active",
    "unknown": "active",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
