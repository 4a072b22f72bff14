"""The command ``fit``: frames to a model, a table of its errors, and a file that makes the model again."""

from pathlib import Path

from ase_spinml.commands import record
from ase_spinml.commands.errors import predict, table
from ase_spinml.commands.fit_settings import SETTINGS, unfitted
from ase_spinml.commands.reading import description, read_frames
from ase_spinml.commands.settings import add_flags, is_settings, resolve
from ase_spinml.errors import InputError


def add_fit(commands):
    """Add the command ``fit`` to a group of subcommands."""
    parser = commands.add_parser(
        "fit",
        help="fit a model to labelled frames",
        **description(
            "Fit a model to frames with energies, forces, stresses or exchange fields; any may be missing from any\n"
            "frame. Prints root-mean-square errors, and writes the model and, beside it, the file of all settings.",
            "example:\n"
            "  ase-spinml fit train.xyz --sigma-energy 0.002 --sigma-field 0.003 --holdout 0.2 -o fe.model\n"
            "  ase-spinml fit fe.model.yaml    # the same model again",
        ),
    )
    parser.add_argument("input", nargs="+", metavar="FRAMES", help="labelled frames, or one file of settings (.yaml)")
    add_flags(parser, SETTINGS[1:], "model")
    parser.add_argument("--force", action="store_true", help="replace a model that was fitted with other settings")
    parser.set_defaults(run=_fit, parser=parser)


def _fit(arguments):
    file = is_settings(arguments.input)
    if file is None:
        arguments.frames = [Path(name) for name in arguments.input]
    values, recorded = resolve(arguments, SETTINGS, file, "model")
    if not values["frames"]:
        raise InputError(f"Expected frames in {file}, got none: name the files to learn from.")
    if values["output"] is None:
        arguments.parser.error("the output is missing: name the file of the model with -o")
    if values["test"] and values["holdout"] is not None:
        raise InputError("Expected test or holdout, got both: leave one out.")

    output = values["output"]
    digests = record.check_unchanged([*values["frames"], *(values["test"] or [])], recorded)
    record.check_outputs([output], digests)
    train, test = _frames(values)
    if values["species"] is None:
        values["species"] = sorted({symbol for frame in train for symbol in frame.get_chemical_symbols()})
    beside = output.with_name(output.name + ".yaml")
    content = record.record("fit", values, digests, output.parent)
    record.check_replaceable([output], beside, content, arguments.force)

    model = unfitted(values)
    print(f"fitting {values['model']} to {len(train)} frames", flush=True)
    model.fit(train)
    print("\n".join(table(_errors(model, train, test))))
    model.save(output)
    record.write_record(beside, content)
    print(f"model in {output}, settings in {beside}")


def _frames(values):
    """Frames to learn from, and those to test on, an empty list if there are none."""
    from ase_spinml.demo import split

    frames = read_frames("fit", values["frames"])
    if values["test"]:
        return frames, read_frames("fit", values["test"])
    if values["holdout"] is None:
        return frames, []
    if not 0 < values["holdout"] < 1:
        raise InputError(f"Expected holdout to be a share between 0 and 1, got {values['holdout']}.")
    train, test = split(frames, values["seed"], values["holdout"])
    if not (train and test):
        raise InputError(
            f"Expected a holdout that leaves frames on both sides, got {values['holdout']} of {len(frames)}."
        )
    return train, test


def _errors(model, train, test):
    from ase_spinml.models.labels import compare

    rows = {"training": compare(*predict(model, train))}
    return rows | {"test": compare(*predict(model, test))} if test else rows
