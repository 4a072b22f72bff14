"""What states and trajectories show; names are loaded on first use."""

import importlib

_HOME = {
    "topological_charge": "topology",
    "solid_angles": "topology",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
