"""Electrons as a heat bath that a pulse heats and that atoms and spins cool: the atomistic three-temperature model.

The electrons have the energy U = N gamma_e T^2 / 2 and no other property. Given to the dynamics as ``temperature_K``,
they set the temperature of Langevin's friction and of Gilbert damping, and pay for the heat that these give:

    U(t) = U(0) + absorbed(t) - given,    T(t) = sqrt(2 U(t) / (N gamma_e)).

Atoms and spins take the places of the other two temperatures of
:class:`ase_spinml.dynamics.three_temperature.ThreeTemperatureModel`, and E + U - absorbed is conserved. The stationary
state is the microcanonical ensemble of atoms, spins and electrons in which T is the electrons' Gibbs temperature. It
fluctuates by sqrt(k_B/C), with C = N gamma_e T the heat capacity of all electrons: take atoms enough for C >> k_B. A
time step may take more from cold electrons than they have. They then stay at T = 0, and U below zero, until friction
and damping have brought it back (the "full truncation" of such stochastic processes); the energy is still conserved.

The couplings of the model then follow from friction and damping. With T_l that of the momenta, and n atoms per volume,

    G_el = 3 n k_B friction,    G_es = gamma alpha k_B / (1 + alpha^2) * sum_i <lap_i E> / m_i per volume,

the latter exact for equal moments m_i, with T_s the microscopic spin temperature; lap_i E is the Laplacian of the
energy on the sphere of e_i, and sum_i <lap_i E> = -4 <E> for bilinear exchange. G_sl is no parameter: it comes from the
dependence of the fields on the positions.
"""

import numpy as np
from ase import units

from ase_spinml.checks import not_negative, positive
from ase_spinml.errors import InputError


class ElectronBath:
    """Heat bath of electrons with U = N gamma_e T^2 / 2, heated by a pulse, that keeps account of what it gives.

    Pass one object as ``temperature_K`` of :class:`~ase_spinml.dynamics.md.SpinLatticeDynamics`; as
    ``spin_temperature_K`` only, it heats the spins alone. Its state goes into the checkpoints of the run.

    Parameters
    ----------
    n_atoms : int
        Number N of atoms whose electrons these are.
    sommerfeld : float
        gamma_e in eV/K^2 per atom. A value in mJ/(mol K^2) becomes so with ``1e-3 * units.J / units.mol``.
    temperature_K : float
        Temperature before the pulse, in K.
    pulse : LaserPulse, optional
        :class:`ase_spinml.dynamics.three_temperature.LaserPulse`.

    Attributes
    ----------
    given : float
        Energy in eV given to lattice and spins so far.

    Raises
    ------
    InputError
        Parameters out of range; while running: electrons that gave twice the energy they ever had.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import ElectronBath
    >>> bath = ElectronBath(100, sommerfeld=5e-3 * units.J / units.mol, temperature_K=300)
    >>> round(bath.energy(0.0), 4)                             # eV: N gamma_e T^2 / 2
    0.2332
    """

    def __init__(self, n_atoms, sommerfeld, temperature_K=300.0, pulse=None):
        if int(n_atoms) != n_atoms or n_atoms < 1:
            raise InputError(f"Expected n_atoms as a number of atoms >= 1, got {n_atoms}.")
        positive("sommerfeld", sommerfeld, "eV/K^2 per atom")
        not_negative("temperature_K", temperature_K, "K")
        self.n_atoms, self.sommerfeld, self.pulse = int(n_atoms), sommerfeld, pulse
        self.temperature_K = temperature_K
        self.given = 0.0

    def __call__(self, time):
        """Temperature of the electrons in K at a time in ASE time units."""
        energy = self.energy(time)
        if energy < -(energy + self.given):
            raise InputError(
                f"Expected electrons with energy left to give, got {energy:g} eV at {time / units.fs:g} fs: use more "
                f"atoms, whose fluctuations are smaller, a smaller timestep, or less friction and damping."
            )
        return float(np.sqrt(2 * max(energy, 0.0) / (self.n_atoms * self.sommerfeld)))

    def energy(self, time):
        """Energy U of the electrons in eV at a time in ASE time units."""
        start = 0.5 * self.n_atoms * self.sommerfeld * self.temperature_K**2
        return start + self.absorbed(time) - self.given

    def absorbed(self, time):
        """Energy in eV that the pulse has brought up to a time in ASE time units."""
        return 0.0 if self.pulse is None else float(self.n_atoms * self.pulse.absorbed(time))

    def heat_capacity(self, time):
        """Heat capacity N gamma_e T in eV/K."""
        return self.n_atoms * self.sommerfeld * self(time)

    def give(self, energy):
        """Take ``energy`` in eV out of the electrons."""
        self.given += energy

    def state(self):
        """What a checkpoint keeps."""
        return {"given": self.given}

    def set_state(self, state):
        """Take up the state of a checkpoint."""
        self.given = state["given"]
