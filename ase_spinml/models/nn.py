"""SpinNN: neural networks on SOSO features, one for each species, on top of the linear model."""

import numpy as np
import torch
from ase import Atoms
from sklearn.base import clone
from tqdm import tqdm

from ase_spinml.errors import InputError
from ase_spinml.models.base import register
from ase_spinml.models.baseline import baseline_results, subtract
from ase_spinml.models.batches import make_batch
from ase_spinml.models.descriptor_file import from_header, plain, to_header
from ase_spinml.models.design import KINDS
from ase_spinml.models.energy import EnergyModel
from ase_spinml.models.gap import SpinGAP
from ase_spinml.models.heads import HEADS, PARITIES, make_head
from ase_spinml.models.network_evaluator import NetworkEvaluator
from ase_spinml.models.networks import Inputs
from ase_spinml.models.torque_labels import TorqueLabels
from ase_spinml.models.torques import linear_torques
from ase_spinml.models.training import Schedule, Training
from ase_spinml.moments import get_moments

TRAINING = ("epochs", "learning_rate", "batch_frames", "validation", "patience", "max_inputs")


@register("SpinNN")
class SpinNN(EnergyModel):
    """Atomic energies from neural networks over SOSO features (Behler and Parrinello, PRL 98, 146401 (2007)).

    E = sum_i [w.x_i + network(x_i)]. The linear part is a :class:`~ase_spinml.SpinGAP` with zeta = 1, fitted first; a
    perceptron per species then learns what is left, from total energies, forces, stresses and exchange fields
    together; any of them may be missing from any frame. Several members, trained on different splits from different
    weights, give standard deviations. The loss is the sum over kinds of labels of the mean squared residual in units of
    the sigmas.

    Fields of driven systems are no derivatives of an energy. With one of the other heads
    (:mod:`ase_spinml.models.heads`; Chern et al., arXiv:2604.11513) the model learns exchange fields alone, is
    ``conservative = False``, and has neither energy nor forces.

    Parameters
    ----------
    descriptor : SOSO
    hidden : sequence of int
        Widths of the hidden layers (SiLU).
    head : "conservative", "global", "site" or "direct"
        What the networks give: atomic energies; two potentials E and G of all spins, with H = -dE/dm - e x dG/dm; two
        potentials of each site with its neighbours frozen; coefficients of covariant vectors.
    n_members : int
        Networks whose mean is the prediction.
    rng : int
        Seed of weights, splits and the order of batches.
    sigma_energy, sigma_forces, sigma_stress, sigma_field : float
        Residuals that weigh alike, in eV/atom, eV/A, eV/A^3, eV/mu_B; ``atoms.info`` may hold the same for a frame
        of its own.
    epochs : int
        Passes over the training frames; the learning rate falls along a cosine.
    learning_rate : float
        Of Adam at the start.
    batch_frames : int
        Frames of one step.
    validation : float
        Share of frames kept from each member to choose its best epoch; none with fewer than ten frames.
    patience : int
        Epochs without a better validation loss after which to stop.
    max_inputs : int
        Principal components of the features that a network sees.
    parity : "equilibrium" or "driven", optional
        Under time reversal: E even and no G, or both parities in E and G. By default the conservative head is in
        equilibrium and the others are driven. It takes ``SOSO(chirality=True)`` to have odd features at all.
    baseline : ase calculator, optional
        The model learns the remainder; predictions include the baseline.
    progress : bool
        Show a progress bar where standard error is a terminal.

    Attributes
    ----------
    conservative : bool
        Whether the fields are derivatives of an energy.
    linear_ : SpinGAP or TorqueLabels
        What was fitted first: the linear part with its doubts about outlying frames, or, for torques, the data alone
        (each network has a linear part of its own); has moment lengths.
    networks_ : list of SpeciesNetworks
    history_ : list of list of [training loss, validation loss]
        By member and epoch.
    noise_ : dict of label -> float
        Root-mean-square residual of validation frames, in the units of the sigmas.
    """

    def __init__(
        self,
        descriptor,
        hidden=(64, 64),
        head="conservative",
        n_members=1,
        rng=0,
        *,
        sigma_energy=1e-3,
        sigma_forces=0.05,
        sigma_stress=1e-3,
        sigma_field=5e-3,
        epochs=200,
        learning_rate=2e-3,
        batch_frames=4,
        validation=0.1,
        patience=100,
        max_inputs=256,
        parity=None,
        baseline=None,
        progress=True,
    ):
        if head not in HEADS:
            raise InputError(f"Expected head to be one of {', '.join(map(repr, HEADS))}, got {head!r}.")
        if parity is not None and parity not in PARITIES:
            raise InputError(f"Expected parity to be 'equilibrium' or 'driven', got {parity!r}.")
        for name, value in {
            "n_members": n_members,
            "epochs": epochs,
            "batch_frames": batch_frames,
            "patience": patience,
            "max_inputs": max_inputs,
        }.items():
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"Expected {name} to be a whole number >= 1, got {value!r}.")
        if not isinstance(rng, (int, np.integer)) or rng < 0:
            raise InputError(f"Expected rng to be a whole number >= 0, the seed of all members, got {rng!r}.")
        widths = list(hidden)
        if not widths or not all(isinstance(width, (int, np.integer)) and width > 0 for width in widths):
            raise InputError(f"Expected hidden to be widths of layers such as (64, 64), got {hidden!r}.")
        if not 0 <= validation < 1:
            raise InputError(f"Expected validation to be a share of the frames from 0 to below 1, got {validation!r}.")
        if not (np.isfinite(learning_rate) and learning_rate > 0):
            raise InputError(f"Expected learning_rate > 0, got {learning_rate!r}.")
        self.descriptor, self.hidden, self.head = descriptor, tuple(widths), head
        self.parity = parity or ("equilibrium" if head == "conservative" else "driven")
        self._head = make_head(head, self.parity)
        self.conservative = self._head.conservative
        self.n_members, self.rng = n_members, rng
        self.sigma_energy, self.sigma_forces = sigma_energy, sigma_forces
        self.sigma_stress, self.sigma_field = sigma_stress, sigma_field
        self.epochs, self.learning_rate, self.batch_frames = epochs, learning_rate, batch_frames
        self.validation, self.patience, self.max_inputs = validation, patience, max_inputs
        self.baseline = baseline
        self.baseline_name = None if baseline is None else type(baseline).__name__
        self.progress = progress
        self._linear_model()  # checks descriptor and sigmas

    @property
    def sigmas(self):
        """Residuals that weigh alike, by name."""
        return {f"sigma_{name}": getattr(self, f"sigma_{name}") for name in KINDS}

    def fit(self, frames):
        """Fit to frames (list of ase.Atoms with moments, labels in ``atoms.calc`` and ``exchange_fields``).

        Raises InputError as :meth:`ase_spinml.SpinGAP.fit`. Returns self.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        self.linear_ = self._linear_model().fit(frames)
        self.descriptor_, self.lattice_fitted = clone(self.descriptor).fit(frames), self.linear_.lattice_fitted
        self.summary_ = self.linear_.summary_
        labels = [self._doubted(self._labels(frame, k), k) for k, frame in enumerate(frames)]
        if self.baseline is not None:
            for label, frame in zip(labels, frames, strict=True):
                subtract(label, baseline_results(self.baseline, frame))
        structures = [self.descriptor_.structure(frame) for frame in frames]
        data = _Data(self.descriptor_.blocks(), structures, labels, self.sigmas, self.linear_.offsets_)
        self.networks_, self.history_, residuals = [], [], []
        for member in range(self.n_members):
            network, history, errors = self._train(data, member)
            self.networks_.append(network)
            self.history_.append(history)
            residuals.append(errors)
        self._evaluators = {}
        self._calibrate(residuals)
        return self

    def _linear_model(self):
        if not self.conservative:
            return TorqueLabels(self.descriptor)
        descriptor = self.descriptor
        if getattr(descriptor, "chirality", False):  # odd features have no place in a linear energy
            descriptor = clone(descriptor).set_params(chirality=False)
        return SpinGAP(descriptor, zeta=1, baseline=self.baseline, rng=self.rng, **self.sigmas)

    def _doubted(self, label, frame):
        """Labels to learn; those that the linear fit found to stand out get its larger standard deviations."""
        if not self.conservative:
            label.energy = label.forces = label.stress = None
        for kind, factor in self.linear_.outliers_.get(frame, {}).items():
            name = f"sigma_{kind}"
            label.sigmas[name] = factor * label.sigmas.get(name, self.sigmas[name])
        return label

    def _train(self, data, member):
        """Best network of one member, its history, and mean squared residuals on its validation frames."""
        order = np.random.default_rng([self.rng, member]).permutation(len(data))
        kept = round(self.validation * len(order)) if len(order) >= 10 else 0
        training, validation = data.batches(order[kept:], self.batch_frames), data.batches(order[:kept], 8)
        generator = torch.Generator().manual_seed(1000 * self.rng + member)
        inputs, mirror = data.inputs(training, self.max_inputs), data.mirror(self.parity)
        if self.conservative:
            linear, scales = linear_weights(self.linear_, data.blocks).unsqueeze(0), [data.scale()]
        else:
            linear, scales = linear_torques(training, inputs, self._head, mirror)
        network = self._head.network(inputs, self.hidden, linear, scales, generator, mirror)
        schedule = Schedule(self.epochs, self.learning_rate, self.patience, [self.rng, member])
        run = Training(network, training, validation, schedule, data.offsets)
        with tqdm(total=self.epochs, unit="epoch", disable=None if self.progress else True) as bar:
            while not run.finished:
                errors = run.epoch()
                bar.update()
                bar.set_postfix(
                    {kind: f"{np.sqrt(value) * self.sigmas['sigma_' + kind]:.3g}" for kind, value in errors.items()}
                )
        network.load_state_dict(run.progress.best_weights)
        return network, run.progress.history, run.errors(validation)

    def _calibrate(self, residuals):
        """Noise of the labels about a member, from the validation frames of all."""
        self.noise_ = {}
        for kind in KINDS:
            values = [errors[kind] for errors in residuals if kind in errors]
            self.noise_[kind] = float(np.sqrt(np.mean(values)) * self.sigmas[f"sigma_{kind}"]) if values else 0.0

    def _make_evaluator(self, device, dtype):
        return NetworkEvaluator(self, device, dtype)

    def uncertainty(self, atoms, fields=True):
        """Standard deviations of the energy (float, eV) and of each field component ((N, 3), eV/mu_B).

        The spread of the members and the residuals that validation frames have shown, added in squares; one member has
        no spread. A model of torques has no energy and gives nan for it.
        """
        self.check_frame(atoms)
        structure = self.descriptor_.structure(atoms)
        lengths = np.linalg.norm(get_moments(atoms), axis=1)
        energies, spins = self.evaluator().members(structure, lengths)
        many, energy = len(spins) > 1, np.nan
        if energies is not None:
            energy = float(np.hypot(energies.std(ddof=1) if many else 0.0, self.noise_["energy"] * len(atoms)))
        if not fields:
            return energy, np.zeros((len(atoms), 3))
        parts = spins.std(axis=0, ddof=1) if many else np.zeros((len(atoms), 3))
        known = (structure.spins.numpy().any(axis=1) & (lengths > 0))[:, None]
        return energy, np.where(known, np.hypot(parts, self.noise_["field"]), 0.0)

    def to_file_content(self):
        """Arrays and header of a model file."""
        if not hasattr(self, "networks_"):
            raise InputError("the model is not fitted: call fit(frames) before save(path)")
        arrays, linear = self.linear_.to_file_content()
        arrays = {f"linear.{name}": array for name, array in arrays.items()}
        for k, network in enumerate(self.networks_):
            arrays |= {f"member{k}.{name}": value.numpy() for name, value in network.state_dict().items()}
        parameters = {name: getattr(self, name) for name in TRAINING}
        header = {
            "linear": linear,
            "hidden": [int(width) for width in self.hidden],
            "head": self.head,
            "parity": self.parity,
            **to_header(self.descriptor_),
            "n_members": int(self.n_members),
            "rng": int(self.rng),
            "parameters": plain(parameters) | self.sigmas,
            "noise": self.noise_,
            "history": self.history_,
        }
        return arrays, header

    @classmethod
    def from_file_content(cls, arrays, header):
        """Inverse of :meth:`to_file_content`; a baseline must be attached again as ``model.baseline``."""
        own = {name.removeprefix("linear."): array for name, array in arrays.items() if name.startswith("linear.")}
        descriptor = from_header(header)
        model = cls(
            clone(descriptor),
            header["hidden"],
            header["head"],
            header["n_members"],
            header["rng"],
            parity=header["parity"],
            **header["parameters"],
        )
        linear = (SpinGAP if model.conservative else TorqueLabels).from_file_content(own, header["linear"])
        model.linear_, model.descriptor_, model.summary_ = linear, descriptor, linear.summary_
        model.lattice_fitted, model.baseline_name = linear.lattice_fitted, linear.baseline_name
        model.noise_, model.history_ = header["noise"], header["history"]
        model.networks_ = []
        for k in range(header["n_members"]):
            state = {
                name.removeprefix(f"member{k}."): torch.as_tensor(array)
                for name, array in arrays.items()
                if name.startswith(f"member{k}.")
            }
            model.networks_.append(model._head.from_state(state, model.hidden))
        model._evaluators = {}
        return model


class _Data:
    """Frames ready to be put into batches."""

    def __init__(self, blocks, structures, labels, sigmas, offsets):
        self.blocks, self._structures, self._labels, self._sigmas = blocks, structures, labels, sigmas
        self.offsets = torch.as_tensor(offsets)

    def __len__(self):
        return len(self._structures)

    def batches(self, order, size):
        """Batches of the frames of ``order``, ``size`` at a time."""
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        return [
            make_batch(self.blocks, *([x[k] for k in group] for x in (self._structures, self._labels)), self._sigmas)
            for group in groups
        ]

    def inputs(self, batches, most):
        """Inputs of the networks by species, from the features of the training atoms."""
        features = torch.cat([batch.graph.features for batch in batches])
        species = torch.cat([batch.species for batch in batches])
        return [Inputs.of(features[species == z], most) for z in range(len(self.offsets))]

    def mirror(self, parity):
        """-1 for features that are odd under time reversal if nothing may depend on their sign, else 1: (F,)."""
        odd = [torch.as_tensor(getattr(block, "odd", False)).expand(block.n_features) for block in self.blocks.values()]
        odd = torch.cat(odd) & (parity == "equilibrium")
        return torch.where(odd, -1.0, 1.0).double()

    def scale(self):
        """Unit of a network's output in eV: the spread of the energies per atom, or the size of m_i H_i without."""
        found = [
            (label.energy - float(self.offsets[structure.species].sum())) / len(structure)
            for label, structure in zip(self._labels, self._structures, strict=True)
            if label.energy is not None
        ]
        if len(found) < 2:
            known = [(label, label.labelled_spins) for label in self._labels if label.fields is not None]
            turns = [(x.lengths[mask, None] * x.fields[mask]).ravel() for x, mask in known]
            found = np.concatenate([*turns, [0.0]])
        return max(float(np.std(found)), 1e-4)


def linear_weights(linear, blocks):
    """dE/dx of a SpinGAP with zeta = 1, (n_species, F), columns of the blocks in their order."""
    names = list(blocks)
    starts = np.cumsum([0, *(block.n_features for block in blocks.values())])
    out, start = torch.zeros(len(linear.descriptor_.species), int(starts[-1]), dtype=torch.float64), 0
    for term in linear.terms_:
        weights = term.whitening @ torch.as_tensor(linear.column_weights_[start : start + term.size])
        start += term.size
        first = int(starts[names.index(term.block)])
        out[term.species, first : first + len(weights)] = term.scale * weights
    return out
