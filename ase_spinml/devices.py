"""Devices and precisions of torch that users name: one sentence for each mistake."""

from ase_spinml.errors import InputError

DTYPES = ("float64", "float32")


def torch_device(device):
    """A torch.device from its name or itself, the CPU for None.

    Raises InputError for one that is unknown or not there.
    """
    import torch

    try:
        device = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"Expected device to be one that torch knows, 'cpu' or 'cuda', got {device!r}.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"Expected a CUDA device for device={str(device)!r}, got none: use device='cpu'.")
    return device


def torch_dtype(dtype):
    """A torch.dtype from its name or itself, float64 for None; raises InputError for any but float64 and float32."""
    import torch

    name = "float64" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"Expected dtype to be one of {', '.join(DTYPES)}, got {dtype!r}.")
    return getattr(torch, name)
