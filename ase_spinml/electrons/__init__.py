"""Electrons on a lattice coupled to classical spins: Hamiltonians, solvers, lattices with ordered spins.

Public names are loaded on first use.
"""

from ase_spinml.lazy import lazy_names

_HOME = {
    "spin_lattice": "lattices",
    "SDHamiltonian": "sd",
    "Ensemble": "ensemble",
    "Solution": "ensemble",
    "hopping_blocks": "sd",
    "Exact": "exact",
    "KPM": "kpm",
    "NEGF": "driven",
    "SemiInfiniteLead": "leads",
    "WideBandLead": "leads",
    "BlockLead": "leads",
    "Junction": "junction",
    "steady_state": "negf",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
