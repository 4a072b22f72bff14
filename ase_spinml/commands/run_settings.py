"""The settings of ``ase-spinml run``, and what they mean in ASE units."""

from ase_spinml.commands.kinds import by_element, count, number, numbers, path, positive, word
from ase_spinml.commands.settings import Setting

SPINS, BOTH, RELAXATION = "spin-dynamics", "spin-lattice-dynamics", "relaxation"
MOVING = (SPINS, BOTH)

SETTINGS = (
    Setting("structure", path, None, "file with the atoms, its last frame if it has several"),
    Setting("kind", word, None, "what to run", choices=(SPINS, BOTH, RELAXATION)),
    Setting("output", path, None, "NAME of the results: NAME.traj, NAME.log, NAME.yaml ...", short="-o"),
    Setting("model", path, None, "file of a fitted model"),
    Setting(
        "exchange",
        numbers,
        None,
        "instead of a model: J in eV by shell; --exchange=-0.01,0.02 where the first is below zero",
    ),
    Setting("dmi", numbers, None, "D in eV by shell, along the bonds"),
    Setting("biquadratic", numbers, None, "biquadratic constants in eV by shell"),
    Setting(
        "moments", by_element, None, "length of the moments in mu_B by element, in place of those of the structure"
    ),
    Setting("axis", numbers, [0.0, 0.0, 1.0], "direction of moments that the structure gives without one"),
    Setting("steps", count, 1000, "time steps, or most steps of a relaxation"),
    Setting("device", word, "cpu", "where a model computes, cpu or cuda"),
    Setting("timestep", number, 1.0, "in fs", only=MOVING),
    Setting("temperature", number, None, "of the heat bath in K (default: no bath)", only=MOVING),
    Setting("damping", number, 0.0, "Gilbert damping of the spins", only=MOVING),
    Setting("friction", number, 0.0, "of the atoms in 1/fs", only=(BOTH,)),
    Setting(
        "integrator",
        word,
        "midpoint",
        "of the spins",
        choices=("midpoint", "sib", "depondt", "heun"),
        only=MOVING,
    ),
    Setting("seed", count, 0, "of the noise", only=MOVING),
    Setting("interval", positive, 10, "steps between two frames and two lines of the log", only=MOVING),
    Setting("checkpoint_interval", positive, 1000, "steps between two checkpoints", only=MOVING),
    Setting("moves", word, "spins", "what moves", choices=("spins", "atoms", "both"), only=(RELAXATION,)),
    Setting("fmax", number, 0.01, "largest force at the end in eV/A", only=(RELAXATION,)),
    Setting("torque_max", number, 1e-4, "largest torque at the end in eV", only=(RELAXATION,)),
)


def dynamics_options(values):
    """Keyword arguments of the dynamics classes from resolved settings, in ASE units."""
    from ase import units

    options = {"timestep": values["timestep"] * units.fs, "temperature_K": values["temperature"]}
    options |= {name: values[name] for name in ("damping", "integrator", "checkpoint_interval")}
    if values["kind"] == BOTH:
        options["friction"] = values["friction"] / units.fs
    return options | {"rng": values["seed"], "loginterval": values["interval"]}
