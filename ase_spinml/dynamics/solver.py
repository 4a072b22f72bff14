"""Few field evaluations per implicit spin step: a learned pair coupling, extrapolation, secants.

Along a trajectory the field H(n) at the midpoint spins n is split as H(n) = S(n) + C, all perpendicular to n. The pair
coupling S_i(n) = h + (1/m_i) sum_j [J(r_ij) + 2 B(r_ij) n_i.n_j] n_j, fitted to fields seen before, carries most of the
change of the field with the spins and costs nothing to evaluate. The remainder C is extrapolated over time (linear
prediction, with coefficients fitted to its own past) and corrected by a quasi-Newton iteration. None of it changes the
solution of the step; it only decides how many fields are asked for.
"""

import numpy as np
from scipy.sparse import csr_array

ORDER = 9
"""Past remainders combined in one extrapolation."""
WINDOWS = 9
"""Past extrapolations to which its coefficients are fitted."""
SAMPLED_SPINS = 256
"""Spins that take part in that fit."""
FITTED_SPINS = 2000
"""Spins that take part in the fit of the pair coupling."""
HATS = 6
"""Radial functions of the pair coupling per pair of species."""


def array_namespace(array):
    """The module, numpy or torch, that an array belongs to."""
    if type(array).__module__.startswith("torch"):
        import torch

        return torch
    return np


def transverse(vectors, spins):
    """Part of each row of ``vectors`` (N, 3) perpendicular to the unit row of ``spins`` (N, 3)."""
    return vectors - array_namespace(spins).einsum("ia,ia->i", vectors, spins)[:, None] * spins


class PairCoupling:
    """S_i(n) = h + sum_k (w_ik + v_ik n_i.n_k) n_k: bilinear and biquadratic exchange, and a uniform field.

    Parameters
    ----------
    neighbours : (N, K) integers
        Index of the neighbour in each slot.
    bilinear, biquadratic : (N, K), (N, K)
        w and v in eV/mu_B, J/m_i and 2 B/m_i for the pair energy -J e_i.e_k - B (e_i.e_k)^2; 0 in empty slots.
    uniform : (3,)
        h in eV/mu_B.
    """

    def __init__(self, neighbours, bilinear, biquadratic, uniform):
        self.neighbours = neighbours
        self.bilinear = bilinear
        self.biquadratic = biquadratic
        self.uniform = uniform
        pointers = np.arange(0, neighbours.size + 1, neighbours.shape[1])
        self._matrices = [
            csr_array((weights.ravel(), neighbours.ravel(), pointers), shape=2 * (len(neighbours),))
            for weights in (bilinear, biquadratic)
        ]

    def __call__(self, spins):
        """S at the unit rows ``spins`` (N, 3), in eV/mu_B; sum_k v_ik n_k n_k^T by its six components."""
        linear, tensor = self._matrices
        out = np.asfortranarray(linear @ spins)
        out += self.uniform
        x, y, z = spins.T
        xx, yy, zz, xy, yz, zx = (tensor @ np.stack([x * x, y * y, z * z, x * y, y * z, z * x], axis=1)).T
        out[:, 0] += xx * x + xy * y + zx * z
        out[:, 1] += xy * x + yy * y + yz * z
        out[:, 2] += zx * x + yz * y + zz * z
        return out


def pair_basis(distances, kinds, filled):
    """Hat functions of the distance, one set per kind of pair, falling to zero at the largest distance.

    Parameters
    ----------
    distances, kinds, filled : (N, K)
        Distance in Angstrom, number of the pair of species, and whether the slot holds a neighbour.

    Returns
    -------
    (N, K, B)
        Zero in empty slots.
    """
    if not filled.any():
        return np.zeros((*filled.shape, 0))
    low, high = distances[filled].min(), distances[filled].max() * 1.001
    centres = np.linspace(low, high, HATS, endpoint=False)
    hats = np.clip(1.0 - np.abs(distances[..., None] - centres) * HATS / (high - low), 0.0, None) * filled[..., None]
    return np.concatenate([hats * (kinds == kind)[..., None] for kind in np.unique(kinds[filled])], axis=-1)


def fit_coupling(neighbours, basis, lengths, frames):
    """Fit a :class:`PairCoupling` to fields seen before, by ridge regression of m_i H_i.

    The ridge is 1e-6 of what the features weigh before projection, so that a nearly collinear state, which says
    little, gives small couplings rather than wild ones.

    Parameters
    ----------
    neighbours, basis : (N, K), (N, K, B)
        Slots and radial functions (:func:`pair_basis`).
    lengths : (N,)
        m_i in mu_B.
    frames : list of ((N, 3), (N, 3))
        Spins and transverse fields.
    """
    hats = basis.shape[-1]
    size = 2 * hats + 3
    gram, moment, weight = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    chosen = slice(None, None, 1 + len(lengths) // FITTED_SPINS)
    some, own = basis[chosen], lengths[chosen, None]
    uniform = np.eye(3)[:, None, :] * own
    for spins, field in frames:
        others, centre = spins[neighbours[chosen]], spins[chosen]
        cosines = np.einsum("ika,ia->ik", others, centre)[..., None]
        pairs = [(weighted.transpose(0, 2, 1) @ others).swapaxes(0, 1) for weighted in (some, some * cosines)]
        raw = np.concatenate([*pairs, uniform])
        features = (raw - np.einsum("bia,ia->bi", raw, centre)[..., None] * centre).reshape(size, -1)
        gram += features @ features.T
        moment += features @ (own * field[chosen]).ravel()
        weight += np.einsum("bia,bia->b", raw, raw)
    ridge = 1e-6 * weight + np.finfo(float).tiny
    coefficients = np.linalg.solve(gram + np.diag(ridge), moment)
    bilinear, biquadratic = (basis @ part / lengths[:, None] for part in coefficients[:-3].reshape(2, hats))
    return PairCoupling(neighbours, bilinear, biquadratic, coefficients[-3:])


class MidpointMemory:
    """Midpoint spins and fields of past steps, and the coupling learned from them.

    Attributes
    ----------
    frames : list of ((N, 3), (N, 3))
        Midpoint spins and transverse fields (eV/mu_B), newest last.
    coupling : PairCoupling or None
        The S of the module's docstring; set it with :meth:`couple`.
    secants : Secants
        How C changes with the spins.
    expected_error : float
        Error of the last extrapolation, as a residual of the step.
    """

    def __init__(self):
        self.frames = []
        self.coupling = None
        self.expected_error = 1e-3
        self.secants = Secants()
        self._remainders = []

    def couple(self, coupling):
        """Use another coupling from now on."""
        self.coupling = coupling
        self.secants = Secants()
        self._remainders = [self.remainder(*frame) for frame in self.frames]

    def coupling_field(self, spins):
        """S(n), (N, 3) in eV/mu_B; zero as long as nothing has been learned."""
        return 0.0 if self.coupling is None else self.coupling(spins)

    def remainder(self, spins, field):
        """C = H - S(n), transverse, (N, 3) in eV/mu_B, of a field H (N, 3) at the spins n (N, 3)."""
        return transverse(field - self.coupling_field(spins), spins)

    def local_field(self, spins):
        """The field as the step knows it before its first evaluation, for spins (N, 3) at its start."""
        return LocalField(self, spins)

    def store(self, spins, field):
        """Remember the converged midpoint spins and transverse fields (N, 3) of one step."""
        self.frames = [*self.frames, (spins, field)][-(ORDER + WINDOWS) :]
        self._remainders = [*self._remainders, self.remainder(spins, field)][-(ORDER + WINDOWS) :]

    def predict(self, spins):
        """Remainder C (N, 3) expected at the midpoint of the step that starts from ``spins``."""
        past = self._remainders[::-1]
        if not past:
            return 0.0 * spins
        order = min(ORDER, len(past) // 2)
        if order == 0:
            return past[0]
        windows = min(WINDOWS, len(past) - order)
        stride = 1 + len(spins) // SAMPLED_SPINS
        samples = [_to_host(remainder[::stride]).ravel() for remainder in past[: order + windows]]
        table = np.stack([np.concatenate(samples[lag : lag + windows]) for lag in range(order + 1)], axis=1)
        triangle = np.linalg.qr(table[:, [*range(1, order + 1), 0]], mode="r")
        coefficients = np.linalg.lstsq(triangle[:order, :order], triangle[:order, order], rcond=1e-13)[0]
        return sum(float(c) * remainder for c, remainder in zip(coefficients, past, strict=False))


class PlainMemory:
    """Stands in for :class:`MidpointMemory` where fields are cheap: the next one is extrapolated from the last three.

    Nothing is fitted, so nothing has to be read from a device.
    """

    COEFFICIENTS = ((0.0,), (1.0,), (2.0, -1.0), (3.0, -3.0, 1.0))

    def __init__(self):
        self.expected_error = 1e-3
        self._past = []

    def local_field(self, spins):
        """The field as the step knows it before its first evaluation, for spins (N, 3) at its start."""
        past = self._past or [spins]
        coefficients = self.COEFFICIENTS[len(self._past)]
        return ConstantField(sum(c * field for c, field in zip(coefficients, past, strict=True)))

    def store(self, spins, field):
        """Remember the converged fields (N, 3) of one step."""
        self._past = [field, *self._past][:3]


class ConstantField:
    """A field (N, 3) in eV/mu_B that is taken to be the same at all spins, until the next evaluation."""

    varies = False

    def __init__(self, field):
        self._field = field

    def __call__(self, spins):
        """The last field."""
        return self._field

    def learn(self, spins, field):
        """Take in an evaluation."""
        self._field = field


class LocalField:
    """The field as a function of the spins, S(n) + C(n), with C linear about the last evaluation.

    Parameters
    ----------
    memory : MidpointMemory
        Gives the coupling, the first guess of C and the secants.
    spins : (N, 3)
        Unit rows at the start of the step.
    """

    varies = True

    def __init__(self, memory, spins):
        self._memory = memory
        self._remainder = memory.predict(spins)
        self._anchor = None

    def __call__(self, spins):
        """Expected field, (N, 3) in eV/mu_B; the part along each spin is arbitrary."""
        field = self._memory.coupling_field(spins) + self._remainder
        return field if self._anchor is None else field + self._memory.secants(spins - self._anchor)

    def learn(self, spins, field):
        """Take in an evaluation: the field (N, 3) at ``spins`` (N, 3)."""
        remainder = self._memory.remainder(spins, field)
        if self._anchor is not None:
            self._memory.secants.add(spins - self._anchor, remainder - self._remainder)
        self._anchor, self._remainder = spins, remainder


class Secants:
    """The change of the remainder with the spins, as a linear map fitted to its most recent changes.

    Fields of neighbouring time steps respond alike, so the pairs of one step still serve the next. With spin changes
    u_k and remainder changes v_k, both divided by |u_k|, the map is d -> sum_kl v_k (G + ``RIDGE``)^-1_kl (u_l.d),
    G_kl = u_k.u_l.
    """

    KEPT = 12
    RIDGE = 1e-3
    SMALLEST = 1e-9  # changes below drown in rounding

    def __init__(self):
        self._count = 0

    def add(self, moved, changed):
        """Learn that the remainder changed by ``changed`` (N, 3) when the spins moved by ``moved`` (N, 3)."""
        length = float((moved * moved).sum()) ** 0.5
        if length < self.SMALLEST:
            return
        if self._count == 0:
            xp = array_namespace(moved)
            self._moved, self._changed = (xp.zeros((self.KEPT, moved.shape[0] * 3), dtype=moved.dtype) for _ in "uv")
            self._gram = np.zeros((self.KEPT, self.KEPT))
        slot = self._count % self.KEPT  # the oldest makes room
        self._count += 1
        self._moved[slot] = (moved / length).T.reshape(-1)
        self._changed[slot] = (changed / length).T.reshape(-1)
        self._gram[slot] = self._gram[:, slot] = _to_host(self._moved @ self._moved[slot])
        known = min(self._count, self.KEPT)
        self._inverse = np.zeros_like(self._gram)
        self._inverse[:known, :known] = np.linalg.inv(self._gram[:known, :known] + self.RIDGE * np.eye(known))

    def __call__(self, displacement):
        """Expected change of the remainder, (N, 3) in eV/mu_B, for a ``displacement`` (N, 3) of the spins."""
        if self._count == 0:
            return 0.0
        xp = array_namespace(displacement)
        weights = self._inverse @ _to_host(self._moved @ displacement.T.reshape(-1))
        return (xp.asarray(weights, dtype=displacement.dtype) @ self._changed).reshape(3, -1).T


def _to_host(array):
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)
