"""The moments of an Atoms object as a run moves them: which move, how long they are, what the solver has learned."""

import numpy as np

from ase_spinml.dynamics.coupling import PairCouplings
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.solver import MidpointMemory, transverse
from ase_spinml.dynamics.thermostats import thermal_field
from ase_spinml.errors import InputError
from ase_spinml.moments import MOMENTS, get_moments, set_moments, unit_rows
from ase_spinml.terms import effective_field, effective_fields, terms_of


class HostSpins:
    """The moving moments of a run whose calculator is asked through ASE.

    Parameters
    ----------
    atoms : ase.Atoms
        With moments (N, 3), n of which move.
    frozen : (N,) bool
        Moments that do not.
    follow_model : bool
        Take the lengths from the calculator's ``magmoms`` at every evaluation.

    Attributes
    ----------
    lengths : (N,)
        In mu_B.
    moving : (N,) bool
        Moments above zero that are not frozen.
    """

    def __init__(self, atoms, frozen, follow_model):
        self._frozen, self._follow_model = frozen, follow_model
        self.adopt(get_moments(atoms))

    def adopt(self, moments):
        """Take lengths and moving moments from ``moments`` (N, 3), and forget what was learned with others."""
        self.lengths = np.linalg.norm(moments, axis=1)
        self.moving = (self.lengths > 0) & ~self._frozen
        if not (self.lengths > 0).any():
            raise InputError("Expected a moment above zero, got none: set them with set_moments(atoms, moments).")
        if not self.moving.any():
            raise InputError("Expected a moment that may move, got frozen_moments with all of them: leave some out.")
        self._memory = MidpointMemory()
        self._couplings = PairCouplings(self.moving)

    def follow(self, moments):
        """Adopt ``moments`` (N, 3) if their lengths are others than those known."""
        if not np.allclose(np.linalg.norm(moments, axis=1), self.lengths, rtol=1e-9, atol=0.0):
            self.adopt(moments)

    def step(self, dynamics, temperature_K):
        """Advance the moments of the atoms by one time step.

        Parameters
        ----------
        dynamics : SpinDynamics
            Gives atoms, parameters of the step and random numbers; its ``evaluations`` are counted.
        temperature_K : float or None
            Of the bath, at mid-step.

        Returns
        -------
        float
            Heat from the bath in eV.
        """
        atoms = dynamics.atoms
        moments = self._moments = get_moments(atoms)
        self.follow(moments)
        try:
            spins = np.asfortranarray(unit_rows(moments[self.moving]))  # columns one after the other are fastest
            turned, field = self._turned(dynamics, spins, temperature_K)
            self._write(atoms, turned)
        except BaseException:  # an interrupt too must not leave moments of mid-step behind
            set_moments(atoms, moments)
            self.lengths = np.linalg.norm(moments, axis=1)
            raise
        if dynamics.damping == 0:
            return 0.0
        return -float(np.sum(self.lengths[self.moving, None] * field * (turned - spins)))

    def _turned(self, dynamics, spins, temperature_K):
        """Spins (n, 3) one time step later, and the fields (n, 3) that turned them."""
        lengths, alpha, gamma = self.lengths[self.moving], dynamics.damping, dynamics.gyromagnetic_ratio
        options = {"damping": alpha, "gyromagnetic_ratio": gamma}
        if temperature_K is not None and alpha > 0:
            noise = thermal_field(lengths, temperature_K, alpha, dynamics.dt, gamma, dynamics.rng)
            options["noise"] = np.asfortranarray(noise)

        def field(spins):
            self._write(dynamics.atoms, spins)
            dynamics.evaluations += 1
            atoms = dynamics.atoms
            fields = self._adiabatic_fields(atoms, spins) if self._follow_model else effective_fields(atoms)
            return np.asfortranarray(fields[self.moving])

        if dynamics.integrator == "midpoint":
            options |= {"memory": self._memory, "tolerance": dynamics.tolerance}
            if self._couplings.due():
                frames = self._memory.frames[::-4] or [(spins, transverse(field(spins), spins))]
                self._memory.couple(self._couplings.fit(dynamics.atoms, lengths, frames))
        return INTEGRATORS[dynamics.integrator](spins, field, dynamics.dt, **options)

    def _adiabatic_fields(self, atoms, spins):
        """Fields (N, 3) at the lengths that the model has for these spins, which are taken over.

        The model's energy depends on directions, so its fields go with the inverse length: asking it once is enough.
        """
        terms = terms_of(atoms.calc)
        model, weight = next(pair for pair in terms if "magmoms" in pair[0].implemented_properties)
        fields = weight * effective_field(model, atoms)
        lengths = np.linalg.norm(model.get_property("magmoms", atoms), axis=1)[self.moving]
        if not (lengths > 0).all():
            raise InputError("Expected magmoms above zero for all moments, got zero: use moment_lengths='fixed'.")
        fields[self.moving] *= (self.lengths[self.moving] / lengths)[:, None]
        self.lengths[self.moving] = lengths
        self._write(atoms, spins)
        others = [w * effective_field(term, atoms) for term, w in terms if term is not model]
        return sum(others, fields)

    def _write(self, atoms, spins):
        moments = self._moments.copy()
        moments[self.moving] = self.lengths[self.moving, None] * spins
        atoms.arrays[MOMENTS] = moments
