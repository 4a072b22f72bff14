"""The linear part of a model of torques: fields linear in the features' derivatives, and adiabatic moment lengths."""

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import RidgeCV

from ase_spinml.descriptors.structure import concatenate
from ase_spinml.errors import InputError
from ase_spinml.models.baseline import baseline_results, subtract
from ase_spinml.models.batches import make_batch
from ase_spinml.models.descriptor_file import from_header, to_header
from ase_spinml.models.energy import EnergyModel
from ase_spinml.models.evaluator import structure_results
from ase_spinml.models.graph import Graph
from ase_spinml.models.heads import make_head, mirror_signs, spin_slopes
from ase_spinml.models.torque_regression import fit_torques
from ase_spinml.models.training_data import find_inputs


class LinearTorques(EnergyModel):
    """Slopes s_i of the spins, see :mod:`ase_spinml.models.heads`, with potentials or coefficients linear in features.

    Parameters
    ----------
    descriptor : SOSO or LatticeDescriptor
    head, parity : str
        As for :class:`~ase_spinml.SpinNN`.
    sigma_field : float
        Relative weight of fields, eV/mu_B, where frames say nothing else.
    max_inputs : int
        Principal components of the features.
    baseline : ase calculator, optional

    Attributes
    ----------
    weights_ : (H, n_species, F) tensor
        eV.
    scales_ : list of H floats
        Size of what is left for networks, eV.
    length_weights_ : dict of symbol -> (F + 1,)
        Moment lengths in mu_B as linear functions of the features, the constant last.
    """

    conservative, lattice_fitted = False, False

    def __init__(self, descriptor, head, parity, sigma_field, max_inputs=256, baseline=None):
        self.descriptor, self.head, self.parity = descriptor, head, parity
        self.sigma_field, self.max_inputs = sigma_field, max_inputs
        self.baseline = baseline
        self.baseline_name = None if baseline is None else type(baseline).__name__

    def fit(self, frames):
        """Fit to frames (list of ase.Atoms with ``exchange_fields``); raises InputError if none has any."""
        if not frames:
            raise InputError("at least one frame is needed to fit a model, got an empty list")
        labels = [self._labels(frame, k) for k, frame in enumerate(frames)]
        if not any(label.labelled_spins.any() for label in labels):
            raise InputError(
                "Expected frames with exchange_fields for a model of torques, got none: label them, or use "
                "head='conservative' to learn from energies and forces."
            )
        for label, frame in zip(labels, frames, strict=True):
            label.energy = label.forces = label.stress = None
            if self.baseline is not None:
                subtract(label, baseline_results(self.baseline, frame))
        self.descriptor_ = clone(self.descriptor).fit(frames)
        blocks = self.descriptor_.blocks()
        structures = (self.descriptor_.structure(frame) for frame in frames)
        sigmas = {"sigma_field": self.sigma_field}
        batches = (
            make_batch(Graph(blocks, concatenate([structure])), [structure], [label], sigmas)
            for structure, label in zip(structures, labels, strict=True)
            if label.labelled_spins.any()
        )
        inputs = find_inputs(self.descriptor_, frames, self.max_inputs)
        head, mirror = make_head(self.head, self.parity), mirror_signs(blocks, self.parity)
        self.weights_, self.scales_ = fit_torques(batches, inputs, head, mirror)
        symbols = np.concatenate([frame.get_chemical_symbols() for frame in frames])
        self._fit_lengths(frames, symbols, np.concatenate([label.lengths for label in labels]))
        self.summary_ = {
            "n_frames": len(frames),
            "n_atoms": len(symbols),
            "n_atoms_by_species": {z: int((symbols == z).sum()) for z in self.descriptor_.species},
            "n_labels": {"field": int(sum(label.labelled_spins.sum() for label in labels))},
            "outliers": {},
        }
        self._evaluators = {}
        return self

    def _fit_lengths(self, frames, symbols, lengths):
        self.length_weights_, features = {}, None
        for symbol in self.descriptor_.magnetic_species():
            mine = symbols == symbol
            if not mine.any():
                continue
            weights = np.append(np.zeros(self.descriptor_.n_features), lengths[mine].mean())
            if np.ptp(lengths[mine]) > 1e-9:
                features = self.descriptor_.transform(frames) if features is None else features
                scale = 1 / np.maximum(np.sqrt(np.mean(features[mine] ** 2, axis=0)), 1e-12)
                fit = RidgeCV(alphas=np.logspace(-6, 2, 17)).fit(features[mine] * scale, lengths[mine])
                weights = np.append(fit.coef_ * scale, fit.intercept_)
            self.length_weights_[symbol] = weights

    def _make_evaluator(self, device, dtype):
        return LinearTorquesEvaluator(self, device, dtype)

    def to_file_content(self):
        """Arrays and header of a model file."""
        arrays = {f"lengths.{symbol}": weights for symbol, weights in self.length_weights_.items()}
        parameters = {"head": self.head, "parity": self.parity, "sigma_field": float(self.sigma_field)}
        header = {
            **to_header(self.descriptor_),
            "parameters": parameters | {"max_inputs": int(self.max_inputs)},
            "scales": self.scales_,
            "baseline": self.baseline_name,
            "training": self.summary_,
        }
        return arrays | {"weights": self.weights_.numpy()}, header

    @classmethod
    def from_file_content(cls, arrays, header):
        """Inverse of :meth:`to_file_content`; a baseline must be attached again as ``model.baseline``."""
        descriptor = from_header(header)
        model = cls(clone(descriptor), **header["parameters"])
        model.descriptor_, model.summary_ = descriptor, header["training"]
        model.baseline_name, model.scales_ = header["baseline"], header["scales"]
        model.weights_ = torch.tensor(arrays["weights"])
        model.length_weights_ = {
            name.removeprefix("lengths."): weights for name, weights in arrays.items() if name.startswith("lengths.")
        }
        model._evaluators = {}
        return model


class LinearTorquesEvaluator:
    """A fitted LinearTorques on a device: structures in, fields and moment lengths out."""

    def __init__(self, model, device, dtype):
        self._model, self._head = model, make_head(model.head, model.parity)
        self._blocks = model.descriptor_.blocks(dtype, device)
        mirror = mirror_signs(self._blocks, model.parity).to(dtype)
        self._weights = model.weights_.to(dtype=dtype, device=device) * (0.5 * (1 + mirror))

    def spin_slopes(self, structure):
        """Slopes s_i = -m_i H_i (N, 3) in eV."""
        return self._slopes(structure)[0]

    def results(self, structure, lengths, lattice=True):
        """``exchange_fields`` (N, 3) eV/mu_B and ``effective_fields``, for moment lengths (N,) in mu_B."""
        return structure_results(None, *self._slopes(structure), structure, lengths)

    def _slopes(self, structure):
        graph = Graph(self._blocks, structure)
        sensitivity = self._weights.index_select(1, structure.species)
        gradient = graph.pullback(sensitivity, lattice=False, centred=self._head.centred)
        return spin_slopes(gradient.spins, structure.spins), gradient

    def moment_lengths(self, structure):
        """Adiabatic moment lengths M(x_i), (N,) mu_B; zero for non-magnetic species."""
        features = Graph(self._blocks, structure).features.cpu().numpy()
        lengths, species = np.zeros(len(structure)), structure.species.cpu().numpy()
        for symbol, weights in self._model.length_weights_.items():
            mine = species == list(self._model.descriptor_.species).index(symbol)
            lengths[mine] = features[mine] @ weights[:-1] + weights[-1]
        return lengths
