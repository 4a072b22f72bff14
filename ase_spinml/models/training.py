"""The training of a network: loss, epochs, validation, early stopping, and a state from which it goes on exactly.

The loss is the sum over kinds of labels of their mean squared residual in units of sigma. Batches are made once, their
order in each epoch depends on seed and epoch alone, and the learning rate on the epoch alone: weights, the optimizer's
moments and a few counters are all there is to a state.
"""

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from ase_spinml.models.batches import predictions, squares

FINAL_RATE = 0.01
"""Learning rate of the last epoch, relative to the first."""


@dataclass
class Schedule:
    """How to train.

    Attributes
    ----------
    epochs : int
    learning_rate : float
        Of Adam in the first epoch; it falls along a cosine to a hundredth.
    patience : int
        Epochs without a better validation loss after which to stop.
    seed : list of int
        Of the order of batches.
    """

    epochs: int
    learning_rate: float
    patience: int
    seed: list

    def rate(self, epoch):
        """Learning rate of an epoch, counted from zero."""
        share = 0.5 * (1 + math.cos(math.pi * epoch / max(self.epochs, 1)))
        return self.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * share)


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    epoch : int
        Epochs done.
    best : float
        Smallest validation loss so far.
    best_epoch : int
    best_weights : dict
        Weights that had it.
    history : list of [training loss, validation loss]
    """

    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    best_weights: dict = field(default_factory=dict)
    history: list = field(default_factory=list)


class Training:
    """Training of one network.

    Parameters
    ----------
    network : torch.nn.Module
        With ``slopes`` and ``centred``, see :mod:`ase_spinml.models.heads`.
    batches, validation : list of Batch
        Without validation batches, the training loss takes their place.
    schedule : Schedule
    offsets : (n_species,) tensor
        Energies of the species in eV, added to the output.
    """

    def __init__(self, network, batches, validation, schedule, offsets):
        self.network, self.schedule = network, schedule
        self._batches, self._validation = batches, validation
        self._offsets = offsets
        self._totals = _label_counts(batches)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)
        self.progress = Progress()

    @property
    def finished(self):
        """Whether all epochs are done, or the validation loss has not fallen for long enough."""
        progress = self.progress
        return progress.epoch >= self.schedule.epochs or progress.epoch - progress.best_epoch >= self.schedule.patience

    def epoch(self):
        """One pass over all batches; the means of squared residuals by kind on the validation frames."""
        progress = self.progress
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(progress.epoch)
        order = np.random.default_rng([*self.schedule.seed, progress.epoch]).permutation(len(self._batches))
        total = 0.0
        for k in order:
            self.optimizer.zero_grad()
            sums, _ = self._squares(self._batches[k], create_graph=True)
            loss = sum(value / self._totals[kind] for kind, value in sums.items())
            (loss * len(self._batches)).backward()
            self.optimizer.step()
            total += float(loss.detach())
        errors = self.errors(self._validation) if self._validation else {}
        progress.epoch += 1
        current = sum(errors.values()) if errors else total
        progress.history.append([total, current])
        if not math.isfinite(current):
            current = math.inf
        if current < progress.best:
            progress.best, progress.best_epoch = current, progress.epoch
            progress.best_weights = copy.deepcopy(self.network.state_dict())
        return errors

    def errors(self, batches):
        """Mean squared residuals by kind, in units of the sigmas."""
        sums, counts = {}, {}
        for batch in batches:
            found, n = self._squares(batch, create_graph=False)
            for kind, value in found.items():
                sums[kind] = sums.get(kind, 0.0) + float(value.detach())
                counts[kind] = counts.get(kind, 0) + n[kind]
        return {kind: value / counts[kind] for kind, value in sums.items()}

    def _squares(self, batch, create_graph):
        graph = batch.graph
        energies, slopes = self.network.slopes(graph.features, batch.species, create_graph)
        if energies is not None:
            energies = energies + self._offsets[batch.species]
        gradient = graph.pullback(slopes, lattice=batch.lattice, centred=self.network.centred)
        return squares(batch, predictions(batch, energies, gradient))


def _label_counts(batches):
    totals = {}
    for batch in batches:
        for kind, (_, targets, _) in batch.rows.items():
            totals[kind] = totals.get(kind, 0) + targets.numel()
    return totals
