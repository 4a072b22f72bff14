"""Descriptors in the headers of model files."""

import numpy as np

from ase_spinml.descriptors.lattice import LatticeDescriptor
from ase_spinml.descriptors.point_groups import point_group
from ase_spinml.descriptors.soso import SOSO


def to_header(descriptor):
    """Entries of a header that describe a fitted descriptor."""
    parameters = {"class": type(descriptor).__name__, **plain(descriptor.get_params())}
    header = {"descriptor": parameters, "magnetic": descriptor.magnetic_species()}
    if isinstance(descriptor, LatticeDescriptor):
        group = descriptor.group_
        header["lattice"] = {"offsets": descriptor.offsets_.tolist(), "group": group.name, "axis": float(group.axis)}
    return header


def from_header(header):
    """The fitted descriptor of a header; inverse of :func:`to_header`."""
    parameters = dict(header["descriptor"])
    if parameters.pop("class") == "LatticeDescriptor":
        descriptor, lattice = LatticeDescriptor(**parameters), header["lattice"]
        descriptor.species_ = list(header["magnetic"])
        descriptor.offsets_ = np.array(lattice["offsets"])
        descriptor.group_ = point_group(lattice["group"], lattice["axis"])
        return descriptor
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
