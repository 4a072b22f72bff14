"""Text files of VASP, line by line: bounded memory, strict numbers, and one exception for damage.

A line is at most a megabyte, so a file that is one long run of zero bytes stops at once, and a file of any size is read
in the memory of one line. Files that end in ``.gz`` are unpacked on the way.
"""

import gzip
import math
import re
import zlib
from functools import lru_cache
from pathlib import Path

from ase_spinml.errors import InputError

LONGEST_LINE = 1 << 20
NUMBER = r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[EeDd][-+]?\d+|[-+]\d{3})?"
_EXPONENT = re.compile(r"(\d)([-+]\d{3})$", re.ASCII)
_NUMBER = re.compile(NUMBER, re.ASCII)


class Damaged(InputError):
    """A file is cut off or altered. Steps that a reader gave before raising this are complete.

    ``keepable`` is False where nothing before the damage can be trusted either.
    """

    def __init__(self, message, keepable=True):
        super().__init__(message)
        self.keepable = keepable


class VaspLines:
    """Iterator over the lines of a text file, without their ends (LF or CRLF); longer than ``longest`` is damage.

    Attributes
    ----------
    path : Path
    number : int
        Number of the last line given, from 1.
    lenient_end : bool
        Set by a reader that has seen all it needs: a last line without its end is then no damage.
    """

    def __init__(self, path, longest=LONGEST_LINE):
        self.longest = longest
        self.path = Path(path)
        self.number = 0
        self.lenient_end = False
        self._iterator = self._read()

    def __iter__(self):
        return self._iterator

    def __next__(self):
        return next(self._iterator)

    def _read(self):
        longest = self.longest
        with open_bytes(self.path) as file:
            while True:
                try:
                    raw = file.readline(longest)
                except EOFError:
                    raise self.damage("the whole compressed file", "its beginning only") from None
                except (OSError, zlib.error) as error:
                    raise unreadable(self.path, error) from None
                if not raw:
                    return
                self.number += 1
                if raw[-1] != 10 and not self.lenient_end:
                    raise self.damage("a complete last line" if len(raw) < longest else "lines of text", raw)
                if b"\0" in raw:
                    raise self.damage("text", raw)
                yield raw.decode("latin-1").rstrip("\r\n")

    def damage(self, expected, got=None):
        """The exception for this line: ``raise lines.damage("six numbers", line)``."""
        got = "the end of the file" if got is None else repr(got[:60] if isinstance(got, str) else bytes(got[:60]))
        return Damaged(f"Expected {expected} in {self.path.name}, line {self.number}, got {got}: {ADVICE}.")

    def must(self, expected):
        """Next line; damage where there is none."""
        for line in self:
            return line
        raise self.damage(expected)

    def row(self, line, decimals, what):
        """Numbers of a fixed layout: ``decimals`` of each, as (5, 5, 5, 6, 6, 6); glued columns come apart."""
        match = _row(tuple(decimals)).fullmatch(line)
        if match is None:
            raise self.damage(what, line)
        return [float(group) for group in match.groups()]

    def numbers(self, text, count, what):
        """``count`` numbers between blanks and nothing else; any number of them where ``count`` is None."""
        words = text.split()
        if (count is not None and len(words) != count) or not all(map(_NUMBER.fullmatch, words)):
            raise self.damage(what, text)
        return [number(word) for word in words]


ADVICE = "take an undamaged copy, or read with damaged='keep' to get the complete steps before this place"


def unreadable(path, error):
    """Exception for a file whose compression or container is broken: nothing in it can be trusted."""
    return Damaged(
        f"Expected {path.name} to unpack without errors, got '{error}': take an undamaged copy.", keepable=False
    )


def open_bytes(path):
    """Binary file object for ``path``, unpacking ``.gz``; InputError where it does not exist or is empty."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Expected a file {path}, got none: check the path.")
    if path.stat().st_size == 0:
        raise Damaged(f"Expected {path.name} to have contents, got an empty file: take an undamaged copy.")
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


@lru_cache
def _row(decimals):
    return re.compile(r"\s*" + r"\s*".join(rf"([-+]?\d{{0,15}}\.\d{{{d}}})" for d in decimals) + r"\s*", re.ASCII)


def number(text):
    """Float of a Fortran number: exponents with D, and three-digit exponents without letter (0.1-100).

    Raises ValueError for text that is none, Damaged for numbers beyond the range of floats.
    """
    value = float(_EXPONENT.sub(r"\1E\2", text.replace("D", "E").replace("d", "e")))
    if not math.isfinite(value):
        raise Damaged(f"Expected finite numbers, got {text[:60]}: {ADVICE}.")
    return value
