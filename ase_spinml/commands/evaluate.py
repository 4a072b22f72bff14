"""The command ``evaluate``: errors of a model on labelled frames, predictions and a picture of both."""

from pathlib import Path

from ase_spinml.commands import record
from ase_spinml.commands.errors import predict, rows_by_kind, table
from ase_spinml.commands.kinds import path, paths
from ase_spinml.commands.reading import description, read_frames
from ase_spinml.commands.settings import Setting, add_flags, is_settings, resolve
from ase_spinml.errors import InputError

SETTINGS = (
    Setting("model", path, None, "file of the model"),
    Setting("frames", paths, None, "labelled frames"),
    Setting("output", path, None, "write the frames with the predictions as labels, extended XYZ", short="-o"),
    Setting("plot", path, None, "draw predictions against labels, .png, .pdf or .svg"),
)


def add_evaluate(commands):
    """Add the command ``evaluate`` to a group of subcommands."""
    parser = commands.add_parser(
        "evaluate",
        help="errors of a model on labelled frames",
        **description(
            "Print root-mean-square errors of a model by kind of label, of all frames and of each config_type.",
            "example:\n  ase-spinml evaluate fe.model test.xyz -o predictions.xyz --plot parity.png",
        ),
    )
    parser.add_argument("input", nargs="+", metavar="MODEL FRAMES", help="or one file of settings (.yaml)")
    add_flags(parser, SETTINGS[2:])
    parser.set_defaults(run=_evaluate, parser=parser)


def _evaluate(arguments):
    from ase_spinml.models.base import load_model

    file = is_settings(arguments.input)
    if file is None:
        first, *others = map(Path, arguments.input)
        if not others:
            arguments.parser.error("the frames are missing: ase-spinml evaluate MODEL FRAMES")
        arguments.model, arguments.frames = first, others
    values, _ = resolve(arguments, SETTINGS, file)
    if not (values["model"] and values["frames"]):
        raise InputError(f"Expected model and frames in {file}, got one of them or none: name both.")
    outputs = [file for file in (values["output"], values["plot"]) if file]
    record.check_outputs(outputs, [values["model"], *values["frames"]])
    model = load_model(values["model"])
    frames = read_frames("evaluate", values["frames"])
    labels, results = predict(model, frames)
    print("\n".join(table(rows_by_kind(frames, labels, results))))
    if values["output"]:
        _write(values["output"], frames, results)
        print(f"predictions in {values['output']}")
    if values["plot"]:
        from ase_spinml.commands.pictures import parity_picture, save

        save(parity_picture(labels, results), values["plot"])
        print(f"picture in {values['plot']}")


def _write(output, frames, results):
    """The frames with predictions for labels, as extended XYZ."""
    from ase_spinml.io import write_frames
    from ase_spinml.io.canonical import make_frame
    from ase_spinml.moments import get_moments

    predicted = []
    for frame, result in zip(frames, results, strict=True):
        known = {name: result.get(name) for name in ("energy", "forces", "stress")}
        labels = {"moments": get_moments(frame), "fields": result["exchange_fields"], **known}
        predicted.append(make_frame(frame.numbers, frame.positions, frame.cell, frame.pbc, info=frame.info, **labels))
    write_frames(output, predicted)
