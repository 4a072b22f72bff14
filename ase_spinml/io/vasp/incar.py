"""INCAR: its tags read the way VASP reads them, and lines of it."""

import re

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.io.vasp.lines import NUMBER, VaspLines, number

_MAGNETIC = {
    *("I_CONSTRAINED_M", "M_CONSTR", "LAMBDA", "RWIGS", "MAGMOM"),
    *("SAXIS", "LNONCOLLINEAR", "LSORBIT", "ISPIN"),
}
_TAG = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_/]*)\s*=\s*(.*)", re.ASCII | re.DOTALL)
_REPEATED = re.compile(rf"(\d+)\*({NUMBER})", re.ASCII)
_NUMBER = re.compile(NUMBER, re.ASCII)
_TRUE = re.compile(r"\.?T", re.IGNORECASE)
_FALSE = re.compile(r"\.?F", re.IGNORECASE)


def read_incar(path):
    """Tags of an INCAR: dict of upper-case name -> text of the value.

    Comments (``#``, ``!``), several tags in a line (``;``), continued lines (a backslash at the end) and texts in
    double quotes are understood. Lines without ``=`` are passed over, as VASP does.

    Raises
    ------
    InputError
        A tag of the moments that occurs twice with different values; of others the first counts, as for VASP.
    Damaged
        Binary content.
    """
    tags, held = {}, ""
    lines = VaspLines(path)
    lines.lenient_end = True
    for line in lines:
        line = held + re.split("[#!]", line, maxsplit=1)[0].rstrip()
        held = ""
        if line.endswith("\\") or line.count('"') % 2:
            held = line.removesuffix("\\") + " "
            continue
        for part in _statements(line):
            if match := _TAG.fullmatch(part):
                name, value = match[1].upper(), " ".join(match[2].split())
                if tags.setdefault(name, value) != value and name in _MAGNETIC:
                    raise InputError(
                        f"Expected {name} once in {lines.path.name}, got {tags[name]!r:.60} and {value!r:.60}: "
                        f"keep one of them."
                    )
    if held:
        raise lines.damage("the end of a continued line or of a quoted text")
    return tags


def _statements(line):
    """Parts of a line between semicolons; one part where a quoted text is in it."""
    return [line] if '"' in line else line.split(";")


def values(tags, name, where="INCAR"):
    """Numbers of a tag as an array, repetitions as ``6*0.5`` written out; None where the tag is absent.

    Raises
    ------
    InputError
        Something that is no number.
    """
    if tags.get(name) is None:
        return None
    found = tags[name]
    if not isinstance(found, str):
        return np.ravel(np.array(found, dtype=float))
    out = []
    for word in found.split():
        if match := _REPEATED.fullmatch(word):
            out += [number(match[2])] * min(int(match[1]), 1_000_000)
        elif _NUMBER.fullmatch(word):
            out.append(number(word))
        else:
            raise InputError(f"Expected numbers for {name} in {where}, got {word!r}: correct the tag.")
    return np.array(out)


def value(tags, name, where="INCAR"):
    """One number of a tag, None where it is absent. Raises InputError for none or several."""
    found = values(tags, name, where)
    if found is not None and len(found) != 1:
        raise InputError(f"Expected one number for {name} in {where}, got {len(found)}: correct the tag.")
    return None if found is None else float(found[0])


def logical(tags, name, where="INCAR"):
    """Truth of a tag, False where it is absent. Raises InputError for anything but T and F."""
    found = tags.get(name)
    if found is None or not isinstance(found, str):
        return bool(found)
    if _TRUE.match(found):
        return True
    if _FALSE.match(found):
        return False
    raise InputError(f"Expected .TRUE. or .FALSE. for {name} in {where}, got {found!r}: correct the tag.")


def format_tag(name, content):
    """Line of INCAR for a tag: logicals as .TRUE./.FALSE., arrays with ten decimals, the rest as it is."""
    if isinstance(content, (bool, np.bool_)):
        text = ".TRUE." if content else ".FALSE."
    elif isinstance(content, (np.ndarray, list, tuple)):
        text = "  ".join(" ".join(_plain(x) for x in np.atleast_1d(row)) for row in content)
    else:
        text = _plain(content)
    return f"{name} = {text}\n"


def _plain(item):
    if isinstance(item, (float, np.floating)):
        return f"{item:.10f}"
    return str(item)
