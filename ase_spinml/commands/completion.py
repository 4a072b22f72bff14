"""The flag ``--print-completion``: a script that makes a shell complete commands, flags and file names."""

import argparse

SHELLS = ("bash", "zsh", "tcsh")
FILES = ("FILE", "FRAMES", "MODEL", "STRUCTURE", "input", "output")
"""Metavars and destinations of arguments that are files."""


def add_completion(parser):
    """Add the flag to the parser of ``ase-spinml``."""
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print the script that completes commands in this shell, and exit",
    )


class _PrintCompletion(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        try:
            import shtab
        except ImportError:
            parser.exit(1, "ase-spinml: Expected shtab for --print-completion, found none: pip install shtab.\n")
        for command in _subparsers(parser):
            for action in command._actions:
                if action.metavar in FILES or action.dest in FILES:
                    action.complete = shtab.FILE
        print(shtab.complete(parser, values))
        parser.exit()


def _subparsers(parser):
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return commands.choices.values()
