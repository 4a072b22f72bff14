"""Descriptors in the headers of model files."""

from ase_spinml.descriptors.soso import SOSO


def to_header(descriptor):
    """Entries of a header that describe a fitted descriptor."""
    return {
        "descriptor": {"class": type(descriptor).__name__, **plain(descriptor.get_params())},
        "magnetic": descriptor.magnetic_species(),
    }


def from_header(header):
    """The fitted descriptor of a header; inverse of :func:`to_header`."""
    parameters = dict(header["descriptor"])
    parameters.pop("class")
    descriptor = SOSO(**parameters)
    descriptor.magnetic_species_ = list(header["magnetic"])
    descriptor.is_fitted_ = True
    return descriptor


def plain(parameters):
    """Parameters as JSON values."""
    return {
        name: list(value) if isinstance(value, (list, tuple)) else value.item() if hasattr(value, "item") else value
        for name, value in parameters.items()
    }
