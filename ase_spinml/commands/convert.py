"""The command ``convert``: frames and exchange parameters from one format to another."""

import argparse
from pathlib import Path

from ase_spinml.commands.reading import add_reading, read
from ase_spinml.errors import InputError


def add_convert(commands):
    """Add the command ``convert`` to a group of subcommands."""
    parser = commands.add_parser(
        "convert",
        help="convert frames or exchange parameters between formats",
        description="Convert spin data between formats, with units, signs and factors of both: frames with their\n"
        "labels, or exchange parameters. Formats are guessed where the file tells.",
        epilog="examples:\n"
        "  ase-spinml convert run/ frames.xyz --from vasp\n"
        "  ase-spinml convert frames.xyz system --to deepmd\n"
        "  ase-spinml convert train.cfg train.xyz --species Fe,Al\n"
        "  ase-spinml convert fe300.traj fe300.xyz --to ovito\n"
        "  ase-spinml convert exchange.out Fe.ucf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", help="file or folder to read")
    parser.add_argument("output", help="file or folder to write")
    add_reading(parser)
    parser.add_argument("--to", metavar="FORMAT", help="format of the output")
    parser.add_argument("--transverse", action="store_true", help="leave out the part of fields along the moments")
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.set_defaults(run=_convert)


def _convert(arguments):
    from ase_spinml.io.formats import write_any

    output = Path(arguments.output)
    if output.exists() and output.resolve() == Path(arguments.input).resolve():
        raise InputError("Expected an output other than the input, got the same.")
    if output.exists() and not arguments.force:
        raise InputError(f"Expected a new output, got {output}, which exists: --force replaces it.")
    found = read(arguments)
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"Expected a new or empty folder, got {output} with files in it: remove it first.")
    if arguments.transverse:
        found = _transverse(found)
    write_any(output, found, arguments.to)
    what = f"{len(found)} frames" if isinstance(found, list) else f"{len(found[1].i)} couplings"
    print(f"{what} written to {output}")


def _transverse(found):
    from ase_spinml.io import transverse_only

    if not isinstance(found, list):
        raise InputError("Expected frames with fields for --transverse, got exchange parameters: leave it out.")
    return [transverse_only(atoms) for atoms in found]
