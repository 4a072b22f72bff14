"""The command ``ase-spinml``: one subcommand per task, each a thin face of functions elsewhere.

Exit codes: 0 done; 1 the input or a file is at fault, told in one sentence; 2 the command line itself is wrong.
"""

import argparse
import sys

import ase_spinml
from ase_spinml.commands.completion import add_completion
from ase_spinml.commands.convert import add_convert
from ase_spinml.commands.demo import add_demo
from ase_spinml.commands.evaluate import add_evaluate
from ase_spinml.commands.fit import add_fit
from ase_spinml.commands.info import add_info
from ase_spinml.commands.plot import add_plot
from ase_spinml.commands.run import add_run
from ase_spinml.errors import SpinMLError


def main(argv=None):
    """Run the command line ``argv`` (default: of this process) and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (SpinMLError, OSError) as error:
        print(f"ase-spinml {arguments.command}: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name.partition(".")[0] != "matplotlib":
            raise
        print(f"ase-spinml {arguments.command}: Expected matplotlib, found none: pip install it.", file=sys.stderr)
        return 1
    return 0


def build_parser():
    """The parser: every subcommand sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="ase-spinml", description="Machine-learned exchange fields and spin dynamics."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ase_spinml.__version__}")
    add_completion(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_demo, add_fit, add_evaluate, add_run, add_convert, add_plot, add_info):
        add(commands)
    return parser
