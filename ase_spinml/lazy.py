"""Names of a package that are loaded from its modules on first use, so that importing it stays light."""

import importlib


def lazy_names(package, home):
    """The functions ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    home : dict
        Module, relative to the package, of every public name.
    """

    def load(name):
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names():
        return sorted({*vars(importlib.import_module(package)), *home})

    return load, names
