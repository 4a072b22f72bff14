"""Kinds of settings: each makes a value from the text of a flag or from what YAML holds, or raises ValueError."""

from pathlib import Path


def number(given):
    """A float; YAML takes 1e-3, without a point, for text."""
    if isinstance(given, bool):
        raise ValueError
    return float(given)


def integer(given):
    """A whole number."""
    if not isinstance(given, (int, str)) or isinstance(given, bool):
        raise ValueError
    return int(given)


def count(given):
    """A whole number, 0 or above."""
    if integer(given) < 0:
        raise ValueError
    return integer(given)


def positive(given):
    """A whole number, 1 or above."""
    if integer(given) < 1:
        raise ValueError
    return integer(given)


def word(given):
    """One word or name."""
    if not isinstance(given, str):
        raise ValueError
    return given


def truth(given):
    """True or false."""
    if not isinstance(given, bool):
        raise ValueError
    return given


def path(given):
    """A file."""
    return Path(word(given))


def paths(given):
    """One file or several."""
    return [path(item) for item in ([given] if isinstance(given, str) else given)]


def _listed(kind, plural):
    def convert(given):
        if isinstance(given, str):
            given = given.split(",")
        return [kind(item) for item in (given if isinstance(given, list) else [given])]

    convert.__name__ = plural
    return convert


words = _listed(word, "words")
numbers = _listed(number, "numbers")
integers = _listed(integer, "integers")


def by_element(given):
    """Numbers by chemical symbol, Fe=2.2,Al=0 as a flag."""
    if isinstance(given, str):
        given = dict(item.split("=") for item in given.split(","))
    if not isinstance(given, dict):
        raise ValueError
    return {word(symbol): number(value) for symbol, value in given.items()}


EXPECTED = {
    number: "a number",
    integer: "a whole number",
    count: "a whole number from 0",
    positive: "a whole number from 1",
    word: "text",
    truth: "true or false",
    path: "a path",
    paths: "a path or a list of paths",
    words: "a list of words",
    numbers: "a list of numbers",
    integers: "a list of whole numbers",
    by_element: "numbers by element, such as {Fe: 2.2}",
}
"""Every kind in words, for error messages."""

METAVAR = {
    integer: "N",
    count: "N",
    positive: "N",
    number: "X",
    word: "NAME",
    path: "FILE",
    paths: "FILE",
    words: "A,B",
    numbers: "X,Y",
    integers: "N,M",
    by_element: "Fe=X",
}
"""How ``--help`` shows the value of a flag."""
