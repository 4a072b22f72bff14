"""Exceptions of the package: one clear sentence each, saying what was expected, what was given, what to do."""


class SpinMLError(Exception):
    """Base class of every error that ase_spinml raises on purpose."""


class InputError(SpinMLError, ValueError):
    """The user's input (frames, moments, parameters) cannot be used as given."""


class ModelFileError(SpinMLError, OSError):
    """A model file is damaged, foreign or of a newer format."""
