"""How commands read frames: flags for what a file does not tell, warnings as lines on standard error."""

import argparse
import sys
import warnings

from ase_spinml.errors import InputError


def add_reading(parser):
    """Add the flags of :func:`read` to a parser."""
    parser.add_argument("--from", dest="source", metavar="FORMAT", help="format of the input")
    parser.add_argument("--species", metavar="A,B", help="chemical symbols of the types or sites, for formats without")
    parser.add_argument("--axis", metavar="X,Y,Z", help="direction of moments given as one number per atom")
    parser.add_argument("--lattice-constant", type=float, metavar="A", help="in Angstrom, for inputs without units")
    parser.add_argument("--keep-damaged", action="store_true", help="take the frames before the damage")


def read(arguments):
    """Contents of ``arguments.input``: a list of frames, or a crystal with its exchange table."""
    options = {}
    if arguments.species is not None:
        options["species"] = arguments.species.split(",")
    if arguments.axis is not None:
        options["axis"] = _axis(arguments.axis)
    if arguments.lattice_constant is not None:
        options["lattice_constant"] = arguments.lattice_constant
    if arguments.keep_damaged:
        options["damaged"] = "keep"
    return read_telling(arguments.command, arguments.input, arguments.source, **options)


def read_frames(command, files):
    """Frames of several files of any format, one after another."""
    frames = []
    for file in files:
        found = read_telling(command, file)
        if not isinstance(found, list):
            raise InputError(f"Expected frames in {file}, got exchange parameters.")
        frames += found
    return frames


def read_telling(command, file, source=None, **options):
    """Contents of a file of any format; its warnings become lines on standard error."""
    from ase_spinml.io.formats import read_any

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_any(file, source, **options)
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"ase-spinml {command}: warning: {message}", file=sys.stderr)
    return found


def start_of(file):
    """The first 200 bytes of a file, none of a folder."""
    if file.is_dir():
        return b""
    with open(file, "rb") as stream:
        return stream.read(200)


def is_model(file):
    """Whether a file starts like a model, whatever its name."""
    return b"ase_spinml model" in start_of(file)


def description(help_text, epilog):
    """Arguments of a subparser whose epilog is printed as it stands."""
    return {"description": help_text, "epilog": epilog, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _axis(text):
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f"Expected --axis as three numbers, got {text!r}: write --axis 0,0,1.") from None
