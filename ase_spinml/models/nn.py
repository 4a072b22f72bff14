"""SpinNN: neural networks on SOSO features, one for each species, on top of the linear model."""

import numpy as np
import torch
from ase import Atoms
from sklearn.base import clone
from torch.nn.utils import vector_to_parameters
from tqdm import tqdm

from ase_spinml.devices import torch_device, torch_dtype
from ase_spinml.errors import InputError
from ase_spinml.models.base import register
from ase_spinml.models.descriptor_file import from_header, plain, to_header
from ase_spinml.models.design import KINDS
from ase_spinml.models.distributed import Workers
from ase_spinml.models.energy import EnergyModel, check_settings
from ase_spinml.models.gap import SpinGAP
from ase_spinml.models.heads import HEADS, PARITIES, make_head, mirror_signs
from ase_spinml.models.linear_torques import LinearTorques
from ase_spinml.models.network_evaluator import NetworkEvaluator
from ase_spinml.models.networks import Inputs
from ase_spinml.models.training import Schedule, Training
from ase_spinml.models.training_data import TrainingData, find_inputs
from ase_spinml.models.training_state import TrainingState
from ase_spinml.moments import get_moments

TRAINING = ("epochs", "learning_rate", "batch_frames", "validation", "patience", "max_inputs", "dtype")


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
        equilibrium and the others are driven. Only descriptors with ``chirality=True`` have odd features.
    device : str or torch.device
        Where networks are trained, "cpu" or "cuda"; linear part and components are computed on the CPU.
    dtype : str or torch.dtype
        "float64" or "float32", precision of the training; everything before, and the model, has double precision.
    baseline : ase calculator, optional
        The model learns the remainder; predictions include the baseline.
    progress : bool
        Show a progress bar where standard error is a terminal.

    Attributes
    ----------
    conservative : bool
        Whether the fields are derivatives of an energy.
    linear_ : SpinGAP or LinearTorques
        The linear part; has moment lengths and doubts about outlying frames.
    networks_ : list of SpeciesNetworks
    history_ : list of list of [training loss, validation loss]
        By member and epoch.
    noise_ : dict of label -> float
        Root-mean-square residual of validation frames, in the units of the sigmas.

    Examples
    --------
    >>> from ase_spinml import SOSO, SpinNN
    >>> from ase_spinml.demo import load_frames
    >>> frames = load_frames()[:6]                             # of the shipped set of iron
    >>> descriptor = SOSO(["Fe"], n_max=4, spin_l_max=1, body_order=2)
    >>> model = SpinNN(descriptor, hidden=(4,), epochs=2, validation=0).fit(frames)
    >>> model.evaluate(frames)["energy_rmse"] < 0.02           # eV/atom
    True
    """

    single_precision = True

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
        device="cpu",
        dtype="float64",
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
        self.device, self.dtype = device, str(dtype).removeprefix("torch.")
        self._device = torch_device(device)
        torch_dtype(dtype)
        self.baseline = baseline
        self.baseline_name = None if baseline is None else type(baseline).__name__
        self.progress = progress
        check_settings("SpinNN", descriptor, self.sigmas)

    @property
    def sigmas(self):
        """Residuals that weigh alike, by name."""
        return {f"sigma_{name}": getattr(self, f"sigma_{name}") for name in KINDS}

    def fit(self, frames, checkpoint=None):
        """Fit to frames (list of ase.Atoms with moments, labels in ``atoms.calc`` and ``exchange_fields``).

        Started by ``torchrun``, or within a process group of torch.distributed, all workers must call it alike; they
        share out the frames of each batch and end with the same model.

        Parameters
        ----------
        frames : list of ase.Atoms
        checkpoint : str or Path, optional
            File that keeps the state of the training. If it is there, the training goes on from it, on the same kind of
            processor with the same result as without interruption.

        Returns
        -------
        SpinNN
            Itself.

        Raises
        ------
        InputError
            As :meth:`ase_spinml.SpinGAP.fit`; for a checkpoint that is damaged or of another training; for losses that
            are not finite.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        workers = Workers.join(self._device)
        state = TrainingState(checkpoint, self, frames, workers)
        inputs = self._start(frames, state, workers)
        data, residuals = None, []
        self.networks_, self.history_ = [], []
        for member in range(self.n_members):
            found = state.get(f"member{member}")
            if found is None or "errors" not in found[1]:
                data = data or self._prepared(frames, inputs, workers)
                found = self._train(data, member, state, workers)
            arrays, header = found
            self.networks_.append(self._network(inputs, header["scales"], arrays["best_weights"]))
            self.history_.append(header["history"])
            residuals.append(header["errors"])
        self._evaluators = {}
        self._calibrate(residuals)
        return self

    def _start(self, frames, state, workers):
        """Fit or recall the linear part; returns the Inputs of each species."""
        found = state.get("start")
        if found is None:
            found = workers.share(lambda: self._fitted_start(frames))
            state.put("start", *found, now=True)
        arrays, header = found
        self.linear_ = self._linear_class().from_file_content(_under("linear.", arrays), header)
        self.linear_.baseline = self.baseline
        self.descriptor_, self.lattice_fitted = clone(self.descriptor).fit(frames), self.linear_.lattice_fitted
        self.summary_ = self.linear_.summary_
        kinds = range(len(self.descriptor_.species))
        return [Inputs(*(_aligned(arrays[f"{name}{z}"]) for name in ("mean", "directions"))) for z in kinds]

    def _fitted_start(self, frames):
        linear = self._linear_model().fit(frames)
        arrays, header = linear.to_file_content()
        arrays = {f"linear.{name}": array for name, array in arrays.items()}
        for z, own in enumerate(find_inputs(clone(self.descriptor).fit(frames), frames, self.max_inputs)):
            arrays |= {f"mean{z}": own.mean.numpy(), f"directions{z}": own.directions.numpy()}
        return arrays, header

    def _prepared(self, frames, inputs, workers):
        labels = [self._doubted(self._labels(frame, k), k) for k, frame in enumerate(frames)]
        return TrainingData(self, frames, labels, inputs, workers)

    def _linear_class(self):
        return SpinGAP if self.conservative else LinearTorques

    def _linear_model(self):
        if not self.conservative:
            return LinearTorques(
                self.descriptor, self.head, self.parity, self.sigma_field, self.max_inputs, self.baseline
            )
        descriptor = self.descriptor
        if descriptor.chirality:  # odd features have no place in a linear energy
            descriptor = clone(descriptor).set_params(chirality=False)
        return SpinGAP(descriptor, zeta=1, baseline=self.baseline, rng=self.rng, **self.sigmas)

    def _doubted(self, label, frame):
        """Labels to learn; those that the linear fit found to stand out get its larger standard deviations."""
        if not self.conservative:
            label.energy = label.forces = label.stress = None
        for kind, factor in self.summary_["outliers"].get(str(frame), {}).items():
            name = f"sigma_{kind}"
            label.sigmas[name] = factor * label.sigmas.get(name, self.sigmas[name])
        return label

    def _train(self, data, member, state, workers):
        """Train one member or go on with it: arrays and header of its Training, with the errors of its best network.

        Members keep different parts of the frames for validation; what is left is cut into batches along the order in
        which frames are dealt out to the workers.
        """
        kept = round(self.validation * len(data.order)) if len(data.order) >= 10 else 0
        order = np.roll(data.order, -member * kept)
        training, validation = data.batches(order[kept:], self.batch_frames), data.batches(order[:kept], 8)
        network = data.networks(self.hidden, torch.Generator().manual_seed(1000 * self.rng + member))
        schedule = Schedule(self.epochs, self.learning_rate, self.patience, [self.rng, member])
        run = Training(network, training, validation, schedule, workers)
        if found := state.get(f"member{member}"):
            run.restore(*found)
        shown = self.progress and workers.first
        with tqdm(total=self.epochs, initial=run.progress.epoch, unit="epoch", disable=None if shown else True) as bar:
            while not run.finished:
                errors = run.epoch()
                state.put(f"member{member}", *run.state())
                bar.update()
                bar.set_postfix(
                    {kind: f"{np.sqrt(value) * self.sigmas['sigma_' + kind]:.3g}" for kind, value in errors.items()}
                )
        run.choose_best()
        arrays, header = run.state()
        header |= {"errors": run.errors(validation), "scales": data.scales}
        state.put(f"member{member}", arrays, header, now=True)
        return arrays, header

    def _network(self, inputs, scales, weights):
        """Networks of one member, in double precision on the CPU, from its weights (P,)."""
        blocks = self.descriptor_.blocks()
        linear = linear_weights(self.linear_, blocks).unsqueeze(0) if self.conservative else self.linear_.weights_
        mirror = mirror_signs(blocks, self.parity)
        network = self._head.network(inputs, self.hidden, linear, scales, torch.Generator(), mirror)
        vector_to_parameters(torch.as_tensor(weights, dtype=torch.float64), network.parameters())
        return network

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
        linear = model._linear_class().from_file_content(_under("linear.", arrays), header["linear"])
        model.linear_, model.descriptor_, model.summary_ = linear, descriptor, linear.summary_
        model.lattice_fitted, model.baseline_name = linear.lattice_fitted, linear.baseline_name
        model.noise_, model.history_ = header["noise"], header["history"]
        model.networks_ = []
        for k in range(header["n_members"]):
            state = {name: torch.as_tensor(array) for name, array in _under(f"member{k}.", arrays).items()}
            model.networks_.append(model._head.from_state(state, model.hidden))
        model._evaluators = {}
        return model


def _aligned(array):
    """Rows of an array in memory of torch, where matrix products round alike in every run."""
    return torch.tensor(array).contiguous()


def _under(prefix, arrays):
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


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
