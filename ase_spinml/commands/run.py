"""The command ``run``: spin dynamics, coupled spin-lattice dynamics and relaxation from a file of settings or flags."""

from pathlib import Path

from tqdm import tqdm

from ase_spinml import checks
from ase_spinml.commands import record
from ase_spinml.commands.reading import description
from ase_spinml.commands.run_settings import BOTH, RELAXATION, SETTINGS, SPINS, dynamics_options
from ase_spinml.commands.settings import add_flags, is_settings, resolve
from ase_spinml.errors import InputError


def add_run(commands):
    """Add the command ``run`` to a group of subcommands."""
    parser = commands.add_parser(
        "run",
        help="spin dynamics, spin-lattice dynamics or relaxation",
        **description(
            "Move the spins, spins and atoms, or relax them. Writes NAME.traj, NAME.log, NAME.yaml with every setting\n"
            "and, for dynamics, NAME.checkpoint; a relaxation leaves its last state in NAME.xyz.",
            "example:\n"
            "  ase-spinml run fe.xyz --kind spin-lattice-dynamics --model fe.model --temperature 300 \\\n"
            "      --damping 0.05 --friction 0.01 --steps 2000 -o fe300\n"
            "  ase-spinml run fe300.yaml --restart --steps 4000    # on to step 4000",
        ),
    )
    parser.add_argument("input", nargs=1, metavar="STRUCTURE", help="atoms, or a file of settings (.yaml)")
    add_flags(parser, SETTINGS[1:], "kind")
    parser.add_argument("--restart", action="store_true", help="go on from NAME.checkpoint until --steps are done")
    parser.add_argument("--force", action="store_true", help="replace results of other settings")
    parser.set_defaults(run=_run, parser=parser)


def _run(arguments):
    file = is_settings(arguments.input)
    if file is None:
        arguments.structure = Path(arguments.input[0])
    values, recorded = resolve(arguments, SETTINGS, file, "kind")
    for name in ("structure", "kind", "output"):
        if values[name] is None:
            arguments.parser.error(f"the {name} is missing: give --{name}, or {name} in the file")
    digests = record.check_unchanged([f for f in (values["structure"], values["model"]) if f], recorded)
    atoms = _atoms(values)
    atoms.calc = _calculator(values)
    output = values["output"]
    beside = _beside(output, "yaml")
    content = record.record("run", values, digests, output.parent)
    old = [] if arguments.restart else [_beside(output, ending) for ending in ("traj", "log", "xyz", "checkpoint")]
    if arguments.restart:
        _check_restart(values, beside, content)
    record.check_outputs([*old, beside], digests)
    record.check_replaceable(old, beside, content, arguments.force)

    def begin():
        """Once nothing is left to refuse: old results go, the record comes."""
        for result in old:
            result.unlink(missing_ok=True)
        record.write_record(beside, content)

    if values["kind"] == RELAXATION:
        _relax(atoms, values, begin)
    else:
        _move(atoms, values, arguments.restart, begin)


def _atoms(values):
    """The structure with moment vectors: its own, or those that the settings give."""
    import ase.io
    import numpy as np

    from ase_spinml.dynamics.trajectory import read_trajectory
    from ase_spinml.moments import MOMENTS, set_moments

    try:
        read = read_trajectory if values["structure"].suffix == ".traj" else ase.io.read
        atoms = read(values["structure"], index=-1)
    except OSError:
        raise
    except Exception as error:  # ASE's readers meet damage with whatever error comes first
        problem = str(error) or type(error).__name__
        raise InputError(f"Expected atoms in {values['structure']}, got an unreadable file: {problem}.") from None
    lengths = atoms.arrays.get(MOMENTS)
    if values["moments"] is not None:
        missing = set(atoms.get_chemical_symbols()) - set(values["moments"])
        if missing:
            raise InputError(f"Expected moments for every element, got none for {', '.join(sorted(missing))}.")
        lengths = np.array([values["moments"][symbol] for symbol in atoms.get_chemical_symbols()])
    if lengths is None:
        raise InputError(f"Expected moments in {values['structure']}, got none: give --moments, such as Fe=2.2.")
    set_moments(atoms, lengths, axis=values["axis"] if lengths.ndim == 1 else None)
    return atoms


def _calculator(values):
    """The energy: a fitted model, or exchange constants by shell."""
    constants = {name: values[name] for name in ("exchange", "dmi", "biquadratic") if values[name] is not None}
    if (values["model"] is None) == (not constants):
        given = "neither" if not constants else "both"
        raise InputError(f"Expected a model or exchange constants, got {given}: give --model or --exchange.")
    if values["model"] is not None:
        from ase_spinml.calculators.ml import SpinCalculator

        return SpinCalculator(values["model"], device=values["device"])
    if values["kind"] == BOTH or values.get("moves", "spins") != "spins":
        raise InputError("Expected a model where atoms move, got exchange constants alone, which do not hold them.")
    from ase_spinml.calculators.analytic import Heisenberg

    return Heisenberg(**constants)


def _check_restart(values, beside, content):
    """Refuse to go on where nothing is to go on from, or with other settings."""
    if values["kind"] == RELAXATION:
        raise InputError("Expected dynamics to restart, got a relaxation: run it from its last state, NAME.xyz.")
    checkpoint = _beside(values["output"], "checkpoint")
    if not checkpoint.exists():
        raise InputError(f"Expected the checkpoint {checkpoint} to restart from, found none: leave out --restart.")
    if not record.same_record(beside, content, leave_out=("steps",)):
        raise InputError(f"Expected the settings of {beside} to restart, got others: change nothing but steps.")


def _move(atoms, values, restart, begin):
    from ase_spinml.dynamics.md import SpinDynamics, SpinLatticeDynamics

    output, options = values["output"], dynamics_options(values)
    kind = SpinDynamics if values["kind"] == SPINS else SpinLatticeDynamics
    done = kind(atoms, **options, checkpoint=_beside(output, "checkpoint"), restart=restart).nsteps
    left = values["steps"] - done
    if left < 0:
        raise InputError(f"Expected more steps than the {done} that are done, got {values['steps']}: raise --steps.")
    begin()
    files = {"trajectory": "traj", "logfile": "log", "checkpoint": "checkpoint"}
    files = {name: _beside(output, ending) for name, ending in files.items()}
    with kind(atoms, **options, **files, restart=restart) as dynamics:
        dynamics.run(left)
        if dynamics.nsteps % values["checkpoint_interval"]:
            dynamics.save_checkpoint()
    print(f"{values['steps']} steps in {output}.traj, log in {output}.log, settings in {output}.yaml")


def _relax(atoms, values, begin):
    from ase_spinml.dynamics.trajectory import SpinTrajectory, labelled
    from ase_spinml.io import write_frames
    from ase_spinml.landscape.relaxation import Relaxation

    checks.positive("fmax", values["fmax"], "eV/Angstrom")
    checks.positive("torque_max", values["torque_max"], "eV")
    output = values["output"]
    relaxation = Relaxation(atoms, values["moves"], logfile=str(_beside(output, "log")))
    trajectory = SpinTrajectory(_beside(output, "traj"))
    relaxation.optimizer.attach(lambda: trajectory.write(atoms))
    begin()
    with tqdm(unit="step", disable=None) as bar:
        relaxation.optimizer.attach(bar.update)
        converged = relaxation.run(values["fmax"], values["torque_max"], values["steps"])
    write_frames(_beside(output, "xyz"), labelled(atoms))
    if not converged:
        raise InputError(
            f"Expected forces below {values['fmax']} eV/A and torques below {values['torque_max']} eV within "
            f"{values['steps']} steps, got {relaxation.fmax:.2g} and {relaxation.torque:.2g}: raise --steps, or start "
            f"from {output}.xyz."
        )
    steps = relaxation.optimizer.nsteps
    print(f"converged in {steps} steps: energy {atoms.get_potential_energy():.6f} eV, state in {output}.xyz")


def _beside(output, ending):
    """NAME.ending for the NAME of the results; a dot in NAME stays."""
    return output.with_name(f"{output.name}.{ending}")
