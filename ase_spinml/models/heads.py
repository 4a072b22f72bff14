"""What the networks of a model give: an energy, two potentials, or the fields themselves.

A field on the spins, H_i = -(1/m_i) s_i with the slope s_i, comes in four forms; the second is the one of Chern et al.,
arXiv:2604.11513:

- "conservative": s_i = dE/de_i with E = sum_k eps(x_k), the energy;
- "global": s_i = dE/de_i + e_i x dG/de_i with E and G sums over atoms;
- "site": s_i = d eps(x_i)/de_i + e_i x d gamma(x_i)/de_i at fixed neighbours. On the sphere of one spin every tangent
  field is a gradient and a rotated gradient (Helmholtz and Hodge), so each spin can have any field; two global
  potentials cannot give all fields of several spins;
- "direct": s_i = sum_f [a_f(x_i) dx_f/de_i + b_f(x_i) e_i x dx_f/de_i] at fixed neighbours, with coefficients from the
  network: vectors built on those of the descriptor.

All are covariant under rotations of all spins, as the features x are invariant. Networks give sensitivities, (H, N, F)
with H = 1 (or 2 with the rotated part), the features pull them back to spins, and :func:`spin_slopes` adds up.
"""

from dataclasses import dataclass

import torch

from ase_spinml.models.networks import Inputs, Perceptron, SpeciesNetworks, by_species

HEADS = ("conservative", "global", "site", "direct")
PARITIES = ("equilibrium", "driven")


@dataclass(frozen=True)
class Head:
    """How networks become fields.

    Attributes
    ----------
    name : str
    conservative : bool
        Whether there is an energy whose derivatives the fields are.
    centred : bool
        Whether features are differentiated with the spin of their own atom alone.
    rotated : bool
        Whether there is a part e_i x (...).
    """

    name: str
    conservative: bool
    centred: bool
    rotated: bool

    @property
    def count(self):
        """Sensitivities of a network, H."""
        return 2 if self.rotated else 1

    def network(self, inputs, hidden, linear, scales, generator, mirror):
        """Untrained networks around a linear part (H, n_species, F), with H units; the rest as for SpeciesNetworks."""
        if self.name == "direct":
            return Covariants(inputs, hidden, linear, scales, generator, mirror)
        pairs = zip(linear, scales, strict=True)
        parts = [SpeciesNetworks(inputs, hidden, part, scale, generator, mirror) for part, scale in pairs]
        return parts[0] if self.conservative else Potentials(parts, self.centred)

    def from_state(self, state, hidden):
        """Networks with the weights of a ``state_dict``."""
        first = "" if self.conservative or self.name == "direct" else "parts.0."
        linear, mirror = state[f"{first}linear"], state[f"{first}mirror"]
        names = [f"{first}inputs.{z}" for z in range(linear.shape[-2])]
        inputs = [Inputs(state[f"{name}.mean"], state[f"{name}.directions"]) for name in names]
        linear = linear if linear.dim() == 3 else linear.expand(self.count, *linear.shape)
        network = self.network(inputs, hidden, linear.clone(), [1.0] * self.count, torch.Generator(), mirror)
        network.load_state_dict(state)
        return network


def make_head(name, parity):
    """The head of that name; in equilibrium nothing has a rotated part."""
    rotated = parity == "driven" and name != "conservative"
    return Head(name, name == "conservative", name in ("site", "direct"), rotated)


def mirror_signs(blocks, parity):
    """-1 for features that are odd under time reversal if nothing may depend on their sign, else 1: (F,)."""
    odd = torch.cat([odd_columns(block) for block in blocks.values()])
    return torch.where(odd & (parity == "equilibrium"), -1.0, 1.0).double()


def odd_columns(block):
    """Which features of a block are odd under time reversal, (F,) of bool."""
    return torch.as_tensor(getattr(block, "odd", False)).expand(block.n_features)


class Potentials(torch.nn.Module):
    """Networks of E and, if there is a second, of G.

    Parameters
    ----------
    parts : list of SpeciesNetworks
    centred : bool
        Whether each atom's potentials are its own.
    """

    def __init__(self, parts, centred):
        super().__init__()
        self.centred = centred
        self.parts = torch.nn.ModuleList(parts)

    def slopes(self, features, species, create_graph=False):
        """No energy, and the derivatives of the potentials with the features (H, N, F)."""
        found = [part.slopes(features, species, create_graph)[1] for part in self.parts]
        return None, torch.cat(found)


class Covariants(torch.nn.Module):
    """Coefficients of the vectors dx_f/de_i: constants plus those of a perceptron on the components, in units.

    Parameters are those of :class:`ase_spinml.models.networks.SpeciesNetworks`, with ``linear`` (H, n_species, F) and
    H units ``scales``.
    """

    centred = True

    def __init__(self, inputs, hidden, linear, scales, generator, mirror):
        super().__init__()
        self.register_buffer("mirror", mirror)
        self.register_buffer("linear", linear)
        self.register_buffer("scales", torch.tensor(scales, dtype=linear.dtype))
        self.inputs = torch.nn.ModuleList(inputs)
        widths = [p.directions.shape[1] for p in inputs]
        self.networks = torch.nn.ModuleList(Perceptron(n, hidden, len(linear) * n, generator) for n in widths)
        self._mirrored = bool((mirror != 1).any())

    def slopes(self, features, species, create_graph=False):
        """No energy, and coefficients (H, N, F)."""
        with torch.set_grad_enabled(create_graph):
            found = self._one_sided(features, species)
            if self._mirrored:
                found = 0.5 * (found + self._one_sided(features * self.mirror, species) * self.mirror)
        return None, found

    def _one_sided(self, features, species):
        found = self.linear.index_select(1, species)
        groups = by_species(self.networks, self.inputs, features, species)
        for inputs, (rows, outputs) in zip(self.inputs, groups, strict=True):
            parts = outputs.unflatten(1, (len(found), -1)).transpose(0, 1) @ inputs.directions.T
            found = found.index_add(1, rows, self.scales[:, None, None] * parts)
        return found


def spin_slopes(found, spins):
    """Slopes s (..., N, 3) from derivatives (..., H, N, 3) by unit spins (N, 3): the second of H = 2 is rotated."""
    plain = found[..., 0, :, :]
    if found.shape[-3] == 1:
        return plain
    rotated = found[..., 1, :, :]
    return plain + torch.linalg.cross(spins.expand_as(rotated), rotated)
