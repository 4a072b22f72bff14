"""States to label with a lattice model: snapshots of quenches, and ordered states with every spin disturbed."""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np
from ase import units

from ase_spinml.dynamics.md import SpinDynamics
from ase_spinml.errors import InputError
from ase_spinml.moments import cone, get_moments, get_spins, random_directions, set_moments
from ase_spinml.sampling.recipes import values, whole


@dataclass
class Task:
    """Frames that are made and labelled in one go.

    Attributes
    ----------
    kind : str
        "quench" or "perturbed", the frames' ``config_type``.
    atoms : ase.Atoms
        Where it starts: lattice and moments.
    options : dict
        Numbers of its kind.
    seed : int
    """

    kind: str
    atoms: object
    options: dict = field(default_factory=dict)
    seed: int = 0

    @property
    def key(self):
        """Name that is the same for the same task, and for no other."""
        digest = hashlib.sha256(json.dumps([self.kind, self.options, self.seed], sort_keys=True).encode())
        for array in (self.atoms.numbers, self.atoms.positions, self.atoms.cell.array, get_moments(self.atoms)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"{self.kind}-{digest.hexdigest()[:16]}"

    @property
    def n_frames(self):
        """How many frames it makes."""
        return len(self.options["times"]) if self.kind == "quench" else 1

    def frames(self, calc):
        """Its frames one after the other, with moments and ``calc``; the same Atoms every time."""
        return (_quench if self.kind == "quench" else _perturbed)(self.atoms.copy(), calc, self.seed, **self.options)


def spin_quenches(
    atoms, count, times, timestep=0.2, damping=0.1, temperature=0.0, gyromagnetic_ratio=1.0, random=True, rng=None
):
    """Quenches: random spins are suddenly put in contact with a cold bath, and followed.

    Parameters
    ----------
    atoms : ase.Atoms
        Lattice with moments; their lengths stay.
    count : int
        Runs.
    times : sequence of float
        When to keep a snapshot, such as ``numpy.geomspace(1, 100, 10)``; taken to the nearest step, and the first
        snapshot is the start if it is zero.
    timestep, damping, gyromagnetic_ratio : float
        Of :class:`ase_spinml.SpinDynamics`. By default those of lattice models, time in hbar/t.
    temperature : float
        Of the bath, in units of energy (eV, or the t of a lattice model).
    random : bool
        Start from random directions; if not, from those of ``atoms``.
    rng : seed or numpy Generator

    Returns
    -------
    list of Task

    Raises
    ------
    InputError
        Times that do not rise from step to step, no runs.
    """
    times = values("times", times, 0.0)
    steps = np.rint(np.array(times) / timestep)
    if (np.diff(steps) < 1).any():
        raise InputError(f"Expected times that rise by at least one timestep of {timestep:g}, got {times}.")
    options = {
        "times": times,
        "timestep": float(timestep),
        "damping": float(damping),
        "temperature": float(temperature),
        "gyromagnetic_ratio": float(gyromagnetic_ratio),
        "random": bool(random),
    }
    seeds = np.random.default_rng(rng).integers(2**31, size=whole("count", count)).tolist()
    return [Task("quench", atoms.copy(), options, seed) for seed in seeds]


def perturbed_states(frames, angles, count=1, rng=None):
    """States with every spin at random within a cone about its direction.

    Parameters
    ----------
    frames : ase.Atoms or list of ase.Atoms
        With moments: ordered states, domain walls, skyrmions.
    angles : float or sequence of float
        Opening half-angles of the cones in degrees.
    count : int
        For each frame and angle.
    rng : seed or numpy Generator

    Returns
    -------
    list of Task
    """
    frames = [frames] if hasattr(frames, "positions") else list(frames)
    angles = values("angles", angles, 0.0, 180.0, "degrees")
    rng, count = np.random.default_rng(rng), whole("count", count)
    return [
        Task("perturbed", frame.copy(), {"angle": angle}, int(rng.integers(2**31)))
        for frame in frames
        for angle in angles
        for _ in range(count)
    ]


def _perturbed(atoms, calc, seed, angle):
    lengths = np.linalg.norm(get_moments(atoms), axis=1, keepdims=True)
    set_moments(atoms, lengths * cone(get_spins(atoms), angle, seed, filled=True))
    atoms.calc = calc
    atoms.info = {"angle": angle}
    yield atoms


def _quench(atoms, calc, seed, times, timestep, damping, temperature, gyromagnetic_ratio, random):
    rng = np.random.default_rng(seed)
    lengths = np.linalg.norm(get_moments(atoms), axis=1, keepdims=True)
    if random:
        set_moments(atoms, lengths * random_directions(len(atoms), rng))
    atoms.calc = calc
    dynamics = SpinDynamics(
        atoms,
        timestep,
        temperature_K=temperature / units.kB if temperature else None,
        damping=damping,
        gyromagnetic_ratio=gyromagnetic_ratio,
        rng=rng,
        progress=False,
    )
    for time in times:
        steps = round(time / timestep) - dynamics.nsteps
        if steps > 0:
            dynamics.run(steps)
        atoms.info = {"time": dynamics.nsteps * timestep}
        yield atoms
