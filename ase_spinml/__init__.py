"""Machine-learned exchange fields and coupled spin-lattice dynamics for ASE.

Public names are loaded on first use, so that ``import ase_spinml`` stays light.
"""

from ase_spinml.lazy import lazy_names

__version__ = "0.1.0"

_HOME = {
    "set_moments": "moments",
    "get_moments": "moments",
    "get_spins": "moments",
    "SOSO": "descriptors.soso",
    "LatticeDescriptor": "descriptors.lattice",
    "SpinGAP": "models.gap",
    "SpinNN": "models.nn",
    "load_model": "models.base",
    "SpinCalculator": "calculators.ml",
    "select": "sampling.active",
    "Heisenberg": "calculators.analytic",
    "Zeeman": "calculators.analytic",
    "NonMagnetic": "calculators.analytic",
    "Anisotropy": "calculators.anisotropy",
    "DipoleDipole": "calculators.dipole",
    "SDModel": "calculators.itinerant",
    "ac_field": "calculators.driving",
    "rotating_field": "calculators.driving",
    "pulsed_field": "calculators.driving",
    "SlonczewskiTorque": "calculators.torques",
    "SpinOrbitTorque": "calculators.torques",
    "ZhangLiTorque": "calculators.torques",
    "drift_velocity": "calculators.currents",
    "spin_current_field": "calculators.currents",
    "Relaxation": "landscape.relaxation",
    "SpinFilter": "landscape.relaxation",
    "SpinNEB": "landscape.neb",
    "interpolate": "landscape.path",
    "SpinDynamics": "dynamics.md",
    "SpinLatticeDynamics": "dynamics.md",
    "ramp": "dynamics.schedules",
    "LaserPulse": "dynamics.three_temperature",
    "ThreeTemperatureModel": "dynamics.three_temperature",
    "ElectronBath": "dynamics.electron_bath",
    "suggest_timestep": "dynamics.timestep",
    "read_trajectory": "dynamics.trajectory",
}

__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
