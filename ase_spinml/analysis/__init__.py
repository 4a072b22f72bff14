"""What states and trajectories show; names are loaded on first use."""

from ase_spinml.lazy import lazy_names

_HOME = {
    "topological_charge": "topology",
    "solid_angles": "topology",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
