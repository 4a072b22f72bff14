"""Settings of a command: the same names as flags and as keys of a YAML file; flags win over the file.

Paths in a file are relative to the folder of the file. What commands write beside their results is such a file, see
:mod:`ase_spinml.commands.record`.
"""

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ase_spinml.commands.kinds import EXPECTED, METAVAR, path, paths, truth
from ase_spinml.errors import InputError

ABOUT = ("command", "versions", "sha256")
"""Keys of a file that say where it comes from."""


@dataclass(frozen=True)
class Setting:
    """One setting: the key ``name`` of a file, the flag ``--name`` with hyphens for underscores.

    Attributes
    ----------
    kind : callable
        Makes the value from the text of a flag or from what a file holds, or raises ValueError; its name says what is
        expected.
    default : object
        None for a setting that may stay out.
    only : tuple of str
        Values of the selecting setting, such as ``model``, with which this one means something; empty: all.
    """

    name: str
    kind: Callable
    default: object
    help: str
    choices: tuple = ()
    only: tuple = ()
    short: str = ""

    @property
    def flag(self):
        """The flag on the command line."""
        return "--" + self.name.replace("_", "-")

    def from_flag(self, text):
        """The value from the text of a flag; raises ArgumentTypeError, which is wrong usage."""
        try:
            return self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {EXPECTED[self.kind]}, got {text!r}") from None

    def value(self, given, where):
        """The value from what a file holds; raises InputError that names the file."""
        try:
            value = self.kind(given)
        except (ValueError, TypeError):
            raise InputError(f"Expected {self.name} in {where} as {EXPECTED[self.kind]}, got {given!r}.") from None
        if self.choices and value not in self.choices:
            raise InputError(f"Expected {self.name} in {where} to be {_either(self.choices)}, got {given!r}.")
        return value


def add_flags(parser, settings, selector=None):
    """Add a flag for every setting; those that belong to one value of the ``selector`` come in groups of their own."""
    titles = dict.fromkeys(f"with --{selector} {_either(s.only)}" for s in settings if s.only)
    groups = {title: parser.add_argument_group(title) for title in titles}
    for setting in settings:
        where = groups[f"with --{selector} {_either(setting.only)}"] if setting.only else parser
        options = {"default": argparse.SUPPRESS, "help": _help(setting), "dest": setting.name}
        if setting.kind is truth:
            options["action"] = argparse.BooleanOptionalAction
        elif setting.choices:
            options |= {"type": setting.from_flag, "choices": setting.choices}
        else:
            options |= {"type": setting.from_flag, "metavar": METAVAR[setting.kind]}
        where.add_argument(*filter(None, (setting.short, setting.flag)), **options)


def _help(setting):
    if setting.default is None:
        return setting.help
    default = setting.default
    if isinstance(default, (list, tuple)):
        default = ",".join(map(str, default))
    if isinstance(default, bool):
        default = "yes" if default else "no"
    return f"{setting.help} (default: {default})".replace("%", "%%")


def resolve(arguments, settings, file=None, selector=None):
    """Every setting of a command: flags over the file over the defaults.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of a parser with the flags of :func:`add_flags`; ``command`` is the name of the command.
    settings : list of Setting
    file : Path, optional
        YAML file.
    selector : str, optional
        The setting that decides which of the others mean something.

    Returns
    -------
    values : dict
        By name, in the order of ``settings``, without those that mean nothing.
    recorded : dict of Path to str
        SHA-256 of files as ``file`` holds them.

    Raises
    ------
    InputError
        A file that cannot be read, is of another command or has unknown keys or unusable values; settings that do not
        belong to the selected value.
    """
    known = {setting.name: setting for setting in settings}
    held, recorded = ({}, {}) if file is None else _read(file, arguments.command, known)
    flags = {name: getattr(arguments, name) for name in known if hasattr(arguments, name)}
    given = held | flags
    chosen = given.get(selector, known[selector].default) if selector else None
    for name in given:
        if known[name].only and chosen is not None and chosen not in known[name].only:
            raise InputError(
                f"Expected settings that belong to {selector} {chosen}, got {name}, which belongs to "
                f"{' and '.join(known[name].only)}: leave it out."
            )
    values = {
        name: given.get(name, setting.default)
        for name, setting in known.items()
        if not setting.only or chosen in setting.only
    }
    return values, recorded


def _read(file, command, known):
    """Values of a file by name, paths joined to its folder, and the SHA-256 it holds."""
    import yaml

    try:
        held = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = str(getattr(error, "problem", None) or "no text").strip()
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"Expected settings as YAML in {file}{line}, got something else ({problem}).") from None
    if not isinstance(held, dict):
        raise InputError(f"Expected settings as 'name: value' lines in {file}, got {type(held).__name__}.")
    if held.get("command", command) != command:
        raise InputError(f"Expected settings of ase-spinml {command} in {file}, got those of {held['command']}.")
    digests = held.get("sha256") or {}
    if not isinstance(digests, dict):
        raise InputError(f"Expected sha256 in {file} as 'path: digest' lines, got {digests!r}.")
    recorded = {file.parent / name: digest for name, digest in digests.items()}
    values = {}
    for name, given in held.items():
        if name in ABOUT or given is None:
            continue
        if name not in known:
            raise InputError(_unknown(name, known, file))
        value = known[name].value(given, file)
        if known[name].kind is path:
            value = file.parent / value
        elif known[name].kind is paths:
            value = [file.parent / item for item in value]
        values[name] = value
    return values, recorded


def _unknown(name, known, file):
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
    return f"Expected a known setting in {file}, got {name!r}: the closest one is {close[0]!r}."


def _either(choices):
    return " or ".join(map(str, choices))


def is_settings(inputs):
    """The path of the file of settings, if that is the one input of a command; None otherwise."""
    if len(inputs) == 1 and inputs[0].endswith((".yaml", ".yml")):
        return Path(inputs[0])
    return None
