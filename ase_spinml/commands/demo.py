"""The command ``demo``."""

from functools import partial


def add_demo(commands):
    """Add the command ``demo`` to a group of subcommands."""
    parser = commands.add_parser(
        "demo",
        help="fit bcc Fe and run it, about 3 minutes",
        description="Fit SOSO-GAP to the shipped bcc Fe data, compare, save, re-open and run spin-lattice dynamics.",
    )
    parser.add_argument("--output", default="demo-output", help="directory for model, trajectories and pictures")
    parser.set_defaults(run=_demo)


def _demo(arguments):
    import torch

    from ase_spinml.demo import run_demo

    torch.set_num_threads(1)  # for 54 atoms more threads only wait for each other
    run_demo(arguments.output, say=partial(print, flush=True))
