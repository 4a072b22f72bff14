"""The command ``ase-spinml``: one subcommand per task, each a thin face of a function elsewhere.

Exit codes: 0 done; 1 the input or a file is at fault, told in one sentence; 2 the command line itself is wrong.
"""

import argparse
import sys
from functools import partial

import ase_spinml
from ase_spinml.cli_files import add_convert, add_info
from ase_spinml.errors import SpinMLError


def main(argv=None):
    """Run the command line ``argv`` (default: of this process) and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (SpinMLError, OSError) as error:
        print(f"ase-spinml {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser():
    """The parser: every subcommand sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="ase-spinml", description="Machine-learned exchange fields and spin dynamics."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ase_spinml.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_demo(commands)
    add_convert(commands)
    add_info(commands)
    return parser


def _add_demo(commands):
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
