"""Constant pressure by stochastic cell rescaling, isotropic.

The volume follows, with the momenta scaled inversely to the positions and the moments untouched,

    dV = -V beta/tau (P0 - P - k_B T/V) dt + sqrt(2 k_B T V beta/tau) dW,    P = 2 K/(3 V) - tr(stress)/3,

which has the stationary distribution exp(-(E + P0 V)/k_B T) of the isobaric ensemble, whatever compressibility beta and
relaxation time tau are. Without temperature what is left relaxes the volume until P = P0 and lowers E + P0 V. In
lambda = sqrt(V) the noise does not depend on the volume, and a step is

    lambda' = lambda - lambda beta/(2 tau) (P0 - P - k_B T/(2 V)) dt + sqrt(k_B T beta dt/(2 tau)) R.

Source: Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020).
"""

import numpy as np
from ase import units

from ase_spinml.checks import positive
from ase_spinml.errors import InputError


def rescaled_volume(volume, pressure, target, temperature_K, rate, timestep, rng):
    """Volume after one step of stochastic cell rescaling, in Angstrom^3.

    Parameters
    ----------
    volume : float
        V in Angstrom^3.
    pressure, target : float
        P and P0 in eV/Angstrom^3.
    temperature_K : float
        In K; zero for relaxation without noise.
    rate : float
        beta/tau in Angstrom^3/(eV ASE time).
    timestep : float
        In ASE time units.
    rng : numpy.random.Generator
        Drawn from once, for one normal number, if the temperature is above zero.

    Raises
    ------
    InputError
        A step that halves or doubles the volume, or more.
    """
    kT = units.kB * temperature_K
    side = np.sqrt(volume)
    new = side * (1.0 - 0.5 * rate * timestep * (target - pressure - 0.5 * kT / volume))
    if kT > 0:
        new += np.sqrt(0.5 * kT * rate * timestep) * rng.standard_normal()
    if not 0.5 * volume < new * abs(new) < 2.0 * volume:
        raise InputError(
            f"Expected a barostat step that changes the volume by less than half, got {new * abs(new):g} A^3 from "
            f"{volume:g} A^3: use a longer pressure_relaxation_time or a smaller pressure_interval."
        )
    return float(new**2)


def pressure(atoms):
    """Instantaneous pressure of ``atoms`` in eV/Angstrom^3: that of the momenta and that of the calculator's stress."""
    return 2.0 * atoms.get_kinetic_energy() / (3.0 * atoms.get_volume()) + _virial_pressure(atoms)


class Barostat:
    """Stochastic cell rescaling of one run.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic in three directions, without constraints, with a calculator that gives ``stress``.
    pressure : float
        P0 in eV/Angstrom^3.
    compressibility : float
        Estimate of beta in Angstrom^3/eV.
    relaxation_time : float
        tau in ASE time units.
    interval : int
        Time steps from one rescaling to the next.

    Raises
    ------
    InputError
        Unusable parameters or atoms.
    """

    def __init__(self, atoms, pressure, compressibility, relaxation_time, interval):
        if not np.isfinite(pressure):
            raise InputError(f"Expected a finite pressure in eV/A^3, got {pressure}.")
        if compressibility is None:
            raise InputError(
                "Expected compressibility in A^3/eV with pressure, got none: an estimate will do, such as "
                "1 / (170 * units.GPa) for iron."
            )
        positive("compressibility", compressibility, "A^3/eV")
        positive("pressure_relaxation_time", relaxation_time, "ASE time units")
        if int(interval) != interval or interval < 1:
            raise InputError(f"Expected pressure_interval as a number of steps >= 1, got {interval}.")
        if not atoms.pbc.all() or atoms.cell.rank < 3:
            raise InputError(
                f"Expected atoms periodic in three directions with pressure, got pbc {atoms.pbc.tolist()}: only a "
                f"crystal has a pressure."
            )
        if atoms.constraints:
            raise InputError(
                f"Expected atoms without constraints with pressure, got {type(atoms.constraints[0]).__name__}: remove "
                f"it, as positions are scaled with the cell."
            )
        if "stress" not in atoms.calc.implemented_properties:
            raise InputError(
                f"Expected a calculator that gives stress with pressure, got {type(atoms.calc).__name__} without: fit "
                f"a model with stress, or leave out pressure."
            )
        self.pressure, self.interval = float(pressure), int(interval)
        self._rate = compressibility / relaxation_time

    def rescale(self, atoms, temperature_K, timestep, rng):
        """Scale the cell and positions of ``atoms``, and the momenta inversely, for one interval.

        timestep: that of the dynamics; temperature_K: in K, zero for relaxation without noise.
        Returns the change of E + P0 V in eV, the heat from the barostat: that of the kinetic energy exactly, and that
        of the potential energy by its slope, the stress, before and after.
        """
        volume, kinetic, virial = atoms.get_volume(), atoms.get_kinetic_energy(), _virial_pressure(atoms)
        now = 2.0 * kinetic / (3.0 * volume) + virial
        step = self.interval * timestep
        new = rescaled_volume(volume, now, self.pressure, temperature_K, self._rate, step, rng)
        scale = (new / volume) ** (1 / 3)
        atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
        atoms.set_momenta(atoms.get_momenta() / scale)
        mean = 0.5 * (virial + _virial_pressure(atoms))
        return (self.pressure - mean) * (new - volume) + kinetic * (scale**-2 - 1.0)

    def energy(self, atoms):
        """P0 V in eV."""
        return self.pressure * atoms.get_volume()


def _virial_pressure(atoms):
    return -float(np.mean(atoms.calc.get_property("stress", atoms)[:3]))
