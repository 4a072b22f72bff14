"""Active learning: the frames that teach a model most when they are labelled.

A frame is worth a label when the model is unsure of it, and when no frame already chosen is like it. The model's own
standard deviations measure the first, the distance of descriptors (:mod:`ase_spinml.sampling.diversity`) the second.
The most uncertain frames alone are often the same state many times over, as neighbours in a trajectory are.
"""

import os

import numpy as np
from ase import Atoms
from ase.io import iread

from ase_spinml.errors import InputError
from ase_spinml.moments import get_moments, unit_rows
from ase_spinml.sampling.diversity import PooledFeatures, farthest_points

REMEMBERED = 20
"""Frames remembered while they stream by, for each frame to choose."""
LEAST_REMEMBERED = 200
SAME = 1e-3
"""Frames closer than this repeat each other, as for select_diverse."""


def select(frames, model, n):
    """The n frames to label next, the most informative first.

    The first has the largest score, each next the largest product of its score and its distance to the nearest frame
    chosen before. The score is what the model does not know, :func:`unknown`; the distance is that of
    :func:`ase_spinml.sampling.diversity.frame_features` in the model's own descriptor. A frame closer than 0.001 to a
    chosen one is never chosen.

    Frames are read once, one by one, and forgotten; of no more than 20 n (200 at least) the features are kept. When
    there are more, half of them are given up, by the same rule.

    Parameters
    ----------
    frames : list or iterator of ase.Atoms, or path
        Candidates with moments. Labels are not looked at. Files are read by :func:`ase.io.iread`.
    model : SpinGAP or SpinNN
        Fitted; a SpinNN needs several members.
    n : int

    Returns
    -------
    list of int
        Numbers of the frames, counted from zero, in the order of choice. Fewer than n if all others repeat these.

    Raises
    ------
    InputError
        A model that is not fitted or has no standard deviations, n below 1 or above the number of frames, no frames,
        frames that the model cannot take.

    Examples
    --------
    >>> from ase_spinml import SOSO, SpinGAP, select
    >>> from ase_spinml.demo import load_frames
    >>> frames = load_frames()[:12]                             # of the shipped set of iron
    >>> descriptor = SOSO(["Fe"], n_max=4, spin_l_max=1, body_order=2)
    >>> model = SpinGAP(descriptor, zeta=1, optimize=None).fit(frames[:4])
    >>> len(select(frames[4:], model, 3))
    3
    """
    _check(model, n)
    if isinstance(frames, (str, os.PathLike)):
        frames = iread(frames, ":")
    candidates = Candidates(model, max(REMEMBERED * n, LEAST_REMEMBERED))
    for frame in [frames] if isinstance(frames, Atoms) else frames:
        candidates.add(frame)
    if not candidates.seen:
        raise InputError("Expected frames to choose from, got none.")
    if n > candidates.seen:
        raise InputError(f"Expected n of at most {candidates.seen}, the number of frames, got {n}.")
    return [candidates.numbers[k] for k in candidates.best(n)]


def unknown(model, atoms):
    """How little a model knows of a frame: s = sqrt(v_E / N + sum_i m_i^2 v_i / N) in eV, for N atoms.

    v_E and v_i are the predicted variances of the energy and of the field at atom i, both less the noise of labels,
    which more labels do not remove. sqrt(v_E / N) is the standard deviation of atomic energies that err independently,
    m_i H_i the derivative of the energy by the angle of a moment: so both count alike without further weights. Fields
    say more, as a frame has one energy and 2N components of fields; but in collinear frames fields and their variances
    are zero by symmetry, and the energy alone tells such frames apart. The mean of variances over atoms is large if a
    few atoms are strange, since their variances are larger by orders of magnitude. Where the model has learned no
    energies, the fields alone count.

    Parameters
    ----------
    model : SpinGAP or SpinNN
    atoms : ase.Atoms
    """
    energy, fields = model.uncertainty(atoms)
    moments, n = get_moments(atoms), len(atoms)
    lengths, spins = np.linalg.norm(moments, axis=1, keepdims=True), unit_rows(moments)
    noise = model.noise_["field"] ** 2 * (1 - spins**2)  # that of the components perpendicular to the spin
    variances = lengths**2 * np.maximum(fields**2 - noise, 0.0) * fields.any(axis=1, keepdims=True)
    total = variances.sum() / n
    if np.isfinite(energy) and model.summary_["n_labels"]["energy"]:  # models of torques have no energy
        total += max(energy**2 - (model.noise_["energy"] * n) ** 2, 0.0) / n
    return float(np.sqrt(total))


class Candidates:
    """The best of the frames seen so far.

    Parameters
    ----------
    model : SpinGAP or SpinNN
    size : int
        Most frames to remember.

    Attributes
    ----------
    numbers : list of int
        Of the frames remembered, in the order in which they came.
    seen : int
        Frames added.
    """

    def __init__(self, model, size):
        self._model, self._size = model, size
        self._features = PooledFeatures(model.descriptor_, list(model.descriptor_.species))
        self.numbers, self._scores, self._parts = [], [], []
        self.seen = 0

    def add(self, frame):
        """Score a frame and remember it, giving up others when there are too many."""
        self._scores.append(unknown(self._model, frame))
        self._parts.append(self._features.add(frame))
        self.numbers.append(self.seen)
        self.seen += 1
        if len(self.numbers) > self._size:
            kept = sorted(self.best(self._size // 2))
            self.numbers, self._scores, self._parts = (
                [old[k] for k in kept] for old in (self.numbers, self._scores, self._parts)
            )

    def best(self, n):
        """Positions of the n best among those remembered, in the order of choice; fewer if others repeat them."""
        points = self._features.scaled(np.array(self._parts))
        return farthest_points(points, n, SAME, np.array(self._scores))[0]


def _check(model, n):
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"Expected n to be a whole number of at least 1, got {n!r}.")
    if not hasattr(model, "uncertainty"):
        raise InputError(f"Expected a model with standard deviations, SpinGAP or SpinNN, got {type(model).__name__}.")
    if not hasattr(model, "descriptor_"):
        raise InputError("the model is not fitted: call fit(frames) before selecting frames with it")
    if getattr(model, "n_members", 2) < 2:
        raise InputError("Expected a SpinNN with several members, got one, which has no spread: fit with n_members=4.")
