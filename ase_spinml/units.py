"""Physical constants in the units of the package: eV, Angstrom, ASE time, mu_B."""

from ase import units

HBAR = units._hbar * units.J * units.second
"""Reduced Planck constant in eV * ASE time."""

MU_B = units._hbar / (2 * units._me)
"""Bohr magneton in eV/T (mu_B = e hbar / 2 m_e, divided by e)."""

G_FACTOR = 2.0
"""Electron g-factor used throughout."""

GYROMAGNETIC_RATIO = G_FACTOR / HBAR
"""gamma = g / hbar in 1/(eV * ASE time) per mu_B: dm/dt = -gamma m x H with H in eV/mu_B."""
