"""Networks of atomic energies: one multilayer perceptron for each species, beside a linear model.

Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007). The activations are smooth (SiLU), so that forces and fields
are, too. The perceptrons start at zero: training begins from the linear model.
"""

import itertools
import math

import torch

FLOOR = 1e-8
"""Principal components of less variance than this share of the largest are not blown up to unit variance."""
NEGLIGIBLE = 1e-14
"""Components below this share of the largest variance are left out."""


class Inputs(torch.nn.Module):
    """Principal components of the features of one species, of about unit variance each.

    Parameters
    ----------
    mean : (F,)
    directions : (F, K)
        Scaled components.
    """

    def __init__(self, mean, directions):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)

    @classmethod
    def of(cls, features, most, odd):
        """Up to ``most`` components of the features (n, F) of the training atoms.

        Features that are odd under time reversal, the mask ``odd`` (F,), are not mixed with others, and their mean is
        taken as zero.
        """
        if len(features) == 0:
            return cls(features.new_zeros(features.shape[1]), features.new_zeros(features.shape[1], 1))
        mean = torch.where(odd, 0.0, features.mean(0))
        covariance = (features - mean).T @ (features - mean) / len(features)
        covariance = torch.where(odd[:, None] == odd, covariance, 0.0)
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(0).clamp(min=0.0), vectors.flip(1)
        count = max(1, min(most, int((values > NEGLIGIBLE * values[0]).sum()), len(features)))
        scale = (values[:count] + FLOOR * values[0]).clamp(min=torch.finfo(values.dtype).tiny).rsqrt()
        return cls(mean, vectors[:, :count] * scale)

    def forward(self, features):
        """Components (n, K) of features (n, F)."""
        return (features - self.mean) @ self.directions


class Perceptron(torch.nn.Module):
    """K inputs, hidden layers, outputs that are zero at the start."""

    def __init__(self, n_inputs, hidden, n_outputs, generator):
        super().__init__()
        widths = [n_inputs, *hidden]
        pairs = itertools.pairwise(widths)
        self.hidden = torch.nn.ModuleList(_layer(a, b, generator, 1.0) for a, b in pairs)
        self.last = _layer(widths[-1], n_outputs, generator, 0.0)

    def forward(self, x):
        """Outputs (n, n_outputs) for inputs (n, K)."""
        for layer in self.hidden:
            x = torch.nn.functional.silu(layer(x))
        return self.last(x)


class SpeciesNetworks(torch.nn.Module):
    """Atomic energies from features: linear part plus ``scale`` times the perceptron of the species.

    With features that are odd under time reversal, energies are made even: the mean of the functions of the features
    and of their mirror image.

    Parameters
    ----------
    inputs : list of Inputs
        One for each species.
    hidden : sequence of int
        Widths of the hidden layers.
    linear : (n_species, F)
        Linear part, eV.
    scale : float
        Unit of the perceptrons' output, eV.
    generator : torch.Generator
        Of the first weights.
    mirror : (F,)
        -1 for features whose sign the energies must not depend on, else 1.
    """

    centred = False

    def __init__(self, inputs, hidden, linear, scale, generator, mirror):
        super().__init__()
        self.register_buffer("mirror", mirror)
        self.register_buffer("linear", linear)
        self.register_buffer("scale", torch.tensor(scale, dtype=linear.dtype))
        self.inputs = torch.nn.ModuleList(inputs)
        self.networks = torch.nn.ModuleList(Perceptron(p.directions.shape[1], hidden, 1, generator) for p in inputs)
        self._mirrored = bool((mirror != 1).any())

    def forward(self, features, species):
        """Energies (N,) in eV for features (N, F) of atoms of the given species (N,)."""
        energies = self._one_sided(features, species)
        if self._mirrored:
            energies = 0.5 * (energies + self._one_sided(features * self.mirror, species))
        return energies

    def _one_sided(self, features, species):
        energies = (features * self.linear.index_select(0, species)).sum(1)
        for rows, outputs in by_species(self.networks, self.inputs, features, species):
            energies = energies.index_add(0, rows, self.scale * outputs.squeeze(1))
        return energies

    def slopes(self, features, species, create_graph=False):
        """Energies (N,), and their derivatives with the features of the same atom (1, N, F)."""
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            energies = self(features, species)
            slopes = torch.autograd.grad(energies.sum(), features, create_graph=create_graph)[0]
        return energies, slopes.unsqueeze(0)


def by_species(networks, inputs, features, species):
    """Rows (n,) and outputs (n, n_outputs) of the atoms of each species."""
    for z, (components, network) in enumerate(zip(inputs, networks, strict=True)):
        rows = torch.nonzero(species == z).squeeze(1)
        yield rows, network(components(features.index_select(0, rows)))


def _layer(n_inputs, n_outputs, generator, gain):
    """Linear layer with normal weights of variance gain^2/n_inputs, in double precision, zero bias."""
    layer = torch.nn.Linear(n_inputs, n_outputs, dtype=torch.float64)
    weights = torch.randn(n_outputs, n_inputs, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(weights * gain / math.sqrt(n_inputs))
        layer.bias.zero_()
    return layer
