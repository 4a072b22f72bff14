"""Errors of a model on labelled frames: predictions with a progress bar, and the table of both."""

import numpy as np
from tqdm import tqdm

COLUMNS = (
    ("energy_rmse", "energy", "meV/atom", 1e3),
    ("forces_rmse", "forces", "meV/A", 1e3),
    ("stress_rmse", "stress", "meV/A^3", 1e3),
    ("turning_rmse", "field m*H", "meV", 1e3),
    ("field_rmse", "field H", "meV/mu_B", 1e3),
)
"""Of the table: name in what ``compare`` returns, title, unit, factor."""


def predict(model, frames):
    """Labels and predictions of every frame, two lists; a progress bar where standard error is a terminal."""
    from ase_spinml.models.labels import read_labels

    labels = [read_labels(frame, f"frame {k}") for k, frame in enumerate(frames)]
    magnetic = model.descriptor.magnetic
    if magnetic is not None:
        for label, frame in zip(labels, frames, strict=True):
            label.only(np.isin(frame.get_chemical_symbols(), magnetic))
    results = [model.predict(frame) for frame in tqdm(frames, desc="predicting", unit="frame", disable=None)]
    return labels, results


def rows_by_kind(frames, labels, results):
    """Errors of all frames, and below of each ``config_type`` if there is more than one: dict of name to errors."""
    from ase_spinml.models.labels import compare

    rows = {"all": compare(labels, results)}
    kinds = [str(frame.info.get("config_type", "without")) for frame in frames]
    if len(set(kinds)) > 1:
        for kind in sorted(set(kinds)):
            chosen = [k for k, name in enumerate(kinds) if name == kind]
            rows[kind] = compare([labels[k] for k in chosen], [results[k] for k in chosen])
    return rows


def table(rows):
    """Lines of a table of root-mean-square errors; what no row knows has no column, what a row lacks is a dash."""
    columns = [column for column in COLUMNS if any(column[0] in row for row in rows.values())]
    width = 2 + max(len("RMSE"), *(len(name) for name in rows))
    yield f"{'RMSE':<{width}}{'frames':>7}" + "".join(f"{title:>12}" for _, title, _, _ in columns)
    yield f"{'':<{width}}{'':>7}" + "".join(f"{unit:>12}" for _, _, unit, _ in columns)
    for name, row in rows.items():
        values = (f"{factor * row[key]:>12.2f}" if key in row else f"{'-':>12}" for key, _, _, factor in columns)
        yield f"{name:<{width}}{row['n_frames']:>7}" + "".join(values)
