"""The three-temperature model of a laser pulse: electrons, lattice and spins, each with a temperature of its own.

    C_e dT_e/dt = -G_el (T_e - T_l) - G_es (T_e - T_s) + P(t),    C_e = gamma_e T_e
    C_l dT_l/dt =  G_el (T_e - T_l) - G_sl (T_l - T_s)
    C_s dT_s/dt =  G_es (T_e - T_s) + G_sl (T_l - T_s)

Source: Beaurepaire, Merle, Daunois and Bigot, Phys. Rev. Lett. 76, 4250 (1996). All quantities are per atom; those
quoted per volume become so with the volume per atom, for instance
``G * units.J / units.second / units.m**3 * atoms.get_volume() / len(atoms)`` for a G in W/(m^3 K).
"""

from dataclasses import dataclass

import numpy as np
from ase import units

from ase_spinml.checks import not_negative, positive
from ase_spinml.errors import InputError

_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))  # standard deviation of a Gaussian over its full width at half maximum


@dataclass(frozen=True)
class LaserPulse:
    """Gaussian pulse that heats the electrons.

    Parameters
    ----------
    energy : float
        Absorbed energy in eV per atom.
    centre : float
        Time of the maximum in ASE time units; several widths after the start of the run.
    fwhm : float
        Full width of the power at half of its maximum, in ASE time units.

    Raises
    ------
    InputError
        Energy or width out of range.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import LaserPulse
    >>> pulse = LaserPulse(energy=0.1, centre=500 * units.fs, fwhm=60 * units.fs)
    >>> print(round(pulse.absorbed(500 * units.fs), 6), round(pulse.absorbed(2000 * units.fs), 6))
    0.05 0.1
    """

    energy: float
    centre: float
    fwhm: float

    def __post_init__(self):
        not_negative("energy", self.energy, "eV per atom")
        positive("fwhm", self.fwhm, "ASE time units")
        if not np.isfinite(self.centre):
            raise InputError(f"Expected a finite centre in ASE time units, got {self.centre}.")

    def power(self, time):
        """Absorbed power per atom, in eV per ASE time, at a time (ASE units) or an array of times."""
        width = _SIGMA * self.fwhm
        shape = np.exp(-0.5 * ((time - self.centre) / width) ** 2)
        return self.energy / (np.sqrt(2 * np.pi) * width) * shape

    def absorbed(self, time):
        """Energy per atom absorbed up to a time, in eV."""
        from scipy.special import ndtr

        return self.energy * ndtr((time - self.centre) / (_SIGMA * self.fwhm))


class ThreeTemperatureModel:
    """Solution of the three-temperature model; two temperatures where the spins have no heat capacity.

    Its methods ``electrons``, ``lattice`` and ``spins`` are functions of the time to be given to the dynamics, for
    instance ``temperature_K=model.electrons``. The atoms then follow temperatures that are prescribed: nothing they do
    acts back on the electrons. For that there is :class:`ase_spinml.dynamics.electron_bath.ElectronBath`.

    Parameters
    ----------
    sommerfeld : float
        gamma_e in eV/K^2 per atom.
    lattice_heat_capacity : float or callable
        C_l in eV/K per atom, or a function of T_l in K; 3 k_B classically.
    electron_lattice : float
        G_el in eV/(K ASE time) per atom.
    pulse : LaserPulse, optional
        What heats the electrons.
    temperature_K : float or sequence of three
        Temperature at the start, of all or of electrons, lattice and spins, in K.
    stop : float
        Time up to which the solution is known, in ASE time units.
    spin_heat_capacity : float or callable, optional
        C_s in eV/K per atom, or a function of T_s in K.
    electron_spin, spin_lattice : float
        G_es and G_sl in eV/(K ASE time) per atom.
    start : float
        Time of the start, in ASE time units.

    Raises
    ------
    InputError
        Parameters out of range; a solution that breaks down; temperatures asked for outside of start and stop.

    Examples
    --------
    >>> from ase import units
    >>> from ase_spinml import LaserPulse, ThreeTemperatureModel
    >>> ps = 1000 * units.fs
    >>> model = ThreeTemperatureModel(
    ...     sommerfeld=5e-3 * units.J / units.mol,
    ...     lattice_heat_capacity=3 * units.kB,
    ...     electron_lattice=0.5 * units.kB / ps,
    ...     pulse=LaserPulse(energy=0.1, centre=0.5 * ps, fwhm=0.06 * ps),
    ...     stop=10 * ps,
    ... )
    >>> bool(model.electrons(0.6 * ps) > model.lattice(0.6 * ps))
    True
    """

    def __init__(
        self,
        sommerfeld,
        lattice_heat_capacity,
        electron_lattice,
        pulse=None,
        temperature_K=300.0,
        *,
        stop,
        spin_heat_capacity=None,
        electron_spin=0.0,
        spin_lattice=0.0,
        start=0.0,
    ):
        positive("sommerfeld", sommerfeld, "eV/K^2 per atom")
        capacities = {"lattice_heat_capacity": lattice_heat_capacity, "spin_heat_capacity": spin_heat_capacity}
        for name, value in capacities.items():
            if value is not None and not callable(value):
                positive(name, value, "eV/K per atom")
        couplings = {"electron_lattice": electron_lattice, "electron_spin": electron_spin, "spin_lattice": spin_lattice}
        for name, value in couplings.items():
            not_negative(name, value, "eV/(K ASE time) per atom")
        if spin_heat_capacity is None and (electron_spin > 0 or spin_lattice > 0):
            raise InputError(
                "Expected spin_heat_capacity with electron_spin or spin_lattice, got none: give it in eV/K per atom."
            )
        if not (np.isfinite(start) and np.isfinite(stop) and stop > start):
            raise InputError(f"Expected stop after start in ASE time units, got {stop} and {start}.")
        temperatures = np.broadcast_to(np.asarray(temperature_K, float), (3,))
        if not (np.isfinite(temperatures) & (temperatures > 0)).all():
            raise InputError(f"Expected temperatures > 0 in K at the start, got {temperature_K}.")
        self.sommerfeld, self.pulse = sommerfeld, pulse
        self._capacities, self._couplings = tuple(capacities.values()), tuple(couplings.values())
        self.start, self.stop = start, stop
        self._solve(temperatures)

    def electrons(self, time):
        """T_e in K at a time in ASE time units, or at an array of times."""
        return self._at(time)[0]

    def lattice(self, time):
        """T_l in K."""
        return self._at(time)[1]

    def spins(self, time):
        """T_s in K; InputError without spin_heat_capacity."""
        if self._capacities[1] is None:
            raise InputError("Expected a model with spin_heat_capacity, got one of two temperatures: spins have none.")
        return self._at(time)[2]

    def _rates(self, time, temperatures):
        electrons, lattice, spins = temperatures
        el, es, sl = self._couplings
        to_lattice, to_spins, across = el * (electrons - lattice), es * (electrons - spins), sl * (lattice - spins)
        power = 0.0 if self.pulse is None else self.pulse.power(time)
        lattice_capacity, spin_capacity = (
            capacity(temperature) if callable(capacity) else capacity
            for capacity, temperature in zip(self._capacities, (lattice, spins), strict=True)
        )
        return [
            (power - to_lattice - to_spins) / (self.sommerfeld * electrons),
            (to_lattice - across) / lattice_capacity,
            (to_spins + across) / spin_capacity if spin_capacity else 0.0,
        ]

    def _solve(self, temperatures):
        """Integrate from the start to the stop, with steps of their own for the pulse so that none leaps over it."""
        from scipy.integrate import solve_ivp

        edges = [self.start, self.stop]
        if self.pulse is not None:
            window = self.pulse.centre + 4 * self.pulse.fwhm * np.array([-1, 1])
            edges += [edge for edge in window if self.start < edge < self.stop]
        self._edges, self._pieces = np.sort(edges), []
        for first, last in zip(self._edges[:-1], self._edges[1:], strict=True):
            middle = 0.5 * (first + last)
            pulsed = self.pulse is not None and abs(middle - self.pulse.centre) < 4 * self.pulse.fwhm
            options = {"method": "LSODA", "rtol": 1e-9, "atol": 1e-6, "dense_output": True}
            options["max_step"] = self.pulse.fwhm / 4 if pulsed else np.inf
            piece = solve_ivp(self._rates, (first, last), temperatures, **options)
            if not piece.success or not (piece.y > 0).all():
                raise InputError(
                    f"Expected a three-temperature model that can be solved, got one that breaks down after "
                    f"{piece.t[-1] / units.fs:g} fs: check its parameters and their units."
                )
            self._pieces.append(piece.sol)
            temperatures = piece.y[:, -1]

    def _at(self, time):
        times = np.asarray(time, float)
        if not ((times >= self.start) & (times <= self.stop)).all():
            raise InputError(
                f"Expected times from start to stop, {self.start / units.fs:g} to {self.stop / units.fs:g} fs, got "
                f"others: solve the model up to a later stop."
            )
        piece = np.clip(np.searchsorted(self._edges, times, side="right") - 1, 0, len(self._pieces) - 1)
        if times.ndim == 0:
            return self._pieces[piece](times)
        found = np.empty((3, *times.shape))
        for k in np.unique(piece):
            found[:, piece == k] = self._pieces[k](times[piece == k])
        return found
