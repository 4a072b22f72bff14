"""SpinCalculator: a fitted model as an ASE calculator."""

import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from ase_spinml.calculators.tensors import moment_lengths
from ase_spinml.devices import torch_device
from ase_spinml.errors import InputError
from ase_spinml.models.base import Model, load_model
from ase_spinml.moments import get_moments
from ase_spinml.neighbors import NeighborList

SKIN = 0.3
"""Extra range of the neighbour list in Angstrom: atoms move half of it before pairs are searched again."""
OF_AN_ENERGY = ("energy", "free_energy", "energies", "forces", "stress")


class SpinCalculator(Calculator):
    """Energies, forces, stress and exchange fields of a fitted model.

    Only what is asked for is computed: exchange fields alone cost about half of fields with forces, and while the
    atoms stay where they are only the work that depends on the spins is done again.

    Parameters
    ----------
    model_or_path : model, str or Path
        A fitted model, or a file written by its ``save``.
    device : str or torch.device, optional
        "cpu" (default) or "cuda".
    uncertainty : bool
        Add the results ``energy_std`` (eV) and ``exchange_fields_std`` (N, 3) (eV/mu_B): standard deviations of a
        reference calculation about the prediction.

    Notes
    -----
    Results: energy, free_energy (eV), energies (N,) (eV, of the model without a baseline), forces (N, 3) (eV/A),
    stress (6,) (eV/A^3, at fixed moments; its symmetric part with spin-orbit coupling), magmoms (N, 3) (mu_B,
    adiabatic lengths along the spins), exchange_fields (N, 3) (eV/mu_B, transverse -dE/dm). A model of torques that
    are no derivatives of an energy (``SpinNN(head="site")``, for one) has magmoms and exchange_fields only, and the
    calculator is ``conservative = False``.

    Examples
    --------
    >>> from ase_spinml import SOSO, SpinCalculator, SpinGAP
    >>> from ase_spinml.demo import load_frames
    >>> frames = load_frames()[:6]                             # of the shipped set of iron
    >>> descriptor = SOSO(["Fe"], n_max=4, spin_l_max=1, body_order=2)
    >>> model = SpinGAP(descriptor, zeta=1, optimize=None).fit(frames)
    >>> atoms = frames[0].copy()
    >>> atoms.calc = SpinCalculator(model)
    >>> atoms.calc.get_property("exchange_fields", atoms).shape
    (2, 3)
    >>> atoms.get_forces().shape
    (2, 3)
    """

    implemented_properties = [
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "magmoms",
        "exchange_fields",
    ]

    def __init__(self, model_or_path, *, device=None, uncertainty=False):
        super().__init__()
        self.model = model_or_path if isinstance(model_or_path, Model) else load_model(model_or_path)
        if not hasattr(self.model, "descriptor_"):
            raise InputError("the model is not fitted: call fit(frames) before making a calculator of it")
        self.device = torch_device(device)
        self.conservative = self.model.conservative
        if not self.conservative:
            self.implemented_properties = ["magmoms", "exchange_fields"]
        if uncertainty:
            also = ["energy_std", "exchange_fields_std"] if self.conservative else ["exchange_fields_std"]
            self.implemented_properties = [*self.implemented_properties, *also]
        self._neighbors = NeighborList(self.model.descriptor_.cutoff, SKIN)
        self._structure = None

    def get_property(self, name, atoms=None, allow_calculation=True):
        """A result by its name; PropertyNotImplementedError for an energy or force of a model of torques."""
        if not self.conservative and name in (*OF_AN_ENERGY, "energy_std"):
            raise PropertyNotImplementedError(
                f"the fields of this model (head={self.model.head!r}) are not derivatives of an energy, so there is no "
                f"{name}: ask for exchange_fields, or fit with head='conservative'"
            )
        return super().get_property(name, atoms, allow_calculation)

    def reset(self):
        """Forget results, neighbours and tensors of earlier frames."""
        super().reset()
        self._neighbors = NeighborList(self.model.descriptor_.cutoff, SKIN)
        self._structure = None

    @property
    def lattice_fitted(self):
        """Whether the model has learned forces from displaced frames."""
        return self.model.lattice_fitted

    def check_state(self, atoms, tol=1e-15):
        """Changes since the last calculation, those of parameters in ``atoms.info`` included."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and self._parameters(atoms) != self._parameters(self.atoms):
            changes.append("parameters")
        return changes

    def _parameters(self, atoms):
        """Numbers in ``atoms.info`` that the model depends on."""
        read = getattr(self.model.descriptor_, "parameter_values", None)
        return [] if read is None else read(atoms)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        structure = self._current_structure(atoms)
        evaluator = self.model.evaluator(self.device)
        wanted = set(properties)
        if wanted & {"energy_std", "exchange_fields_std"}:
            fields = "exchange_fields_std" in wanted
            energy_std, field_std = self.model.uncertainty(atoms, fields)
            if self.conservative:
                self.results["energy_std"] = energy_std
            if fields:
                self.results["exchange_fields_std"] = field_std
        if "magmoms" in wanted:
            lengths = evaluator.moment_lengths(structure)
            self.results["magmoms"] = lengths[:, None] * structure.spins.cpu().numpy()
        if wanted & {*OF_AN_ENERGY, "exchange_fields"}:
            lattice = bool(wanted & {"forces", "stress"})
            lengths = np.linalg.norm(get_moments(atoms), axis=1)
            results = evaluator.results(structure, lengths, lattice)
            self.results.update(self.model.add_baseline(atoms, results))

    def torch_fields(self, atoms, device, dtype):
        """Fields as a function of tensors, see :mod:`ase_spinml.calculators.tensors`.

        Kernel models compute in float64, as sums of large numbers of both signs; networks in the precision of the run.
        """
        if self.model.baseline_name is not None:
            raise InputError(
                f"Expected a model without a baseline for spins on a device, got one on top of "
                f"{self.model.baseline_name}: leave device out of the dynamics."
            )
        self.model.check_frame(atoms)
        own = dtype if self.model.single_precision else torch.float64
        evaluator = self.model.evaluator(torch.device(device), own)
        structure = self.model.descriptor_.structure(atoms, device=device, dtype=own)
        seen = torch.as_tensor(self.model.descriptor_.spins(atoms).any(axis=1), device=device)[:, None]
        scale = seen / torch.as_tensor(moment_lengths(atoms), device=device, dtype=own)[:, None]

        def fields(spins):
            spins = spins.to(own) * seen
            return (-scale * evaluator.spin_slopes(structure.with_spins(spins))).to(dtype)

        return fields

    def _current_structure(self, atoms):
        """Tensors of the atoms, made from the last ones as far as they still hold."""
        self.model.check_frame(atoms)
        kinds = (atoms.numbers.tobytes(), *self._parameters(atoms))
        key = (kinds, atoms.positions.tobytes(), atoms.cell.array.tobytes(), atoms.pbc.tobytes())
        old, descriptor = self._structure, self.model.descriptor_
        if old is not None and old[0][0] == key[0]:
            spins = torch.as_tensor(descriptor.spins(atoms), device=self.device)
            if old[0] == key:
                structure = old[1].with_spins(spins)
            elif not self._neighbors.update(atoms.positions, atoms.cell.array, atoms.pbc):
                positions = torch.as_tensor(atoms.positions, device=self.device)
                structure = old[1].with_spins(spins).with_positions(positions)
            else:
                structure = None
            if structure is not None:
                self._structure = (key, structure)
                return structure
        self._structure = None
        structure = descriptor.structure(atoms, device=self.device, neighbor_list=self._neighbors)
        self._structure = (key, structure)
        return structure
