"""Text files read line by line with bounded memory, and written whole or not at all.

Readers of this room take their lines from :class:`~ase_spinml.io.text.Lines`. It opens plain and gzip-compressed files,
takes line ends of any system, refuses binary content at once, and knows whether the last line is complete: a number cut
off at the end of a truncated file would otherwise pass for a shorter number.
"""

import gzip
import os
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ase_spinml.errors import InputError

LINE_LIMIT = 1_000_000
"""Longest line in bytes; longer ones are taken for binary content."""


class Lines:
    """Lines of a text file, one after another.

    Parameters
    ----------
    path : str or Path
        Plain or gzip-compressed text.
    what : str
        What the file should be, for error messages.

    Attributes
    ----------
    number : int
        Number of the line read last, counted from 1.
    cut : bool
        Whether the line read last ended with the file instead of a line end.

    Raises
    ------
    InputError
        While reading: binary content, damaged compression, a folder instead of a file.
    """

    def __init__(self, path, what):
        self.path, self.what = Path(path), what
        self.number, self.cut = 0, False
        if self.path.is_dir():
            raise InputError(f"Expected {what}, got the folder {self.path}: name the file in it.")
        self._raw = self._file = self.path.open("rb")
        if self._file.peek(2)[:2] == b"\x1f\x8b":
            self._file = gzip.GzipFile(fileobj=self._raw)
        self._held = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._raw.close()

    def __iter__(self):
        while (line := self.next_or_none()) is not None:
            yield line

    def next_or_none(self):
        """Next line without its end, None after the last."""
        if self._held is not None:
            line, self._held = self._held, None
            self.number += 1
            return line
        try:
            data = self._file.readline(LINE_LIMIT + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(f"Expected {self.what}, got damaged compression in {self.path}: {error}.") from None
        if not data:
            return None
        self.number += 1
        self.cut = not data.endswith(b"\n")
        if b"\0" in data or len(data) > LINE_LIMIT:
            raise InputError(f"Expected {self.what}, got binary content in {self.path} at line {self.number}.")
        try:
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            message = f"Expected {self.what}, got binary content in {self.path} at line {self.number}."
            raise InputError(message) from None

    def next(self, expected):
        """Next line; an InputError naming what was ``expected`` where the file ends instead."""
        line = self.next_or_none()
        if line is None:
            raise InputError(f"Expected {expected} in {self.path}, got the end of the file: it is truncated.")
        return line

    def back(self, line):
        """Give a line back: it comes again."""
        self._held = line
        self.number -= 1

    def floats(self, count, expected, nan=False):
        """The next line as ``count`` numbers, see :meth:`numbers`."""
        return self.numbers(self.next(expected).split(), count, expected, nan)

    def numbers(self, words, count, expected, nan=False):
        """``count`` words of the line read last as finite floats (n,); also NaN if ``nan``; None: however many."""
        self.whole(expected)
        try:
            values = np.array([_float(word) for word in words])
        except ValueError:
            values = None
        if values is None or (count is not None and len(values) != count) or not (nan or np.isfinite(values).all()):
            raise self.error(expected, " ".join(words))
        return values

    def whole(self, expected):
        """Refuse the line read last if the file ends in it."""
        if self.cut:
            raise InputError(
                f"Expected {expected} in {self.path}, line {self.number}, got a line without an end: the file is "
                f"truncated, or add the missing line end."
            )

    def integer(self, word, expected):
        """A word of the line read last as an integer."""
        self.whole(expected)
        if not word.lstrip("+-").isdigit() or not word.isascii():
            raise self.error(expected, word)
        return int(word)

    def error(self, expected, got):
        """An InputError about the line read last."""
        got = got if len(got) <= 80 else got[:80] + "..."
        where = f"{self.path}, line {self.number}"
        return InputError(f"Expected {expected} in {where}, got {got!r}: the file is damaged or of another kind.")


def _float(word):
    if "_" in word:  # Python takes 1_000 for a number, no other program does
        raise ValueError(word)
    return float(word)


def read_lines(path, what):
    """All lines of a small text file, with their numbers: list of (number, line)."""
    with Lines(path, what) as lines:
        return [(lines.number, line) for line in lines]


@contextmanager
def whole_file(path):
    """Text file to write to, which takes the name ``path`` only when everything is written."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"Expected a folder to write {path.name} to, got {path.parent}, which does not exist.")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
