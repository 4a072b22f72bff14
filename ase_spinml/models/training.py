"""The training of a network: loss, epochs, validation, early stopping, and a state from which it goes on exactly.

The loss is the sum over kinds of labels of their mean squared residual in units of sigma. Batches are made once, their
order in each epoch depends on seed and epoch alone, and the learning rate on the epoch alone: weights, the optimizer's
moments and a few counters are all there is to a state.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ase_spinml.errors import InputError
from ase_spinml.models.batches import predictions, squares
from ase_spinml.models.design import KINDS

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
    best_weights : (P,) tensor
        Weights that had it.
    history : list of [training loss, validation loss]
    """

    epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    best_weights: torch.Tensor | None = None
    history: list = field(default_factory=list)


class Training:
    """Training of one network.

    The P weights of the network become views of one vector. Gradients, too, are one vector, which is summed over the
    workers: each of them has some of the frames of every batch.

    Parameters
    ----------
    network : torch.nn.Module
        With ``slopes`` and ``centred``, see :mod:`ase_spinml.models.heads`.
    batches, validation : list of Batch or None
        None where this worker has no frame of the batch. Without validation batches, the training loss takes their
        place.
    schedule : Schedule
    workers : Workers
    """

    def __init__(self, network, batches, validation, schedule, workers):
        self.network, self.schedule, self.workers = network, schedule, workers
        self._batches, self._validation = batches, validation
        self._parameters = list(network.parameters())
        self._weights = torch.nn.Parameter(parameters_to_vector(self._parameters).detach())
        vector_to_parameters(self._weights, self._parameters)
        self.optimizer = torch.optim.Adam([self._weights], lr=schedule.learning_rate)
        self._totals = self._sum([{kind: rows[1].numel() for kind, rows in b.rows.items()} for b in batches if b])
        self.progress = Progress()

    @property
    def finished(self):
        """Whether all epochs are done, or the validation loss has not fallen for long enough."""
        progress = self.progress
        return progress.epoch >= self.schedule.epochs or progress.epoch - progress.best_epoch >= self.schedule.patience

    def epoch(self):
        """One pass over all batches; the means of squared residuals by kind on the validation frames.

        Raises
        ------
        InputError
            For a loss that is not finite.
        """
        progress = self.progress
        if progress.epoch == 0:
            self._take_start()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(progress.epoch)
        order = np.random.default_rng([*self.schedule.seed, progress.epoch]).permutation(len(self._batches))
        total = torch.zeros_like(self._weights[0])
        for k in order:
            loss, self._weights.grad = self._loss_and_gradient(self._batches[k])
            self.optimizer.step()
            total += loss
        total = float(self.workers.sum(total))
        errors = self.errors(self._validation) if self._validation else {}
        progress.epoch += 1
        current = sum(errors.values()) if errors else total
        progress.history.append([total, current])
        if not (math.isfinite(total) and math.isfinite(current)):
            raise InputError(
                f"Expected finite losses, got {total:g} in training and {current:g} in validation in epoch "
                f"{progress.epoch}: lower learning_rate, which is {self.schedule.learning_rate:g}."
            )
        if current < progress.best:
            progress.best, progress.best_epoch = current, progress.epoch
            progress.best_weights = self._weights.detach().clone()
        return errors

    def _take_start(self):
        """Take the start for the best so far: a network that never improves on the linear part stays at zero."""
        if self._validation:
            self.progress.best = sum(self.errors(self._validation).values())
            self.progress.best_weights = self._weights.detach().clone()

    def choose_best(self):
        """Take the weights of the best epoch."""
        with torch.no_grad():
            self._weights.copy_(self.progress.best_weights)

    def _loss_and_gradient(self, batch):
        """Share of this worker in the loss of a batch, and the gradient (P,) of all workers' loss."""
        loss, gradient = torch.zeros_like(self._weights[0]), torch.zeros_like(self._weights)
        if batch is not None and batch.rows:
            sums, _ = self._squares(batch, create_graph=True)
            loss = sum(value / self._totals[kind] for kind, value in sums.items())
            # of the parameters alone: backward() would go on to the features and further
            parts = torch.autograd.grad(loss * len(self._batches), self._parameters, materialize_grads=True)
            gradient = parameters_to_vector(parts)
        return loss.detach(), self.workers.sum(gradient)

    def errors(self, batches):
        """Mean squared residuals by kind, in units of the sigmas."""
        found = [self._squares(batch, create_graph=False) for batch in batches if batch is not None]
        sums = self._sum([{kind: float(value.detach()) for kind, value in sums.items()} for sums, _ in found])
        counts = self._sum([counts for _, counts in found])
        return {kind: value / counts[kind] for kind, value in sums.items() if counts[kind]}

    def _sum(self, found):
        """Sum of numbers by kind over dictionaries and workers."""
        sums = [[numbers.get(kind, 0) for kind in KINDS] for numbers in found]
        totals = torch.tensor([[0.0] * len(KINDS), *sums], dtype=torch.float64).sum(0)
        return dict(zip(KINDS, self.workers.sum(totals).tolist(), strict=True))

    def _squares(self, batch, create_graph):
        graph = batch.graph
        energies, slopes = self.network.slopes(graph.features, batch.species, create_graph)
        gradient = graph.pullback(slopes, lattice=batch.lattice, centred=self.network.centred)
        return squares(batch, predictions(batch, energies, gradient))

    def state(self):
        """Arrays and plain values from which :meth:`restore` goes on exactly; after at least one epoch."""
        progress, moments = self.progress, self.optimizer.state[self._weights]
        arrays = {
            "weights": self._weights.detach(),
            "best_weights": progress.best_weights,
            "first_moment": moments["exp_avg"],
            "second_moment": moments["exp_avg_sq"],
        }
        header = {name: getattr(progress, name) for name in ("epoch", "best", "best_epoch", "history")}
        return {name: array.cpu().numpy() for name, array in arrays.items()}, header | {"steps": int(moments["step"])}

    def restore(self, arrays, header):
        """Go on from a :meth:`state`."""
        tensors = {name: torch.as_tensor(array).to(self._weights) for name, array in arrays.items()}
        with torch.no_grad():
            self._weights.copy_(tensors["weights"])
        moments = {"exp_avg": tensors["first_moment"], "exp_avg_sq": tensors["second_moment"]}
        own = {0: {"step": torch.tensor(float(header["steps"])), **moments}}
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": own})
        counters = {name: header[name] for name in ("epoch", "best", "best_epoch", "history")}
        self.progress = Progress(best_weights=tensors["best_weights"], **counters)
