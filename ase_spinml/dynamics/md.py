"""Spin and coupled spin-lattice dynamics as ASE MolecularDynamics classes, for any calculator with exchange_fields.

The state is that of the Atoms: positions, momenta and the moments in ``arrays["initial_magmoms"]``. Zero moments stay
zero. Spins have no kinetic energy: ``atoms.get_total_energy()`` is conserved without baths and driving, and
``get_conserved_energy()`` with them."""

import numpy as np
from ase import units

from ase_spinml import checks
from ase_spinml.dynamics.barostat import Barostat
from ase_spinml.dynamics.host import HostSpins
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.llg import gilbert_from_landau_lifshitz
from ase_spinml.dynamics.operation import OperatedDynamics
from ase_spinml.dynamics.thermostats import bath_temperature, give, langevin_momenta
from ase_spinml.errors import InputError
from ase_spinml.moments import MOMENTS, get_moments
from ase_spinml.terms import forget, is_conservative, potential_energy, set_time, terms_of
from ase_spinml.units import GYROMAGNETIC_RATIO


class SpinDynamics(OperatedDynamics):
    """Motion of the moments on a frozen lattice, dm/dt = -gamma m x H with Gilbert damping and a heat bath on request.

    Parameters
    ----------
    atoms : ase.Atoms
        With moment vectors (:func:`ase_spinml.set_moments`) and a calculator that gives ``exchange_fields``.
    timestep : float
        In ASE time units; :func:`ase_spinml.suggest_timestep` finds one.
    temperature_K : float or callable, optional
        Temperature of the bath in K, or a function of the time (ASE units) that gives it; needs damping.
    damping : float
        Gilbert's alpha, or that of ``equation``.
    rng : seed or numpy.random.Generator
        Source of the noise.
    integrator : str
        "midpoint" (spherical midpoint, iterated to ``tolerance``; time reversible, keeps the energy at zero damping;
        as many evaluations as that takes, usually 5 to 10), or with two evaluations "sib" (semi-implicit), "depondt"
        (rotation), "heun" (for checks): :mod:`ase_spinml.dynamics.integrators`. Their energy drifts at zero damping.
    equation : str
        "gilbert", or "landau-lifshitz" for damping and gyromagnetic ratio in the sense of that form
        (:func:`ase_spinml.dynamics.llg.gilbert_from_landau_lifshitz`).
    moment_lengths : str
        "fixed", or "model": each length follows ``magmoms`` of the calculator, solved for together with the midpoint
        spins; ``atoms`` then carry the lengths of mid-step.
    frozen_moments : sequence of int or (N,) bool, optional
        Moments that do not move.
    device, dtype : str, optional
        Keep the spins on this device of torch, "cpu" or "cuda", as "float64" (default) or "float32". ``atoms`` are
        brought up to date when an observer, a log line or a checkpoint is due and at the end of :meth:`run`; positions
        and the calculator's constants are read when a run starts (:mod:`ase_spinml.dynamics.device`).
    gyromagnetic_ratio : float
        gamma in 1/(eV ASE time) per mu_B; 1.0 for lattice models with hbar = S = 1, -1.0 for the sense
        dS/dt = +S x H. Damping and noise use its magnitude.
    tolerance : float
        Bound on the residual of the midpoint step, in radians.
    trajectory, logfile, loginterval, checkpoint, checkpoint_interval, restart, progress, **kwargs
        :class:`ase_spinml.dynamics.operation.OperatedDynamics`, :class:`ase_spinml.dynamics.logger.SpinLogger`.

    Attributes
    ----------
    evaluations : int
        Evaluations of fields or forces asked for by the steps so far.
    spin_heat, work : float
        Energy in eV that the bath of the spins has given, and that time-dependent terms have added.

    Raises
    ------
    InputError
        Unusable parameters, moments or calculator; while running: a step that does not converge.

    Examples
    --------
    >>> from ase import Atoms, units
    >>> from ase_spinml import SpinDynamics, Zeeman, get_spins
    >>> atoms = Atoms("Fe", magmoms=[[2.2, 0, 0]])
    >>> atoms.calc = Zeeman((0, 0, 100.0))
    >>> SpinDynamics(atoms, 1.0 * units.fs).run(100)
    True
    >>> get_spins(atoms).round(3).tolist()                     # turned by gamma B t = 1.759
    [[-0.187, 0.982, 0.0]]
    """

    _needs = ("exchange_fields",)

    def __init__(
        self,
        atoms,
        timestep,
        temperature_K=None,
        damping=0.0,
        rng=None,
        *,
        integrator="midpoint",
        equation="gilbert",
        moment_lengths="fixed",
        frozen_moments=None,
        gyromagnetic_ratio=GYROMAGNETIC_RATIO,
        tolerance=1e-12,
        device=None,
        dtype=None,
        **kwargs,
    ):
        checks.positive("timestep", timestep, "ASE time units")
        checks.positive("tolerance", tolerance, "radians")
        checks.not_negative("damping", damping)
        checks.choice("integrator", integrator, INTEGRATORS)
        checks.choice("equation", equation, ("gilbert", "landau-lifshitz"))
        checks.choice("moment_lengths", moment_lengths, ("fixed", "model"))
        if not np.isfinite(gyromagnetic_ratio) or gyromagnetic_ratio == 0:
            raise InputError(f"Expected a finite gyromagnetic_ratio other than zero, got {gyromagnetic_ratio}.")
        checks.temperature("temperature_K", temperature_K)
        checks.calculator(atoms, self._needs)
        self.temperature_K = temperature_K
        self.damping, self.gyromagnetic_ratio = damping, gyromagnetic_ratio
        if equation == "landau-lifshitz":
            self.damping, self.gyromagnetic_ratio = gilbert_from_landau_lifshitz(damping, gyromagnetic_ratio)
        self.integrator = integrator
        self.tolerance = tolerance
        self.rng = np.random.default_rng(rng)
        self.evaluations = 0
        self.spin_heat = self.work = 0.0
        self.atoms = atoms
        if moment_lengths == "model":
            self._check_lengths()
        frozen = checks.mask("frozen_moments", frozen_moments, len(atoms))
        self._spins = HostSpins(atoms, frozen, moment_lengths == "model")
        self._check_bath()
        self._device = self._device_spins(device, dtype, moment_lengths)
        self._running = False
        set_time(atoms, 0.0)
        super().__init__(atoms, timestep, **kwargs)

    def todict(self):
        """Parameters of the run, as trajectories keep them."""
        return super().todict() | {
            "temperature_K": None if callable(self.temperature_K) else self.temperature_K,
            "damping": self.damping,
            "integrator": self.integrator,
        }

    def step(self):
        """Advance the moments by one time step."""
        middle = self.get_time() + 0.5 * self.dt
        if self._device is not None:
            self._device.step(self, self.get_time(), self._spin_temperature(middle), self._spin_bath())
            return
        self.work += set_time(self.atoms, middle)
        self._advance_spins(middle)
        self.work += set_time(self.atoms, self.get_time() + self.dt)

    def irun(self, steps=50):
        """Run as a generator that yields after every step, with ``atoms`` up to date."""
        if self._device is None:
            yield from super().irun(steps)
            return
        self._load(rebuild=True)
        for done in super().irun(steps):
            if not self._running:
                self._fetch()
            yield done
            if not self._running:
                self._load()

    def run(self, steps=50):
        """Run ``steps`` time steps; returns True."""
        if self._device is None:
            return super().run(steps)
        self._running = True
        try:
            return super().run(steps)
        finally:
            self._running = False
            if self._device.loaded:
                self._fetch()

    def call_observers(self):
        """Call the observers that are due, and write a checkpoint after them if one is due."""
        due = self._device is not None and self._output_due()
        if due:
            self._fetch()
        super().call_observers()
        if due:
            self._load()

    def get_conserved_energy(self):
        """Total energy less what baths and driving have given, in eV; nan if the calculator is not conservative.

        Constant up to the error of the time step. The heat of the spins' bath is the work of the fields on the turn of
        each step, -sum_i m_i H_i.(e'_i - e_i) with H at mid-step.
        """
        if not is_conservative(self.atoms.calc):
            return float("nan")
        return potential_energy(self.atoms) + self.atoms.get_kinetic_energy() - self.spin_heat - self.work

    def state(self):
        """What a checkpoint keeps beside the state of the atoms."""
        names = ("evaluations", "spin_heat", "work")
        device = None if self._device is None else self._device.state()
        return {name: getattr(self, name) for name in names} | {
            "bath": _bath_state(self.temperature_K),
            "device": device,
        }

    def set_state(self, state):
        """Take up the state of a checkpoint."""
        _set_bath_state(self.temperature_K, state["bath"])
        for name in ("evaluations", "spin_heat", "work"):
            setattr(self, name, state[name])
        if self._device is not None:
            self._device.set_state(state.get("device"))
        set_time(self.atoms, self.get_time())

    def forget(self):
        """Drop what was learned on the way, here and in the calculator; the run goes on as from a checkpoint."""
        forget(self.atoms.calc)
        self._spins.adopt(get_moments(self.atoms))
        if self._device is not None:
            self._device.forget()

    def _device_spins(self, device, dtype, moment_lengths):
        if device is None:
            if dtype is not None:
                raise InputError(f"Expected dtype together with device, got dtype={dtype!r} alone: add device='cpu'.")
            return None
        if "forces" in self._needs:
            raise InputError("Expected a frozen lattice for spins on a device, got moving atoms: leave device out.")
        if moment_lengths == "model":
            raise InputError("Expected moment_lengths='fixed' for spins on a device, got 'model': leave device out.")
        from ase_spinml.dynamics.device import DeviceSpins

        return DeviceSpins(device, dtype, self.rng)

    def _load(self, rebuild=False):
        """Take the moments of the atoms to the device, if they are not those that came from it."""
        moments = get_moments(self.atoms)
        self._spins.follow(moments)
        self._device.load(self.atoms, moments, self._spins.moving, rebuild)

    def _fetch(self):
        """Bring the moments of the atoms and the account of heat and work up to date."""
        moments, heat, work = self._device.fetch()
        self.atoms.arrays[MOMENTS] = moments
        self.spin_heat += heat
        self.work += work

    def _output_due(self):
        """Whether an observer or a checkpoint is due at this step; intervals as in ASE."""
        intervals = [interval for _, interval, *_ in self.observers]
        if self._checkpoint is not None:
            intervals.append(self._checkpoint_interval)
        return any(self.nsteps % n == 0 if n > 0 else self.nsteps == abs(n) for n in intervals)

    def _check_bath(self):
        if self.temperature_K is not None and not self.damping > 0:
            raise InputError("Expected damping > 0 with temperature_K, got none: no bath acts on the spins.")

    def _check_lengths(self):
        names = [name for term, _ in terms_of(self.atoms.calc) for name in term.implemented_properties]
        if "magmoms" not in names:
            raise InputError(
                "Expected a calculator that gives magmoms with moment_lengths='model', got "
                f"{type(self.atoms.calc).__name__} without: use SpinCalculator, or moment_lengths='fixed'."
            )

    def _refresh_properties(self):
        """Nothing: a frozen lattice needs no forces (ASE asks for them after every step)."""

    def _advance_spins(self, time):
        heat = self._spins.step(self, self._spin_temperature(time))
        self.spin_heat += heat
        give(self._spin_bath(), heat)

    def _spin_bath(self):
        """The temperature of the spins' bath as the user gave it."""
        return self.temperature_K

    def _spin_temperature(self, time):
        return bath_temperature(self._spin_bath(), time)


class SpinLatticeDynamics(SpinDynamics):
    """Coupled motion of atoms and moments.

    One step is the symmetric splitting B A O S A B: half a kick by the forces, half a drift, Langevin's friction and
    noise on the momenta, a full step of the spins at the positions of mid-step, half a drift, half a kick. It is
    second order and, without baths and with the midpoint integrator, time reversible and symplectic, so that the total
    energy oscillates but does not drift. Forces are evaluated once per step, at its end; the spin step asks for
    ``exchange_fields`` only, at fixed positions. ASE constraints hold for the positions and momenta.

    Parameters
    ----------
    atoms, timestep, damping, rng, **kwargs
        As in :class:`SpinDynamics`; the calculator also gives forces.
    temperature_K : float or callable, optional
        Temperature of both baths in K; needs friction, damping or both. Without it the run is NVE, unless friction or
        damping cool it.
    friction : float
        Langevin's friction on the momenta in 1/ASE time.
    spin_temperature_K : float or callable, optional
        Temperature of the spins' bath where it is another one.
    pressure : float, optional
        In eV/Angstrom^3, ``units.GPa`` for instance: the cell and the positions are scaled, all directions alike, at
        moments that stay (:mod:`ase_spinml.dynamics.barostat`). With ``temperature_K`` this samples the isobaric
        ensemble, without it relaxes the volume. The calculator also gives stress.
    compressibility : float
        Estimate in Angstrom^3/eV, needed with a pressure; it sets how fast the volume follows, not where it goes.
    pressure_relaxation_time : float
        In ASE time units, 1 ps if not given.
    pressure_interval : int
        Time steps from one scaling to the next. Each costs one more evaluation of forces and one or two of stress.

    Attributes
    ----------
    lattice_heat, barostat_heat : float
        Energy in eV that the bath of the lattice, and the barostat beside -P dV, have given.

    Raises
    ------
    InputError
        As :class:`SpinDynamics`, and for a model that was fitted on undisplaced frames only (attribute
        ``lattice_fitted`` of the calculator is False). A sum of calculators with such a term is refused unless
        another term pulls displaced atoms back.

    Examples
    --------
    >>> from ase import units
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.calculators.mixing import SumCalculator
    >>> from ase_spinml import Anisotropy, NonMagnetic, SpinLatticeDynamics, set_moments
    >>> atoms = bulk("Ni", cubic=True)
    >>> set_moments(atoms, [[0.1, 0, 0.6]] * 4)
    >>> atoms.calc = SumCalculator([NonMagnetic(EMT()), Anisotropy(uniaxial=0.001)])
    >>> bath = {"temperature_K": 300, "friction": 0.01 / units.fs, "damping": 0.05, "rng": 0}
    >>> dynamics = SpinLatticeDynamics(atoms, 1.0 * units.fs, **bath)
    >>> before = dynamics.get_conserved_energy()
    >>> dynamics.run(20)
    True
    >>> bool(abs(dynamics.get_conserved_energy() - before) < 1e-3)          # total energy less all heat
    True
    """

    _needs = ("exchange_fields", "forces")

    def __init__(
        self,
        atoms,
        timestep,
        temperature_K=None,
        friction=0.0,
        damping=0.0,
        rng=None,
        *,
        spin_temperature_K=None,
        pressure=None,
        compressibility=None,
        pressure_relaxation_time=1000 * units.fs,
        pressure_interval=10,
        **kwargs,
    ):
        checks.not_negative("friction", friction)
        checks.temperature("spin_temperature_K", spin_temperature_K)
        self.friction = friction
        self.spin_temperature_K = spin_temperature_K
        self.lattice_heat = self.barostat_heat = 0.0
        super().__init__(atoms, timestep, temperature_K, damping, rng, **kwargs)
        checks.lattice(atoms)
        self._barostat = None
        if pressure is not None:
            self._barostat = Barostat(atoms, pressure, compressibility, pressure_relaxation_time, pressure_interval)

    def todict(self):
        """Parameters of the run, as trajectories keep them."""
        return super().todict() | {"friction": self.friction}

    def step(self):
        """Advance positions, momenta and moments by one time step."""
        atoms, middle = self.atoms, self.get_time() + 0.5 * self.dt
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * atoms.get_forces(md=True))
        self._drift()
        self._exchange_heat(middle)
        self.work += set_time(atoms, middle)
        self._advance_spins(middle)
        self.work += set_time(atoms, self.get_time() + self.dt)
        self._drift()
        self.evaluations += 1
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * atoms.get_forces(md=True))
        if self._barostat is not None and (self.nsteps + 1) % self._barostat.interval == 0:
            bath = bath_temperature(self.temperature_K, self.get_time() + self.dt) or 0.0
            self.barostat_heat += self._barostat.rescale(atoms, bath, self.dt, self.rng)
            self.evaluations += 1

    def get_conserved_energy(self):
        """Total energy less what both baths and driving have given, in eV; nan if it is not conserved.

        With a pressure E + P V less that, and less the heat of the barostat, which is taken from the stress.
        """
        energy = super().get_conserved_energy() - self.lattice_heat - self.barostat_heat
        return energy if self._barostat is None else energy + self._barostat.energy(self.atoms)

    def state(self):
        """What a checkpoint keeps beside the state of the atoms."""
        heats = {"lattice_heat": self.lattice_heat, "barostat_heat": self.barostat_heat}
        return super().state() | heats | {"own_spin_bath": _bath_state(self.spin_temperature_K)}

    def set_state(self, state):
        """Take up the state of a checkpoint."""
        self.lattice_heat, self.barostat_heat = state["lattice_heat"], state["barostat_heat"]
        _set_bath_state(self.spin_temperature_K, state["own_spin_bath"])
        super().set_state(state)

    def _exchange_heat(self, time):
        """Langevin's friction and noise over a full time step."""
        if self.friction == 0:
            return
        atoms, before = self.atoms, self.atoms.get_kinetic_energy()
        bath = (bath_temperature(self.temperature_K, time) or 0.0, self.friction, self.dt, self.rng)
        atoms.set_momenta(langevin_momenta(atoms.get_momenta(), atoms.get_masses(), *bath))
        heat = atoms.get_kinetic_energy() - before
        self.lattice_heat += heat
        give(self.temperature_K, heat)

    def _drift(self):
        """Half a time step at constant momenta, with RATTLE's correction where there are constraints."""
        atoms, masses = self.atoms, self.atoms.get_masses()[:, None]
        start, momenta = atoms.get_positions(), atoms.get_momenta()
        atoms.set_positions(start + 0.5 * self.dt * momenta / masses)
        if atoms.constraints:
            atoms.set_momenta((atoms.get_positions() - start) * masses / (0.5 * self.dt))

    def _spin_bath(self):
        return self.temperature_K if self.spin_temperature_K is None else self.spin_temperature_K

    def _check_bath(self):
        if self.spin_temperature_K is not None and not self.damping > 0:
            raise InputError("Expected damping > 0 with spin_temperature_K, got none: no bath acts on the spins.")
        if self.temperature_K is not None and not (self.damping > 0 or self.friction > 0):
            raise InputError("Expected friction > 0 or damping > 0 with temperature_K, got neither: no bath acts.")

    def _refresh_properties(self):
        self.atoms.get_forces()


def _bath_state(bath):
    return bath.state() if hasattr(bath, "state") else None


def _set_bath_state(bath, state):
    if state is not None:
        bath.set_state(state)
