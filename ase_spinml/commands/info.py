"""The command ``info``: what a file holds."""

import argparse
import warnings

from ase_spinml.commands.reading import add_reading, read
from ase_spinml.errors import InputError


def add_info(commands):
    """Add the command ``info`` to a group of subcommands."""
    parser = commands.add_parser(
        "info",
        help="what a file holds: labels, their ranges, suspicious frames",
        description="List frames, labels and their ranges, suspicious frames, and test energies against fields.",
        epilog="example:\n  ase-spinml info train.xyz",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", help="file or folder to read")
    add_reading(parser)
    parser.add_argument("--no-check", action="store_true", help="leave out the test of energies against fields")
    parser.set_defaults(run=_info)


def _info(arguments):
    from ase_spinml.io.summary import describe, describe_exchange

    found = read(arguments)
    if not isinstance(found, list):
        print("\n".join(describe_exchange(*found)))
        return
    print("\n".join(describe(found)))
    if not arguments.no_check:
        print(f"label check: {_checked(found)}")


def _checked(frames):
    """What the test of energies against fields says, or why it cannot."""
    from ase_spinml.io import check_labels

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check_labels(frames)["message"]
    except InputError as error:
        return f"not possible. {error}"
