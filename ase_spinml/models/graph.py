"""Features of a structure over all blocks of a descriptor, and the way back from sensitivities to derivatives."""

import torch

from ase_spinml.descriptors.structure import Gradient


class Graph:
    """All features of a structure at once, kept with what their derivatives need.

    Parameters
    ----------
    blocks : dict of descriptor blocks
    structure : Structure
        One frame or several as one graph, of N atoms.

    Attributes
    ----------
    features : (N, F)
        Columns of the blocks in their order.
    parts : list of (slice, part)
        Columns of the features, and what computes them for some of the atoms.
    """

    def __init__(self, blocks, structure):
        self.structure = structure
        self.parts, columns, start = [], [], 0
        for block in blocks.values():
            parts = list(block.parts(structure))
            columns.append(torch.cat([part.features for part in parts]))
            pick = slice(start, start + columns[-1].shape[1])
            self.parts += [(pick, part) for part in parts]
            start = pick.stop
        self.features = torch.cat(columns, dim=1)

    def pullback(self, sensitivity, lattice=True, centred=False):
        """Derivatives of B energies with dE/dx = ``sensitivity`` (B, N, F).

        Returns
        -------
        Gradient
            Differentiable with respect to the sensitivity; without positions and virials if not ``lattice``. With
            ``centred``, of each atom's energy by its own spin only.
        """
        gradient = Gradient(self.structure, len(sensitivity), lattice=lattice, centred=centred)
        for pick, part in self.parts:
            part.pullback(sensitivity[:, part.atoms, pick], gradient)
        return gradient
