"""The command ``plot``: the picture that fits a file."""

from pathlib import Path

from ase_spinml.commands.reading import description, is_model, read_frames, start_of
from ase_spinml.errors import InputError

FILMS = (".gif", ".mp4")
VIEWS = ("above", "space")


def add_plot(commands):
    """Add the command ``plot`` to a group of subcommands."""
    parser = commands.add_parser(
        "plot",
        help="the picture that fits a file",
        **description(
            "A model and labelled frames: predictions against labels. The log or the .traj of a run: energy and\n"
            "magnetisation against time. Frames: the spins of one of them, or all as a film (-o NAME.gif or NAME.mp4).",
            "examples:\n"
            "  ase-spinml plot fe.model test.xyz -o parity.png\n"
            "  ase-spinml plot fe300.log\n"
            "  ase-spinml plot fe300.traj -o fe300.gif",
        ),
    )
    parser.add_argument("input", metavar="FILE", help="model, log, trajectory or frames")
    parser.add_argument("frames", nargs="*", metavar="FRAMES", help="labelled frames for a model")
    parser.add_argument("-o", "--output", metavar="FILE", help="picture or film (default: FILE.png)")
    parser.add_argument("--frame", type=int, metavar="N", help="draw the spins of this frame; -1 is the last")
    parser.add_argument("--view", choices=VIEWS, help="spins from above or in space (default: what fits the atoms)")
    parser.set_defaults(run=_plot)


def _plot(arguments):
    file = Path(arguments.input)
    output = Path(arguments.output or f"{arguments.input}.png")
    if output.suffix in FILMS:
        from ase_spinml.plotting import animate

        frames, times = _frames_and_times(file)
        animate(frames, output, times=times, in_space=_in_space(arguments.view, frames[0]))
    else:
        from ase_spinml.commands.pictures import save

        save(_picture(arguments, file), output)
    print(f"picture in {output}")


def _picture(arguments, file):
    from ase_spinml.commands import pictures

    if arguments.frames:
        from ase_spinml.commands.errors import predict
        from ase_spinml.models.base import load_model

        return pictures.parity_picture(*predict(load_model(file), read_frames("plot", map(Path, arguments.frames))))
    if is_model(file):
        raise InputError(f"Expected labelled frames beside the model {file}, got none: name their file too.")
    if start_of(file).lstrip().startswith(pictures.LOGS):
        return pictures.log_picture(file)
    frames, times = _frames_and_times(file)
    if times is not None and len(frames) > 2 and arguments.frame is None and arguments.view is None:
        return pictures.trajectory_picture(frames, times)
    number = -1 if arguments.frame is None else arguments.frame
    if not -len(frames) <= number < len(frames):
        raise InputError(f"Expected a frame below {len(frames)}, got {number}: {file} holds {len(frames)} frames.")
    return pictures.texture_picture(frames[number], _in_space(arguments.view, frames[number]))


def _in_space(view, atoms):
    """Whether to draw the spins in space: as asked for, or else where some atoms would hide others seen from above."""
    from ase_spinml.plotting import is_layered

    return is_layered(atoms) if view is None else view == "space"


def _frames_and_times(file):
    """Frames of a file, and their times (n,) in ps if a run of dynamics wrote it as .traj; None otherwise."""
    import numpy as np
    from ase import units
    from ase.io.trajectory import Trajectory

    frames = read_frames("plot", [file])
    if file.suffix != ".traj":
        return frames, None
    with Trajectory(file) as trajectory:
        about = trajectory.description
    if about.get("type") != "molecular-dynamics" or "interval" not in about:
        return frames, None
    return frames, np.arange(len(frames)) * about["interval"] * about["timestep"] / (1000 * units.fs)
