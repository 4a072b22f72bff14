"""What a model of torques takes from its frames beside their fields."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV

from ase_spinml.errors import InputError
from ase_spinml.models.descriptor_file import from_header, to_header
from ase_spinml.models.graph import Graph
from ase_spinml.models.labels import read_labels


class TorqueLabels:
    """What a model of torques knows of its training frames beside their fields: elements and moment lengths.

    Parameters
    ----------
    descriptor : SOSO

    Attributes
    ----------
    summary_ : dict
    length_weights_ : dict of symbol -> (F + 1,)
        Moment lengths in mu_B as linear functions of the features, the constant last.
    """

    lattice_fitted, baseline_name = False, None

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.outliers_ = {}

    def fit(self, frames):
        """Read frames (list of ase.Atoms); raises InputError if there are none or none has exchange_fields."""
        if not frames:
            raise InputError("at least one frame is needed to fit a model, got an empty list")
        labels = [read_labels(frame, f"frame {k}") for k, frame in enumerate(frames)]
        if not any(label.labelled_spins.any() for label in labels):
            raise InputError(
                "Expected frames with exchange_fields for a model of torques, got none: label them, or use "
                "head='conservative' to learn from energies and forces."
            )
        self.descriptor_ = clone(self.descriptor).fit(frames)
        self.offsets_ = np.zeros(len(self.descriptor_.species))
        symbols = np.concatenate([frame.get_chemical_symbols() for frame in frames])
        lengths = np.concatenate([label.lengths for label in labels])
        self._fit_lengths(frames, symbols, lengths)
        self.summary_ = {
            "n_frames": len(frames),
            "n_atoms": len(symbols),
            "n_atoms_by_species": {z: int((symbols == z).sum()) for z in self.descriptor_.species},
            "n_labels": {"field": int(sum(label.labelled_spins.sum() for label in labels))},
        }
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

    def evaluator(self, device, dtype):
        """This object, which has :meth:`moment_lengths`."""
        return self

    def moment_lengths(self, structure):
        """Adiabatic moment lengths M(x_i), (N,) mu_B; zero for non-magnetic species."""
        blocks = self.descriptor_.blocks(structure.positions.dtype, structure.positions.device)
        features = Graph(blocks, structure).features.cpu().numpy()
        lengths, species = np.zeros(len(structure)), structure.species.cpu().numpy()
        for symbol, weights in self.length_weights_.items():
            mine = species == list(self.descriptor_.species).index(symbol)
            lengths[mine] = features[mine] @ weights[:-1] + weights[-1]
        return lengths

    def to_file_content(self):
        """Arrays and header of a model file."""
        arrays = {f"lengths.{symbol}": weights for symbol, weights in self.length_weights_.items()}
        return arrays, {**to_header(self.descriptor_), "training": self.summary_}

    @classmethod
    def from_file_content(cls, arrays, header):
        """Inverse of :meth:`to_file_content`."""
        descriptor = from_header(header)
        labels = cls(clone(descriptor))
        labels.descriptor_, labels.summary_ = descriptor, header["training"]
        labels.offsets_ = np.zeros(len(descriptor.species))
        labels.length_weights_ = {name.removeprefix("lengths."): weights for name, weights in arrays.items()}
        return labels
