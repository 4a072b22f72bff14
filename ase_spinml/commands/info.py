"""The command ``info``: what a file holds."""

import argparse
import warnings
from pathlib import Path

from ase_spinml.commands.reading import add_reading, is_model, read
from ase_spinml.errors import InputError


def add_info(commands):
    """Add the command ``info`` to a group of subcommands."""
    parser = commands.add_parser(
        "info",
        help="what a file holds: labels, their ranges, suspicious frames",
        description="List frames, labels and their ranges, suspicious frames, and test energies against fields;\n"
        "or tell what a model was fitted to.",
        epilog="examples:\n  ase-spinml info train.xyz\n  ase-spinml info fe.model",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", help="file or folder to read")
    add_reading(parser)
    parser.add_argument("--no-check", action="store_true", help="leave out the test of energies against fields")
    parser.set_defaults(run=_info)


def _info(arguments):
    from ase_spinml.io.summary import describe, describe_exchange

    if is_model(Path(arguments.input)):
        print("\n".join(_describe_model(arguments.input)))
        return
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


def _describe_model(file):
    """Lines on a model: what it is, and what it was fitted to."""
    from ase_spinml.models.base import load_model

    model = load_model(file)
    summary, descriptor = model.summary_, model.descriptor_
    atoms = ", ".join(f"{number} {symbol}" for symbol, number in summary["n_atoms_by_species"].items())
    yield f"model: {model.registry_name} for {', '.join(descriptor.species)}, cutoff {descriptor.cutoff} A"
    yield f"fitted to: {summary['n_frames']} frames, atoms: {atoms}"
    if not model.conservative:
        yield f"fields without an energy: head {model.head}"
    elif not model.lattice_fitted:
        yield "lattice: not fitted, spins only"
    if model.baseline_name is not None:
        yield f"baseline: {model.baseline_name}, to be set as model.baseline"
    if summary["outliers"]:
        yield f"frames with outlying labels: {', '.join(summary['outliers'])}"
