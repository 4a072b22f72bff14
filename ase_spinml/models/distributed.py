"""Training on several processes, as ``torchrun`` starts them.

Every worker runs the user's script. Each prepares its share of the frames, and in each step the gradients of all are
added up, so that a step is the same whatever the number of workers. The sum is one explicit all-reduce of one flat
vector: the losses contain derivatives of the network, so that its parameters are used twice in a backward pass, which
is where the hooks of ``DistributedDataParallel`` have their limits, and a worker may have no frame in a step at all.
"""

import atexit
import gc
import os
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist

from ase_spinml.errors import InputError, SpinMLError

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables of the environment that tell a process of its fellows."""

PATIENCE = timedelta(days=1)
"""How long workers wait for each other: the first one fits the linear part alone."""


FAREWELL = timedelta(seconds=10)
"""How long workers that are done wait for each other."""


class Workers:
    """The processes of a training; one alone by default.

    Parameters
    ----------
    device : torch.device
        Where this worker trains.
    rank, size : int

    Notes
    -----
    The collective methods must be called by all workers in the same order.
    """

    def __init__(self, device, rank=0, size=1):
        self.device, self.rank, self.size = device, rank, size

    @classmethod
    def join(cls, device):
        """The workers that ``torchrun`` has started, or those of a process group that the user has made.

        Parameters
        ----------
        device : torch.device
            "cuda" without a number becomes the one of this worker's LOCAL_RANK.

        Raises
        ------
        InputError
            For a process group that cannot send tensors of the device, and for more workers than CUDA devices.
        """
        if not dist.is_available():
            return cls(device)
        if not dist.is_initialized():
            if not all(name in os.environ for name in TORCHRUN) or int(os.environ["WORLD_SIZE"]) < 2:
                return cls(device)
            device = own_device(device)
            cuda = device.type == "cuda"
            dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE, device_id=device if cuda else None)
            atexit.register(_leave)
        elif f"{device.type}:" not in dist.get_backend_config():
            raise InputError(
                f"Expected a process group that sends tensors of device={device.type!r}, got the backend "
                f"{dist.get_backend()}: make it with init_process_group('gloo') for CPUs, 'nccl' for CUDA."
            )
        return cls(own_device(device), dist.get_rank(), dist.get_world_size())

    @property
    def first(self):
        """Whether this is the worker that writes files and shows progress."""
        return self.rank == 0

    def sum(self, tensor):
        """The sum of a tensor over the workers, in place; returns it."""
        if self.size > 1:
            moved = tensor.to(self.device)
            dist.all_reduce(moved)
            tensor.copy_(moved)
        return tensor

    def share(self, function):
        """What ``function()`` gives on the first worker, or the SpinMLError that it raises there, on all."""
        if self.size == 1:
            return function()
        box = [None]
        if self.first:
            try:
                box = [function()]
            except SpinMLError as error:
                box = [error]
        dist.broadcast_object_list(box, src=0, device=self.device)
        if isinstance(box[0], SpinMLError):
            raise box[0]
        return box[0]

    def first_where(self, flag):
        """The first worker where ``flag`` is true, None if there is none."""
        flags = torch.zeros(self.size)
        flags[self.rank] = float(flag)
        found = torch.nonzero(self.sum(flags)).flatten().tolist()
        return found[0] if found else None


def own_device(device):
    """The device of this worker among those of its machine."""
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= count:
        raise InputError(f"Expected at most {count} workers on this machine, one for each CUDA device, got {rank + 1}.")
    return torch.device("cuda", rank)


def _leave():
    """End the process group, all workers at the same time if they can: one that goes first may bring others down."""
    if not dist.is_initialized():
        return
    if dist.get_backend() == "gloo":
        with suppress(RuntimeError):  # somebody has failed, and is not waited for
            dist.monitored_barrier(timeout=FAREWELL)
    dist.destroy_process_group()
    gc.collect()
