"""The commands ``convert`` and ``info`` of ``ase-spinml``."""

import argparse
import sys
import warnings
from pathlib import Path

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
        "  ase-spinml convert exchange.out Fe.ucf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", help="file or folder to read")
    parser.add_argument("output", help="file or folder to write")
    _add_reading(parser)
    parser.add_argument("--to", metavar="FORMAT", help="format of the output")
    parser.add_argument("--transverse", action="store_true", help="leave out the part of fields along the moments")
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.set_defaults(run=_convert)


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
    _add_reading(parser)
    parser.add_argument("--no-check", action="store_true", help="leave out the test of energies against fields")
    parser.set_defaults(run=_info)


def _add_reading(parser):
    parser.add_argument("--from", dest="source", metavar="FORMAT", help="format of the input")
    parser.add_argument("--species", metavar="A,B", help="chemical symbols of the types or sites, for formats without")
    parser.add_argument("--axis", metavar="X,Y,Z", help="direction of moments given as one number per atom")
    parser.add_argument("--lattice-constant", type=float, metavar="A", help="in Angstrom, for inputs without units")
    parser.add_argument("--keep-damaged", action="store_true", help="take the frames before the damage")


def _read(arguments):
    """Contents of the input; its warnings are told as lines on standard error."""
    from ase_spinml.io.formats import read_any

    options = {}
    if arguments.species is not None:
        options["species"] = arguments.species.split(",")
    if arguments.axis is not None:
        options["axis"] = _axis(arguments.axis)
    if arguments.lattice_constant is not None:
        options["lattice_constant"] = arguments.lattice_constant
    if arguments.keep_damaged:
        options["damaged"] = "keep"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_any(arguments.input, arguments.source, **options)
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"ase-spinml {arguments.command}: warning: {message}", file=sys.stderr)
    return found


def _axis(text):
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"Expected --axis as three numbers, got {text!r}: write --axis 0,0,1.") from None


def _convert(arguments):
    from ase_spinml.io.formats import write_any

    output = Path(arguments.output)
    if output.exists() and output.resolve() == Path(arguments.input).resolve():
        raise InputError("Expected an output other than the input, got the same.")
    if output.exists() and not arguments.force:
        raise InputError(f"Expected a new output, got {output}, which exists: --force replaces it.")
    found = _read(arguments)
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


def _info(arguments):
    from ase_spinml.io.summary import describe, describe_exchange

    found = _read(arguments)
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
