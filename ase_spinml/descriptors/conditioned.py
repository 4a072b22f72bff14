"""Features that depend on numbers of the whole frame, such as a voltage."""

import torch

POWERS = 2
"""Highest power of a parameter that features are multiplied with."""


class Conditioned:
    """The features x of a block, and x v, x v^2 for every parameter v of the frame.

    So a model that is linear in features is quadratic in each parameter, and a network sees their product with what
    they act on.

    Parameters
    ----------
    block : descriptor block
    names : list of str
        Of the parameters.
    """

    def __init__(self, block, names):
        self._block, self._names = block, list(names)
        self.n_features = block.n_features * (1 + POWERS * len(self._names))
        self.odd = torch.as_tensor(block.odd).repeat(1 + POWERS * len(self._names))

    def names(self, species, magnetic):
        """Label of every feature."""
        plain = list(self._block.names(species, magnetic))
        factors = [f" x {name}^{power}" for name in self._names for power in range(1, POWERS + 1)]
        return plain + [label + factor for factor in factors for label in plain]

    def parts(self, structure):
        """The parts of the block."""
        return (ConditionedPart(part, structure) for part in self._block.parts(structure))


class ConditionedPart:
    """Features of a chunk of atoms, and the way back."""

    def __init__(self, part, structure):
        self._part, self.structure, self.atoms = part, structure, part.atoms
        values = structure.parameters
        if structure.frames is not None:
            values = values.index_select(0, structure.frames[part.atoms])
        powers = [values**power for power in range(1, POWERS + 1)]
        factors = torch.stack(powers, dim=2).flatten(1).expand(len(part.features), -1)
        self._factors = torch.cat([torch.ones_like(factors[:, :1]), factors], dim=1)  # (n, 1 + POWERS P)
        self.features = (self._factors.unsqueeze(2) * part.features.unsqueeze(1)).flatten(1)

    def pullback(self, sensitivity, gradient):
        """Add the derivatives of B energies with dE/dx = sensitivity (B, n, F) to ``gradient``."""
        split = sensitivity.unflatten(2, (self._factors.shape[1], -1))
        self._part.pullback((split * self._factors.unsqueeze(2)).sum(2), gradient)

    def along(self, turns):
        """Derivatives of the features (D, n, F) when spins turn by ``turns`` (D, N, 3)."""
        return (self._factors.unsqueeze(2) * self._part.along(turns).unsqueeze(2)).flatten(2)
