"""Spins that stay on a torch device from one output to the next, whatever the number of steps between.

The step functions are those of every run; spins, fields and noise are tensors of the device, spins stored as the
columns of an (N, 3) view. Nothing is copied back and no step waits for the device, except that the midpoint step reads
its residual, and that a bath that keeps account reads the heat. The fields come from the calculator's
``torch_fields`` (:mod:`ase_spinml.calculators.tensors`).
"""

import numpy as np

from ase_spinml.devices import torch_device, torch_dtype
from ase_spinml.dynamics.integrators import INTEGRATORS
from ase_spinml.dynamics.solver import PlainMemory
from ase_spinml.dynamics.thermostats import give, thermal_amplitude
from ase_spinml.errors import InputError
from ase_spinml.moments import MOMENTS, unit_rows
from ase_spinml.terms import set_clocks, terms_of

ROUNDING = 8
"""The midpoint step is not solved beyond this many units of rounding."""


class DeviceSpins:
    """The moving spins of a run on a device.

    Parameters
    ----------
    device : str or torch.device
        "cpu", "cuda" or "cuda:0", ...
    dtype : str or torch.dtype, optional
        "float64" (default) or "float32".
    rng : numpy.random.Generator
        Gives the seed of the device's own generator.

    Attributes
    ----------
    heat, work : tensors without dimensions
        Energy in eV given by the bath and by driving since :meth:`fetch`.

    Raises
    ------
    InputError
        A device or dtype that is not there.
    """

    def __init__(self, device, dtype, rng):
        import torch

        self.device, self.dtype = torch_device(device), torch_dtype(dtype)
        self._generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**63)))
        self._written = None

    def load(self, atoms, moments, moving, rebuild=True):
        """Take over the moments, unless they are those of the last :meth:`fetch`.

        Parameters
        ----------
        atoms : ase.Atoms
            Gives the calculator and what its terms need.
        moments : (N, 3) array
            In mu_B.
        moving : (N,) bool array
            Moments that may move, n of them.
        rebuild : bool
            Ask the calculator for its fields anew, as positions or constants may have changed.
        """
        import torch

        known = self.loaded and np.array_equal(moments, self._written)
        if not known:
            self._first = moments.copy()
        if rebuild or not known:
            frame = atoms.copy()
            frame.calc, frame.arrays[MOMENTS] = atoms.calc, self._first  # the same lengths to the last bit
            self._fields, self._energies = field_functions(frame, self.device, self.dtype)
        if known:
            return
        lengths = np.linalg.norm(moments[moving], axis=1)
        self._host_lengths, self._moving = lengths, moving
        self._lengths = self._tensor(lengths)
        self._thermal = self._tensor(1.0 / np.sqrt(lengths))[:, None]
        self._spins = self._columns(unit_rows(moments[moving]))
        self._all = None if moving.all() else self._columns(unit_rows(moments))
        self._index = torch.as_tensor(np.flatnonzero(moving), device=self.device)
        self._memory = PlainMemory()
        self._written = np.array(moments)
        self.heat, self.work = (torch.zeros((), dtype=torch.float64, device=self.device) for _ in range(2))

    def step(self, dynamics, time, temperature_K, bath):
        """Advance the spins by one time step.

        Parameters
        ----------
        dynamics : SpinDynamics
            Gives the parameters of the step; its ``evaluations`` are counted.
        time : float
            At the start of the step, ASE time units.
        temperature_K : float or None
            Of the bath, at mid-step.
        bath : object
            Told of the heat if it has a method ``give``.
        """
        self._drive(dynamics.atoms.calc, time + 0.5 * dynamics.dt)
        gamma, alpha = dynamics.gyromagnetic_ratio, dynamics.damping
        options = {"damping": alpha, "gyromagnetic_ratio": gamma}
        if temperature_K is not None and alpha > 0:
            options["noise"] = self._noise(thermal_amplitude(temperature_K, alpha, dynamics.dt, gamma))
        if dynamics.integrator == "midpoint":
            import torch

            tolerance = max(dynamics.tolerance, ROUNDING * torch.finfo(self.dtype).eps)
            options |= {"memory": self._memory, "tolerance": tolerance}

        def field(spins):
            dynamics.evaluations += 1
            return self._field(spins)

        turned, acting = INTEGRATORS[dynamics.integrator](self._spins, field, dynamics.dt, **options)
        if alpha > 0:
            heat = -((acting * (turned - self._spins)).sum(1) @ self._lengths).double()
            self.heat += heat
            if hasattr(bath, "give"):
                give(bath, float(heat))
        self._spins = turned
        self._drive(dynamics.atoms.calc, time + dynamics.dt)

    @property
    def loaded(self):
        """Whether there are spins to :meth:`fetch`."""
        return self._written is not None

    def fetch(self):
        """Moments (N, 3) in mu_B, heat and work in eV since the last call.

        Raises
        ------
        InputError
            Spins that are no longer finite numbers.
        """
        spins = self._spins.detach().double().cpu().numpy()
        if not np.isfinite(spins).all():
            raise InputError(
                "Expected finite exchange fields from the calculator, got NaN or infinity: check the model, or use a "
                "smaller timestep."
            )
        moments = self._written.copy()
        moments[self._moving] = self._host_lengths[:, None] * unit_rows(spins)
        heat, work = float(self.heat), float(self.work)
        self.heat.zero_()
        self.work.zero_()
        self._written = moments
        return moments.copy(), heat, work

    def forget(self):
        """Take the moments from the atoms again, as a run does that starts from a checkpoint."""
        self._written = None

    def state(self):
        """What a checkpoint keeps, as JSON values."""
        return {"device": self.device.type, "generator": bytes(self._generator.get_state().tolist()).hex()}

    def set_state(self, state):
        """Take up the state of a checkpoint."""
        import torch

        if state is None or state["device"] != self.device.type:
            found = "without a device" if state is None else f"on {state['device']!r}"
            raise InputError(
                f"Expected the checkpoint of a run on {self.device.type!r}, got one {found}: "
                f"give device= as in the run that wrote it."
            )
        self._generator.set_state(torch.tensor(list(bytes.fromhex(state["generator"])), dtype=torch.uint8))

    def _field(self, spins):
        """Fields (n, 3) of the moving spins."""
        if self._all is None:
            return self._fields(spins)
        self._all.index_copy_(0, self._index, spins)
        return self._fields(self._all).index_select(0, self._index)

    def _drive(self, calc, time):
        """Set the clocks, and add the work this does at fixed spins."""
        driven = [(energy, weight) for term, energy, weight in self._energies if term.time != time]
        if driven:
            self.work -= self._energy(driven)
        set_clocks(calc, time)
        if driven:
            self.work += self._energy(driven)

    def _energy(self, driven):
        spins = self._spins if self._all is None else self._all.index_copy_(0, self._index, self._spins)
        return sum(weight * energy(spins) for energy, weight in driven)

    def _noise(self, amplitude):
        """Thermal field (n, 3), of the given standard deviation for 1 mu_B; drawn in single precision."""
        import torch

        shape, options = (3, len(self._spins)), {"device": self.device, "generator": self._generator}
        noise = torch.randn(shape, dtype=torch.float32, **options).to(self.dtype).T
        return noise.mul_(amplitude * self._thermal)

    def _tensor(self, array):
        import torch

        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def _columns(self, rows):
        """Tensor (n, 3) that is stored one column after the other."""
        import torch

        return self._tensor(rows.T).clone(memory_format=torch.contiguous_format).T


def field_functions(atoms, device, dtype):
    """Total field of the calculator as a function of tensors, and the energies that depend on time.

    Returns
    -------
    fields : callable
        Unit spins (N, 3) -> H (N, 3) in eV/mu_B.
    energies : list of (term, callable, float)
        Terms whose energy varies in time, spins (N, 3) -> energy in eV, and their weights.

    Raises
    ------
    InputError
        A term without ``torch_fields``, or one that varies in time, without ``torch_energy``.
    """
    parts, energies = [], []
    for term, weight in terms_of(atoms.calc):
        driven = hasattr(term, "time") and getattr(term, "varies", True) and getattr(term, "conservative", True)
        for name in ["torch_fields", "torch_energy"][: 1 + driven]:
            if not hasattr(term, name):
                raise InputError(
                    f"Expected calculators with {name} for spins on a device, got {type(term).__name__} without: leave "
                    f"device out, or give the calculator that method."
                )
        parts.append((term.torch_fields(atoms, device, dtype), weight))
        if driven:
            energies.append((term, term.torch_energy(atoms, device, dtype), weight))

    def fields(spins):
        total = None
        for part, weight in parts:
            field = part(spins) if weight == 1.0 else weight * part(spins)
            total = field if total is None else total + field
        return total

    return fields, energies
