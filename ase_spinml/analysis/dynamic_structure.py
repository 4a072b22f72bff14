"""Dynamic structure factor of spins: what moves at which wave vector, at which energy and in which sense.

With e(q, t) = N^-1 sum_i e_i exp(-i q.r_i), as in :mod:`ase_spinml.analysis.correlations`, of T frames dt apart,

    S_ab(q, E) = e_a(q, E) e_b(q, E)^* / dE,    dE = 2 pi hbar / (T dt),
    e(q, E) = T^-1 sum_t e(q, t) exp(i E t / hbar),

so that the wave cos(q.r - E t / hbar) is seen at (q, E) and, as spins are real, at (-q, -E). Positive energies at q are
those of waves that travel along q, the ones of :func:`~ase_spinml.analysis.magnon_bands`. Per unit of energy, the
integral of the trace over all energies is the mean static structure factor of the samples (Parseval).

Motion is classical: S(q, E) = S(-q, -E), and both signs of E weigh kT. Neutrons that lose E see this times
(E/kT) / (1 - exp(-E/kT)).
"""

from dataclasses import dataclass

import numpy as np

from ase_spinml import checks
from ase_spinml.analysis.correlations import fourier_components
from ase_spinml.errors import InputError
from ase_spinml.moments import get_spins
from ase_spinml.units import HBAR

FEWEST = 8
"""Frames in a segment below which there is no spectrum."""
NO_AXIS = 1e-3
"""Mean spin below which a run has no direction of its mean moment."""


@dataclass(frozen=True)
class DynamicStructureFactor:
    """Spectrum of a run; from :func:`dynamic_structure_factor`.

    Attributes
    ----------
    energies : (W,) array
        eV, ascending and evenly spaced, both signs.
    tensor : (W, Q, 3, 3) complex array
        S_ab(q, E) in 1/eV, Hermitian. Its antisymmetric part is the sense of precession: with the mean moment along z,
        i (S_xy - S_yx) is +(S_xx + S_yy) for counter-clockwise motion at E > 0.
    mean_spin : (3,) array
        Of all magnetic atoms and frames.
    """

    energies: np.ndarray
    tensor: np.ndarray
    mean_spin: np.ndarray

    @property
    def total(self):
        """Trace of the tensor, (W, Q), in 1/eV."""
        return np.einsum("wqaa->wq", self.tensor).real

    @property
    def longitudinal(self):
        """Part along the mean spin, (W, Q), in 1/eV; InputError if that is zero, as in antiferromagnets."""
        length = np.linalg.norm(self.mean_spin)
        if length < NO_AXIS:
            raise InputError(
                f"Expected a mean moment that gives the axis, got a mean spin of {length:.1e}: take the components "
                "from the tensor."
            )
        axis = self.mean_spin / length
        return np.einsum("a,wqab,b->wq", axis, self.tensor, axis).real

    @property
    def transverse(self):
        """Sum of both parts across the mean spin, (W, Q), in 1/eV; InputError as for :attr:`longitudinal`."""
        return self.total - self.longitudinal


def dynamic_structure_factor(frames, q, interval, segments=1, window="hann"):
    """Dynamic structure factor S(q, E) of the spins of a run.

    Parameters
    ----------
    frames : iterable of ase.Atoms
        At equal distances in time, each used once and not kept: a list, a trajectory, or a run in progress such as
        ``(atoms for _ in dynamics.irun(1000))``. Positions are those of each frame.
    q : (Q, 3) array
        Wave vectors in units of the reciprocal cell, as for :func:`~ase_spinml.analysis.structure_factor`. Waves of a
        periodic cell have whole numbers.
    interval : float
        Time from frame to frame in ASE time units. Energies range up to pi hbar / interval; faster motion is folded
        into this range.
    segments : int
        Stretches of the run whose spectra are averaged: less noise, and a resolution of 2 pi hbar over the duration of
        one of them. Frames left over at the end do not count.
    window : "hann" or "boxcar"
        "hann" lets no strong line leak over the spectrum, with segments that overlap by half (P. D. Welch, IEEE Trans.
        Audio Electroacoust. 15, 70 (1967)); a sharp line is 1.4 steps wide, and the sum rule holds on average.
        "boxcar" takes frames as they are, and the sum rule is exact.

    Returns
    -------
    DynamicStructureFactor

    Raises
    ------
    InputError
        Wave vectors as for the static one; unusable parameters; fewer than eight frames in a segment.

    Examples
    --------
    >>> from ase import Atoms, units
    >>> from ase_spinml import SpinDynamics, Zeeman
    >>> atoms = Atoms("Fe", magmoms=[[2.2, 0, 0]])
    >>> atoms.calc = Zeeman((0, 0, 100.0))
    >>> from ase_spinml.analysis import dynamic_structure_factor
    >>> dynamics = SpinDynamics(atoms, 1.0 * units.fs)
    >>> states = (atoms for _ in dynamics.irun(511))
    >>> found = dynamic_structure_factor(states, [[0, 0, 0]], interval=1.0 * units.fs)
    >>> energies = found.energies[found.total[:, 0] > 0.5 * found.total.max()]
    >>> print(abs(energies).mean().round(3))                   # eV; g mu_B B is 0.0116
    0.012
    """
    checks.positive("interval", interval, "ASE time units")
    checks.choice("window", window, ("hann", "boxcar"))
    if isinstance(segments, bool) or not isinstance(segments, int | np.integer) or segments < 1:
        raise InputError(f"Expected segments as a whole number of 1 or more, got {segments!r}.")
    waves, spins = [], []
    for frame in frames:
        waves.append(fourier_components(frame, q))
        directions = get_spins(frame)
        spins.append(directions.sum(axis=0) / directions.any(axis=1).sum())
    if len(waves) < FEWEST * segments:
        raise InputError(
            f"Expected at least {FEWEST} frames in each of {segments} segments, got {len(waves)} frames: run longer."
        )
    energies, tensor = spectrum(np.array(waves), interval, segments, window)
    return DynamicStructureFactor(energies, tensor, np.mean(spins, axis=0))


def spectrum(waves, interval, segments=1, window="hann"):
    """Cross spectra of Fourier components.

    Parameters
    ----------
    waves : (T, Q, 3) complex array
        e(q, t).
    interval, segments, window
        As for :func:`dynamic_structure_factor`.

    Returns
    -------
    energies : (W,) array
        eV, with W = T // segments.
    tensor : (W, Q, 3, 3) complex array
        1/eV.
    """
    from scipy.signal import csd

    length = len(waves) // segments
    overlap = length // 2 if window == "hann" else 0
    settings = {"fs": 1 / interval, "window": window, "nperseg": length, "noverlap": overlap, "detrend": False}
    tensor = np.empty((length, waves.shape[1], 3, 3), complex)
    for k, wave in enumerate(np.moveaxis(waves[: segments * length], 1, 0)):
        frequencies, tensor[:, k] = csd(wave[:, None, :], wave[:, :, None], return_onesided=False, axis=0, **settings)
    energies = -2 * np.pi * HBAR * frequencies  # scipy transforms with exp(-i omega t)
    order = np.argsort(energies)
    return energies[order], tensor[order] / (2 * np.pi * HBAR)
