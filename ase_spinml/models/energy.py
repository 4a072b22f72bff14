"""What every model on a descriptor does alike: frames in, labels read, results and errors out."""

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers

from ase_spinml.descriptors.lattice import LatticeDescriptor
from ase_spinml.descriptors.soso import SOSO
from ase_spinml.errors import InputError
from ase_spinml.models.base import Model
from ase_spinml.models.baseline import baseline_results
from ase_spinml.models.labels import compare, read_labels
from ase_spinml.moments import get_moments, magnetic_mask


class EnergyModel(Model):
    """A model of atomic energies, or of torques alone, on a SOSO descriptor.

    A subclass has ``descriptor``, ``descriptor_``, ``baseline``, ``baseline_name``, ``summary_`` and ``_evaluators``,
    and gives ``_make_evaluator(device, dtype)``, an object with ``results(structure, lengths, lattice)``,
    ``spin_slopes(structure)`` and ``moment_lengths(structure)``.

    Attributes
    ----------
    conservative : bool
        Whether the fields are derivatives of an energy; a model that says False has neither energy nor forces.
    single_precision : bool
        Whether its fields may be computed in single precision. Those of kernels are sums of large numbers of both
        signs, and lose some per cent then.
    """

    conservative = True
    single_precision = False

    def evaluator(self, device="cpu", dtype=torch.float64):
        """The fitted model as a function of structures on a device; made once for each device and dtype."""
        key = (str(device), dtype)
        if key not in self._evaluators:
            self._evaluators[key] = self._make_evaluator(device, dtype)
        return self._evaluators[key]

    def check_frame(self, atoms):
        """Raise InputError for elements without training data, and unless just the magnetic elements carry moments."""
        if not hasattr(self, "summary_"):
            raise InputError("the model is not fitted: call fit(frames) before asking it for anything")
        counts = self.summary_["n_atoms_by_species"]
        known, magnetic = _numbers(counts), _numbers(self.descriptor_.magnetic_species())
        untrained = np.isin(atoms.numbers, _numbers(z for z, count in counts.items() if count == 0))
        if untrained.any():
            symbol = atoms.symbols[int(np.argmax(untrained))]
            raise InputError(
                f"no training frame contained {symbol}, so the model knows nothing of it: add frames with {symbol} and "
                "fit again"
            )
        expected, carries = np.isin(atoms.numbers, magnetic), magnetic_mask(atoms)
        if (expected & ~carries).any():
            k = int(np.argmax(expected & ~carries))
            raise InputError(
                f"{atoms.symbols[k]} is magnetic in this model, but atom {k} has a zero moment: set its moment vector"
            )
        extra = carries & ~expected & np.isin(atoms.numbers, known)
        if self.descriptor.magnetic is None and extra.any():
            k = int(np.argmax(extra))
            raise InputError(
                f"{atoms.symbols[k]} is not magnetic in this model, but atom {k} has a moment: set it to zero, "
                "or fit with frames where this element carries moments"
            )

    def predict(self, atoms):
        """Everything the model knows about one frame, baseline included.

        Returns
        -------
        dict
            energy and free_energy (eV), energies (N,) eV (of the model, without a baseline), forces (N, 3) eV/A,
            stress (6,) eV/A^3 (where there is a cell), magmoms (N, 3) mu_B = M(x_i) e_i, exchange_fields (N, 3)
            eV/mu_B; a model that is not conservative has magmoms and fields only.
        """
        self.check_frame(atoms)
        structure = self.descriptor_.structure(atoms)
        evaluator = self.evaluator()
        results = evaluator.results(structure, np.linalg.norm(get_moments(atoms), axis=1))
        results["magmoms"] = evaluator.moment_lengths(structure)[:, None] * structure.spins.numpy()
        return self.add_baseline(atoms, results)

    def add_baseline(self, atoms, results):
        """Add the baseline's results for these atoms to the model's; raises InputError when it is not attached."""
        if self.baseline_name is None:
            return results
        if self.baseline is None:
            raise InputError(
                f"this model was fitted on top of the calculator {self.baseline_name}: set model.baseline to it"
            )
        base = baseline_results(self.baseline, atoms)
        base["free_energy"], base["effective_fields"] = base["energy"], base["exchange_fields"]
        missing = {"forces", "stress"} - base.keys()  # the model's share alone would be wrong
        return {name: value + base.get(name, 0.0) for name, value in results.items() if name not in missing}

    def evaluate(self, frames):
        """Errors on labelled frames, see :func:`ase_spinml.models.labels.compare`."""
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        if not frames:
            raise InputError("at least one frame is needed to evaluate a model, got an empty list")
        labels = [self._labels(frame, k) for k, frame in enumerate(frames)]
        return compare(labels, [self.predict(frame) for frame in frames])

    def _labels(self, frame, k):
        """Labels of a frame; fields of elements whose moments are ignored are forgotten."""
        labels = read_labels(frame, f"frame {k}")
        if self.descriptor.magnetic is not None:
            labels.only(np.isin(frame.get_chemical_symbols(), self.descriptor.magnetic))
        return labels


def check_settings(model, descriptor, sigmas):
    """Raise InputError unless a model of that name is given a descriptor and positive sigmas (dict)."""
    if not isinstance(descriptor, (SOSO, LatticeDescriptor)):
        raise InputError(f"{model} needs a SOSO descriptor or a LatticeDescriptor, got {type(descriptor).__name__}")
    for name, value in sigmas.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be a positive number, got {value!r}")


def _numbers(symbols):
    """Atomic numbers of element symbols."""
    return [atomic_numbers[symbol] for symbol in symbols]
