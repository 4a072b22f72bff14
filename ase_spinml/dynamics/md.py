"""Spin and coupled spin-lattice dynamics as ASE MolecularDynamics classes, for any calculator with exchange_fields.

The state is that of the Atoms: positions, momenta and the moments in ``arrays["initial_magmoms"]``. Moment lengths
are kept; zero moments stay zero. Spins have no kinetic energy: ``atoms.get_total_energy()`` is the conserved
quantity."""

import numpy as np
from ase.md.md import MolecularDynamics

from ase_spinml.dynamics.coupling import PairCouplings
from ase_spinml.dynamics.llg import midpoint_step
from ase_spinml.dynamics.logger import SpinLogger
from ase_spinml.dynamics.solver import MidpointMemory, transverse
from ase_spinml.dynamics.thermostats import langevin_momenta, thermal_field
from ase_spinml.errors import InputError
from ase_spinml.moments import MOMENTS, get_moments, set_moments, unit_rows
from ase_spinml.units import GYROMAGNETIC_RATIO


class SpinDynamics(MolecularDynamics):
    """Motion of the moments on a frozen lattice, dm/dt = -gamma m x H with Gilbert damping and a heat bath on request.

    One step is one spherical midpoint step (:func:`ase_spinml.dynamics.llg.midpoint_step`), iterated to
    ``tolerance``. Without damping it is time reversible and keeps the energy; without a temperature there is no
    noise, and damping relaxes.

    Parameters
    ----------
    atoms : ase.Atoms
        With moment vectors (:func:`ase_spinml.set_moments`) and a calculator that gives ``exchange_fields``.
    timestep : float
        In ASE time units.
    temperature_K : float, optional
        Temperature of the bath in K; needs damping.
    damping : float
        Gilbert's alpha.
    rng : seed or numpy.random.Generator
        Source of the noise.
    trajectory, logfile, loginterval
        As in ASE; the log adds the mean moment and the evaluations per step.
    gyromagnetic_ratio : float
        gamma in 1/(eV ASE time) per mu_B.
    tolerance : float
        Bound on the residual of the implicit step, in radians.
    **kwargs
        Passed on to ASE's MolecularDynamics.

    Attributes
    ----------
    evaluations : int
        Evaluations of fields or forces asked for by the steps so far.

    Raises
    ------
    InputError
        Unusable parameters, moments or calculator; while running: a step that does not converge.
    """

    _needs = ("exchange_fields",)

    def __init__(
        self,
        atoms,
        timestep,
        temperature_K=None,
        damping=0.0,
        rng=None,
        trajectory=None,
        logfile=None,
        loginterval=1,
        gyromagnetic_ratio=GYROMAGNETIC_RATIO,
        tolerance=1e-12,
        **kwargs,
    ):
        _check_positive("timestep", timestep, "ASE time units")
        _check_positive("tolerance", tolerance, "radians")
        _check_not_negative("damping", damping)
        if not np.isfinite(gyromagnetic_ratio) or gyromagnetic_ratio == 0:
            raise InputError(f"Expected a finite gyromagnetic_ratio other than zero, got {gyromagnetic_ratio}.")
        if temperature_K is not None:
            _check_not_negative("temperature_K", temperature_K)
        _check_calculator(atoms, self._needs)
        self.temperature_K = temperature_K
        self.damping = damping
        self.gyromagnetic_ratio = gyromagnetic_ratio
        self.tolerance = tolerance
        self.rng = np.random.default_rng(rng)
        self.evaluations = 0
        self._adopt(get_moments(atoms))
        self._check_bath()
        super().__init__(atoms, timestep, trajectory=trajectory, loginterval=loginterval, **kwargs)
        if logfile:
            self.attach(self.closelater(SpinLogger(self, atoms, logfile)), loginterval)

    def todict(self):
        """Parameters of the run, as trajectories keep them."""
        return super().todict() | {"temperature_K": self.temperature_K, "damping": self.damping}

    def step(self):
        """Advance the moments by one time step."""
        self._advance_spins()

    def _check_bath(self):
        if self.temperature_K is not None and not self.damping > 0:
            raise InputError("Expected damping > 0 with temperature_K, got none: no bath acts on the spins.")

    def _refresh_properties(self):
        """Nothing: a frozen lattice needs no forces (ASE asks for them after every step)."""

    def _adopt(self, moments):
        """Take lengths and magnetic atoms from ``moments`` (N, 3), and forget what was learned with others."""
        self._lengths = np.linalg.norm(moments, axis=1)
        self._magnetic = self._lengths > 0
        if not self._magnetic.any():
            raise InputError("Expected a moment above zero, got none: set them with set_moments(atoms, moments).")
        self._memory = MidpointMemory()
        self._couplings = PairCouplings(self._magnetic)

    def _advance_spins(self):
        moments = get_moments(self.atoms)
        if not np.allclose(np.linalg.norm(moments, axis=1), self._lengths, rtol=1e-9, atol=0.0):
            self._adopt(moments)
        try:
            self._write(self._turned(unit_rows(moments[self._magnetic])))
        except BaseException:  # an interrupt too must not leave moments of mid-step behind
            set_moments(self.atoms, moments)
            raise

    def _turned(self, spins):
        """Spins (n, 3) of the magnetic atoms one time step later."""
        lengths = self._lengths[self._magnetic]
        if self._couplings.due():
            frames = self._memory.frames[::-4] or [(spins, transverse(self._field(spins), spins))]
            self._memory.couple(self._couplings.fit(self.atoms, lengths, frames))
        noise = None
        if self.temperature_K is not None and self.damping > 0:
            bath = (self.temperature_K, self.damping, self.dt, self.gyromagnetic_ratio, self.rng)
            noise = thermal_field(lengths, *bath)
        return midpoint_step(
            spins,
            self._field,
            self.dt,
            damping=self.damping,
            noise=noise,
            gyromagnetic_ratio=self.gyromagnetic_ratio,
            memory=self._memory,
            tolerance=self.tolerance,
        )

    def _field(self, spins):
        """Fields (n, 3) of the magnetic atoms with their moments turned to ``spins``."""
        self._write(spins)
        self.evaluations += 1
        return self.atoms.calc.get_property("exchange_fields", self.atoms)[self._magnetic]

    def _write(self, spins):
        moments = np.zeros((len(self.atoms), 3))
        moments[self._magnetic] = self._lengths[self._magnetic, None] * spins
        self.atoms.arrays[MOMENTS] = moments


class SpinLatticeDynamics(SpinDynamics):
    """Coupled motion of atoms and moments.

    One step is the symmetric splitting B A O S A B: half a kick by the forces, half a drift, Langevin's friction and
    noise on the momenta, a full midpoint step of the spins at the positions of mid-step, half a drift, half a kick.
    It is second order and, without baths, time reversible and symplectic, so that the total energy oscillates but
    does not drift. Forces are evaluated once per step, at its end; the spin step asks for ``exchange_fields`` only,
    at fixed positions. ASE constraints hold for the positions and momenta.

    Parameters
    ----------
    atoms, timestep, damping, rng, trajectory, logfile, loginterval, gyromagnetic_ratio, tolerance, **kwargs
        As in :class:`SpinDynamics`; the calculator also gives forces.
    temperature_K : float, optional
        Temperature of both baths in K; needs friction, damping or both. Without it the run is NVE, unless friction or
        damping cool it.
    friction : float
        Langevin's friction on the momenta in 1/ASE time.

    Raises
    ------
    InputError
        As :class:`SpinDynamics`, and for a model that was fitted on undisplaced frames only (attribute
        ``lattice_fitted`` of the calculator is False). A sum of calculators with such a term is refused unless
        another term pulls displaced atoms back.
    """

    _needs = ("exchange_fields", "forces")

    def __init__(self, atoms, timestep, temperature_K=None, friction=0.0, damping=0.0, rng=None, **kwargs):
        _check_not_negative("friction", friction)
        self.friction = friction
        super().__init__(atoms, timestep, temperature_K, damping, rng, **kwargs)
        _check_lattice(atoms)

    def todict(self):
        """Parameters of the run, as trajectories keep them."""
        return super().todict() | {"friction": self.friction}

    def step(self):
        """Advance positions, momenta and moments by one time step."""
        atoms = self.atoms
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * atoms.get_forces(md=True))
        self._drift()
        if self.friction > 0:
            bath = (self.temperature_K or 0.0, self.friction, self.dt, self.rng)
            atoms.set_momenta(langevin_momenta(atoms.get_momenta(), atoms.get_masses(), *bath))
        self._advance_spins()
        self._drift()
        self.evaluations += 1
        atoms.set_momenta(atoms.get_momenta() + 0.5 * self.dt * atoms.get_forces(md=True))

    def _drift(self):
        """Half a time step at constant momenta, with RATTLE's correction where there are constraints."""
        atoms, masses = self.atoms, self.atoms.get_masses()[:, None]
        start, momenta = atoms.get_positions(), atoms.get_momenta()
        atoms.set_positions(start + 0.5 * self.dt * momenta / masses)
        if atoms.constraints:
            atoms.set_momenta((atoms.get_positions() - start) * masses / (0.5 * self.dt))

    def _check_bath(self):
        if self.temperature_K is not None and not (self.damping > 0 or self.friction > 0):
            raise InputError("Expected friction > 0 or damping > 0 with temperature_K, got neither: no bath acts.")

    def _refresh_properties(self):
        self.atoms.get_forces()


def _check_positive(name, value, unit):
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"Expected {name} > 0 in {unit}, got {value}.")


def _check_not_negative(name, value):
    if not (np.isfinite(value) and value >= 0):
        raise InputError(f"Expected {name} >= 0, got {value}.")


def _check_calculator(atoms, needs):
    if atoms.calc is None:
        raise InputError("Expected atoms with a calculator, got none: set atoms.calc, a SpinCalculator for instance.")
    missing = [name for name in needs if name not in atoms.calc.implemented_properties]
    if missing:
        raise InputError(
            f"Expected a calculator that gives {' and '.join(needs)}, got {type(atoms.calc).__name__} without "
            f"{' and '.join(missing)}: use SpinCalculator, or NonMagnetic(calc) for a term without moments."
        )


def _check_lattice(atoms):
    """Refuse a calculator whose forces come from undisplaced frames alone."""
    terms = atoms.calc.mixer.calcs if hasattr(atoms.calc, "mixer") else [atoms.calc]
    fitted = [term for term in terms if getattr(term, "lattice_fitted", True)]
    if len(fitted) == len(terms):
        return
    displaced = atoms.copy()
    displaced.positions += np.random.default_rng(0).normal(scale=0.02, size=displaced.positions.shape)
    if not any(term.get_property("forces", displaced).any() for term in fitted):
        raise InputError(
            "Expected a model that knows the lattice, got one fitted on undisplaced frames only, whose forces mean "
            "nothing: fit it to displaced frames with forces, add a calculator of the lattice, or use SpinDynamics."
        )
