"""SpinGAP: a sparse Gaussian process on atomic energies of atoms with spins."""

import numpy as np
import torch
from ase import Atoms
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from skmatter.sample_selection import CUR, FPS

from ase_spinml.errors import InputError
from ase_spinml.models.base import register
from ase_spinml.models.baseline import baseline_results, subtract
from ase_spinml.models.descriptor_file import from_header, plain, to_header
from ase_spinml.models.design import KINDS, Directions, Term, design, field_directions, label_rows
from ase_spinml.models.energy import EnergyModel, check_settings
from ase_spinml.models.evaluator import Evaluator, length_columns
from ase_spinml.models.kernels import Linear, make_kernel
from ase_spinml.models.regression import Rows, calibrated_noise, optimize, posterior, whitening
from ase_spinml.moments import get_moments

OFFSET_SPREAD = 10.0
"""Prior standard deviation of the constant energy per atom of each species about its first estimate, eV."""


@register("SpinGAP")
class SpinGAP(EnergyModel):
    """Gaussian approximation potential with spins (arXiv:2403.10769): E = sum_i eps(x_i) over atoms.

    eps is a constant per species plus one Gaussian process per block of the descriptor, added: the kernel is
    (x.x')^zeta on the block of highest body order and linear on lower ones and on the spin-orbit block, the form
    K = beta_2 x_2.x_2' + beta_3 (x_3.x_3')^zeta of VASP's force fields. It learns from total energies, forces,
    stresses and exchange fields together; any of them may be missing from any frame.

    Parameters
    ----------
    descriptor : SOSO
    n_sparse : int
        Sparse points per species and block, clipped to the number of different environments. zeta = 1 is the linear
        model in all features and needs none.
    zeta : int
        Power of the polynomial kernel.
    sigma_energy, sigma_forces, sigma_stress, sigma_field : float
        Standard deviations of the labels in eV/atom, eV/A, eV/A^3, eV/mu_B; ``atoms.info`` may hold the same names
        for a frame of its own.
    kernel : "polynomial" or "rbf"
    length_scale : float
        Of the rbf kernel, in units of the typical length of the features.
    selection : "fps" or "cur"
        Sparse points by farthest-point or by CUR selection (scikit-matter).
    optimize : "cross-validation", "evidence" or None
        How the prior amplitude of each block is found: by cross-validation over frames (never over atoms), by
        maximising the evidence, or not at all (1 eV). The evidence takes the prior at its word, that all features of
        a block matter alike; they do not, so it shrinks them all, and on few frames cross-validation does better.
    fit_sigmas : bool
        With evidence, also find one factor on the standard deviations of each kind of label.
    baseline : ase calculator, optional
        The model learns the remainder; predictions include the baseline.
    rng : int or numpy Generator

    Attributes
    ----------
    amplitudes_ : dict of block -> prior amplitude in eV
    sigma_factors_ : dict of label -> factor on its standard deviation
    noise_ : dict of label -> standard deviation
        Of labels about the model beyond its posterior, calibrated on frames left out, in the units of the sigmas.
    outliers_ : dict of frame -> {label: factor}
        Training frames whose residual stands out more than eight times from the median frame, as a calculation that
        did not converge does: the standard deviation of those labels was multiplied by the factor, and the fit redone.
    lattice_fitted : bool
        Whether displaced frames with forces were among the labels, so that forces mean something.

    Examples
    --------
    >>> from ase_spinml import SOSO, SpinGAP
    >>> from ase_spinml.demo import load_frames
    >>> frames = load_frames()[:6]                             # of the shipped set of iron
    >>> descriptor = SOSO(["Fe"], n_max=4, spin_l_max=1, body_order=2)
    >>> model = SpinGAP(descriptor, zeta=1, optimize=None).fit(frames)
    >>> errors = model.evaluate(frames)
    >>> sorted(errors)[:4]
    ['energy_rmse', 'energy_rmse_about_mean', 'field_rmse', 'forces_rmse']
    >>> errors["energy_rmse"] < 0.01                           # eV/atom
    True
    """

    def __init__(
        self,
        descriptor,
        n_sparse=300,
        zeta=2,
        sigma_energy=1e-3,
        sigma_forces=0.05,
        sigma_stress=1e-3,
        sigma_field=5e-3,
        *,
        kernel="polynomial",
        length_scale=1.0,
        selection="fps",
        optimize="cross-validation",
        fit_sigmas=False,
        baseline=None,
        rng=0,
    ):
        self.descriptor = descriptor
        self.n_sparse = n_sparse
        self.zeta = zeta
        self.sigma_energy = sigma_energy
        self.sigma_forces = sigma_forces
        self.sigma_stress = sigma_stress
        self.sigma_field = sigma_field
        self.kernel = kernel
        self.length_scale = length_scale
        self.selection = selection
        self.optimize = optimize
        self.fit_sigmas = fit_sigmas
        self.baseline = baseline
        self.baseline_name = None if baseline is None else type(baseline).__name__
        self.rng = rng
        self._check()

    def _check(self):
        check_settings("SpinGAP", self.descriptor, self.sigmas)
        if self.descriptor.chirality:
            raise InputError(
                "SpinGAP gives energies that are even under time reversal, and chirality=True adds odd features to the "
                "descriptor: leave it out, or use SpinNN"
            )
        if not isinstance(self.n_sparse, (int, np.integer)) or self.n_sparse < 1:
            raise InputError(f"n_sparse must be an integer >= 1, got {self.n_sparse!r}")
        if self.selection not in ("fps", "cur"):
            raise InputError(f"selection must be 'fps' or 'cur', got {self.selection!r}")
        if self.optimize not in ("evidence", "cross-validation", None):
            raise InputError(f"optimize must be 'evidence', 'cross-validation' or None, got {self.optimize!r}")
        make_kernel(self.kernel, self.zeta, self.length_scale)

    @property
    def sigmas(self):
        """Standard deviations of the labels by name."""
        return {f"sigma_{name}": getattr(self, f"sigma_{name}") for name in KINDS}

    # -- fitting -------------------------------------------------------------------------------------------------

    def fit(self, frames):
        """Fit to frames (list of ase.Atoms with moments, labels in ``atoms.calc`` and ``exchange_fields``).

        Raises InputError for an empty list, frames without any label, NaN, wrong shapes, unknown species, collinear
        moments, and elements with zero moments on some atoms only. Returns self.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        if not frames:
            raise InputError("at least one frame is needed to fit a model, got an empty list")
        labels = [self._labels(frame, k) for k, frame in enumerate(frames)]
        empty = [k for k, label in enumerate(labels) if label.empty]
        if empty:
            raise InputError(
                f"frame {empty[0]} has no label: give it an energy, forces, stress or exchange_fields, or leave it out"
            )
        if self.baseline is not None:
            for label, frame in zip(labels, frames, strict=True):
                subtract(label, baseline_results(self.baseline, frame))
        self.descriptor_ = clone(self.descriptor).fit(frames)
        rng = np.random.default_rng(self.rng)
        structures = [self.descriptor_.structure(frame) for frame in frames]
        blocks = self.descriptor_.blocks()
        features = {name: [] for name in blocks}
        for structure in structures:
            for name, block in blocks.items():
                features[name].append(torch.cat([part.features for part in block.parts(structure)]))
            structure.cache.clear()
        species = torch.cat([s.species for s in structures])
        self.terms_ = list(self._make_terms({k: torch.cat(v) for k, v in features.items()}, species, rng))
        self.offsets_ = self._first_offsets(labels, structures)
        rows = self._rows(blocks, labels, structures)
        self._solve(rows, list(blocks), rng)
        self._fit_lengths(features, species, np.concatenate([label.lengths for label in labels]))
        self.lattice_fitted = "pair" in blocks and bool(
            _displaced(features["pair"], structures, blocks["pair"])
            and any(label.forces is not None for label in labels)
        )
        self.summary_ = self._summarise(labels, rows, structures)
        self._evaluators = {}
        return self

    def _make_terms(self, features, species, rng):
        highest = self.descriptor_.main_block
        for group, (name, x) in enumerate(features.items()):
            for z in range(len(self.descriptor_.species)):
                mine = x[species == z]
                if not len(mine) or not mine.any():
                    continue
                kernel = make_kernel(self.kernel, self.zeta, self.length_scale) if name == highest else Linear()
                if name == "spin-orbit":  # features of different nature: each to its own size
                    size = mine.square().mean(0).sqrt()
                    scale = torch.where(size > 1e-12 * size.max(), 1 / size, 0.0) / np.sqrt(len(size))
                else:
                    scale = torch.full((x.shape[1],), 1 / float(mine.square().sum(1).mean().sqrt()), dtype=x.dtype)
                points = kernel.points(mine * scale, lambda candidates: self._select(candidates, rng))
                prior = np.eye(len(points)) if isinstance(kernel, Linear) else whitening(kernel(points, points).numpy())
                yield Term(name, z, kernel, scale, points, torch.as_tensor(prior, dtype=x.dtype), group)

    def _select(self, candidates, rng):
        """Up to n_sparse different rows of candidates (n, F)."""
        different = np.unique(np.round(candidates.numpy(), 9), axis=0, return_index=True)[1]
        candidates = candidates[np.sort(different)]
        count = min(int(self.n_sparse), len(candidates))
        if count == len(candidates):
            return candidates
        if self.selection == "fps":
            selector = FPS(n_to_select=count, initialize=int(rng.integers(len(candidates))))
        else:
            selector = CUR(n_to_select=count, recompute_every=0)
        return candidates[torch.as_tensor(np.sort(selector.fit(candidates.numpy()).selected_idx_))]

    def _counts(self, structure):
        """Atoms of each species, (n_species,)."""
        return np.bincount(structure.species.numpy(), minlength=len(self.descriptor_.species))

    def _first_offsets(self, labels, structures):
        """Energy per atom of each species by least squares on compositions, (n_species,) eV."""
        known = [(self._counts(s), label.energy) for label, s in zip(labels, structures, strict=True)]
        known = [(counts, energy) for counts, energy in known if energy is not None]
        if not known:
            return np.zeros(len(self.descriptor_.species))
        counts, energies = map(np.array, zip(*known, strict=True))
        return np.linalg.lstsq(counts.astype(float), energies, rcond=None)[0]

    def _rows(self, blocks, labels, structures):
        """Design matrix, targets and their bookkeeping; the last columns are the constants per species."""
        matrix, targets, kinds, frames = [], [], [], []
        for k, (label, structure) in enumerate(zip(labels, structures, strict=True)):
            wanted = label_rows(label, structure, self.sigmas)
            columns = design(blocks, self.terms_, structure, [directions for _, directions, *_ in wanted])
            counts = self._counts(structure)
            for (kind, _, factor, target, sigma), block in zip(wanted, columns, strict=True):
                constant = OFFSET_SPREAD * counts * (kind == "energy")
                matrix.append(np.hstack([block, np.tile(constant, (len(block), 1))]) * (factor / sigma))
                offset = self.offsets_ @ counts * factor * (kind == "energy")
                targets.append((target - offset) / sigma)
                kinds += [KINDS.index(kind)] * len(target)
                frames += [k] * len(target)
            structure.cache.clear()
        group = np.concatenate([np.full(t.size, t.group) for t in self.terms_] + [np.full(len(self.offsets_), -1)])
        return Rows(np.vstack(matrix), np.concatenate(targets), np.array(kinds), np.array(frames), group.astype(int))

    def _solve(self, rows, names, rng):
        """Hyperparameters and posterior, twice when some frames turn out to have outlying labels."""
        doubt = np.ones(len(rows.targets))
        for attempt in range(2):
            doubted = rows.divided(doubt)
            amplitudes, noise = np.ones(len(names)), np.ones(len(KINDS))
            if self.optimize is not None:
                amplitudes, noise = optimize(doubted, len(names), len(KINDS), self.optimize, self.fit_sigmas, rng=rng)
            spread = calibrated_noise(doubted, amplitudes, noise, len(KINDS), rng)
            doubted = doubted.divided(noise[rows.kind])
            scale = rows.column_scale(amplitudes)
            mean, factor = posterior(doubted.matrix * scale, doubted.targets)
            if attempt == 0:
                doubt, outliers = rows.outlier_factors(scale * mean)
                self.outliers_ = {
                    frame: {KINDS[kind]: factor for kind, factor in kinds.items()} for frame, kinds in outliers.items()
                }
                if not outliers:
                    break
        self.amplitudes_ = dict(zip(names, amplitudes.tolist(), strict=True))
        self.sigma_factors_ = dict(zip(KINDS, noise.tolist(), strict=True))
        self.noise_ = {kind: float(s * self.sigmas[f"sigma_{kind}"]) for kind, s in zip(KINDS, spread, strict=True)}
        self.column_weights_ = scale * mean
        self.covariance_factor_ = scale[:, None] * factor
        self.offsets_ = self.offsets_ + OFFSET_SPREAD * self.column_weights_[len(mean) - len(self.offsets_) :]

    def _fit_lengths(self, features, species, lengths):
        """Ridge regression of the moment lengths on the same columns: weights per species, intercept last."""
        self.length_weights_ = {}
        stacked = {name: torch.cat(x) for name, x in features.items()}
        for z, symbol in enumerate(self.descriptor_.species):
            mine = species == z
            if symbol not in self.descriptor_.magnetic_species() or not mine.any():
                continue
            columns = length_columns(self.terms_, stacked, mine, z)
            fit = RidgeCV(alphas=np.logspace(-6, 2, 17)).fit(columns, lengths[mine.numpy()])
            self.length_weights_[symbol] = np.append(fit.coef_, fit.intercept_)

    def _summarise(self, labels, rows, structures):
        atoms = sum(self._counts(structure) for structure in structures)
        counts = np.bincount(rows.kind, minlength=len(KINDS))
        return {
            "n_frames": len(labels),
            "n_atoms": int(sum(len(label.moments) for label in labels)),
            "n_atoms_by_species": dict(zip(self.descriptor_.species, atoms.tolist(), strict=True)),
            "n_labels": dict(zip(KINDS, counts.tolist(), strict=True)),
            "sparse_points": {f"{t.block} {self.descriptor_.species[t.species]}": len(t.points) for t in self.terms_},
            "outliers": {str(frame): kinds for frame, kinds in self.outliers_.items()},
        }

    # -- prediction ----------------------------------------------------------------------------------------------

    def _make_evaluator(self, device, dtype):
        return Evaluator(self, device, dtype)

    def uncertainty(self, atoms, fields=True):
        """Standard deviations of the energy (float, eV) and of each field component ((N, 3), eV/mu_B).

        They are those of a new label about the prediction: the posterior, and the noise that frames left out have shown
        (``noise_``, for energies in proportion to the number of atoms), so that errors divided by them have a standard
        deviation near one. What the sparse points cannot express is added to the energy; for fields it is left out.
        """
        self.check_frame(atoms)
        structure = self.descriptor_.structure(atoms)
        blocks = self.evaluator().blocks
        moments = get_moments(atoms)
        lengths = np.linalg.norm(moments, axis=1)
        magnetic = np.flatnonzero(structure.spins.any(1).numpy()) if fields else []
        wanted = [None]
        if len(magnetic):
            spins = structure.spins.numpy()
            along = field_directions(spins, lengths, magnetic)
            wanted.append(Directions(len(along), spins=structure.positions.new_tensor(along)))
        rows = design(blocks, self.terms_, structure, wanted)
        constant = OFFSET_SPREAD * self._counts(structure)
        energy_row = np.append(rows[0][0], constant)
        variance = np.sum((energy_row @ self.covariance_factor_) ** 2)
        variance += self._left_out_variance(blocks, structure, rows[0][0])
        variance += (self.noise_["energy"] * len(atoms)) ** 2
        if not len(magnetic):
            return float(np.sqrt(variance)), np.zeros((len(atoms), 3))
        factor = self.covariance_factor_[: rows[1].shape[1]]
        components = np.sum((rows[1] @ factor) ** 2, axis=1).reshape(-1, 2) + self.noise_["field"] ** 2
        frame = along.reshape(len(magnetic), 2, len(atoms), 3)[np.arange(len(magnetic)), :, magnetic]
        frame = frame * lengths[magnetic][:, None, None]
        std = np.zeros((len(atoms), 3))
        std[magnetic] = np.sqrt(np.einsum("nk,nka->na", components, frame**2))
        return float(np.sqrt(variance)), std

    def _left_out_variance(self, blocks, structure, columns):
        """Prior variance of the energy that the sparse points cannot express, eV^2."""
        total, start = 0.0, 0
        for term in self.terms_:
            part = columns[start : start + term.size]
            start += term.size
            if isinstance(term.kernel, Linear):
                continue
            x = torch.cat([p.features for p in blocks[term.block].parts(structure)])[structure.species == term.species]
            prior = float(term.kernel.variance(x * term.scale).sum())
            total += self.amplitudes_[term.block] ** 2 * max(prior - float(part @ part), 0.0)
        return total

    # -- files ---------------------------------------------------------------------------------------------------

    def to_file_content(self):
        """Arrays and header of a model file."""
        if not hasattr(self, "terms_"):
            raise InputError("the model is not fitted: call fit(frames) before save(path)")
        arrays = {
            "offsets": self.offsets_,
            "column_weights": self.column_weights_,
            "covariance_factor": self.covariance_factor_,
        }
        for k, term in enumerate(self.terms_):
            arrays[f"term{k}.scale"] = term.scale.numpy()
            if not isinstance(term.kernel, Linear):
                arrays[f"term{k}.points"] = term.points.numpy()
                arrays[f"term{k}.whitening"] = term.whitening.numpy()
        arrays.update({f"lengths.{symbol}": w for symbol, w in self.length_weights_.items()})
        parameters = {
            name: getattr(self, name)
            for name in ("n_sparse", "zeta", "kernel", "length_scale", "selection", "optimize", "fit_sigmas")
        }
        header = {
            "elements": list(self.descriptor_.species),
            **to_header(self.descriptor_),
            "parameters": {**plain(parameters), **self.sigmas},
            "terms": [{"block": t.block, "species": t.species, "group": t.group} for t in self.terms_],
            "amplitudes": self.amplitudes_,
            "sigma_factors": self.sigma_factors_,
            "noise": self.noise_,
            "lattice_fitted": self.lattice_fitted,
            "baseline": self.baseline_name,
            "training": self.summary_,
        }
        return arrays, header

    @classmethod
    def from_file_content(cls, arrays, header):
        """Inverse of :meth:`to_file_content`; a baseline must be attached again as ``model.baseline``."""
        descriptor = from_header(header)
        model = cls(clone(descriptor), **header["parameters"])
        model.descriptor_ = descriptor
        model.baseline_name = header["baseline"]
        model.offsets_, model.column_weights_ = arrays["offsets"], arrays["column_weights"]
        model.covariance_factor_ = arrays["covariance_factor"]
        model.amplitudes_, model.sigma_factors_ = header["amplitudes"], header["sigma_factors"]
        model.noise_ = header["noise"]
        model.lattice_fitted, model.summary_ = header["lattice_fitted"], header["training"]
        highest = model.descriptor_.main_block
        model.terms_ = []
        for k, entry in enumerate(header["terms"]):
            scale = torch.as_tensor(arrays[f"term{k}.scale"])
            nonlinear = make_kernel(model.kernel, model.zeta, model.length_scale)
            kernel = nonlinear if entry["block"] == highest else Linear()
            unit = torch.eye(len(scale), dtype=scale.dtype)
            points = unit if isinstance(kernel, Linear) else torch.as_tensor(arrays[f"term{k}.points"])
            prior = unit if isinstance(kernel, Linear) else torch.as_tensor(arrays[f"term{k}.whitening"])
            model.terms_.append(Term(entry["block"], entry["species"], kernel, scale, points, prior, entry["group"]))
        model.length_weights_ = {
            name.removeprefix("lengths."): w for name, w in arrays.items() if name.startswith("lengths.")
        }
        model._evaluators = {}
        return model


def _displaced(features, structures, block):
    """Whether environments differ between frames beyond what a single frame holds: strained or displaced lattices."""
    channel = block.lattice_columns
    rounded = [np.unique(np.round(x[:, channel].numpy(), 4), axis=0) for x in features]
    return len(np.unique(np.concatenate(rounded), axis=0)) > max(map(len, rounded))
