"""Paths between magnetic states: geodesic interpolation, and the energy along a path."""

import numpy as np

from ase_spinml.errors import InputError
from ase_spinml.landscape.spheres import angles, exponential, logarithm
from ase_spinml.moments import get_moments, get_spins, set_moments, transverse, unit_rows

OPPOSITE = 1e-8
"""Spins within this angle of opposite, in radians, have no shortest geodesic of their own."""


def interpolate(initial, final, n_images, axis=None, noise=0.0, rng=None):
    """Images at equal distances on the geodesic from one magnetic state to another: every spin turns at constant speed.

    Opposite spins have no shortest geodesic. They turn about one axis, the same for a moment and its opposite, so that
    an antiferromagnet turns rigidly: ``axis``, or else the Cartesian axis least along the spin (the first of equals),
    made perpendicular to the spin. If that keeps a symmetry which the path of lowest energy breaks, noise helps.

    Parameters
    ----------
    initial, final : ase.Atoms
        End states: the same atoms, cell, positions and moment lengths.
    n_images : int
        Number of images, both ends included.
    axis : array_like, shape (3,), optional
        Axis about which opposite spins turn; it must not lie along them.
    noise : float
        Standard deviation of random turns of all spins of inner images, in degrees per tangent direction.
    rng : seed or numpy Generator
        Source of the noise.

    Returns
    -------
    list of ase.Atoms
        Copies, all with the calculator of ``initial``.

    Raises
    ------
    InputError
        Ends that differ by more than directions, fewer than three images, an axis along an opposite spin.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase_spinml import get_spins, interpolate
    >>> images = interpolate(Atoms("Fe", magmoms=[[0, 0, 2]]), Atoms("Fe", magmoms=[[2, 0, 0]]), 3)
    >>> get_spins(images[1]).round(4).tolist()                 # half way
    [[0.7071, 0.0, 0.7071]]
    """
    if n_images < 3:
        raise InputError(f"Expected n_images of at least 3, both ends included, got {n_images}: ask for more.")
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"Expected noise >= 0 in degrees, got {noise}.")
    check_same_atoms([initial, final])
    first, last = get_spins(initial), get_spins(final)
    lengths = np.linalg.norm(get_moments(initial), axis=1, keepdims=True)
    tangents = logarithm(first, last)
    opposite = angles(first, last) > np.pi - OPPOSITE
    tangents[opposite] = np.pi * np.cross(_axes(first[opposite], axis), first[opposite])
    rng = np.random.default_rng(rng)
    images = []
    for fraction in np.linspace(0.0, 1.0, n_images):
        image = initial.copy()
        spins = exponential(first, fraction * tangents)
        if noise and 0.0 < fraction < 1.0:
            spins = exponential(spins, np.radians(noise) * transverse(rng.normal(size=spins.shape), spins))
        set_moments(image, lengths * spins)
        images.append(image)
    set_moments(images[0], get_moments(initial))
    set_moments(images[-1], get_moments(final))
    for image in images:
        image.calc = initial.calc
    return images


def check_same_atoms(images):
    """Raise InputError unless all images are the same atoms in the same place with moments of the same lengths."""
    first = images[0]
    lengths = np.linalg.norm(get_moments(first), axis=1)
    for number, image in enumerate(images[1:], 1):
        what = None
        if not np.array_equal(image.numbers, first.numbers):
            what = "atoms"
        elif not np.array_equal(image.pbc, first.pbc) or not np.allclose(image.cell, first.cell, atol=1e-8):
            what = "a cell"
        elif not np.allclose(image.positions, first.positions, atol=1e-8):
            what = "positions"
        elif not np.allclose(np.linalg.norm(get_moments(image), axis=1), lengths, rtol=1e-6, atol=1e-9):
            what = "moment lengths"
        if what:
            raise InputError(
                f"Expected images that differ by the directions of moments only, got {what} of their own in image "
                f"{number} of {len(images)}: make the path from copies of one frame."
            )


class EnergyPath:
    """Energy along a path of M images, between them the cubic through energies and slopes of both ends of a segment.

    Parameters
    ----------
    coordinates : (M,) array
        Geodesic distance covered from the first image, in radians.
    energies : (M,) array
        In eV.
    slopes : (M,) array
        dE/ds along the path, in eV/rad.
    """

    def __init__(self, coordinates, energies, slopes):
        self.coordinates = np.asarray(coordinates, float)
        self.energies = np.asarray(energies, float)
        self.slopes = np.asarray(slopes, float)

    @property
    def saddle(self):
        """Number of the highest inner image."""
        return 1 + int(np.argmax(self.energies[1:-1]))

    def curve(self, points=50):
        """Coordinates and energies (eV) of the interpolated curve, ``points`` per segment."""
        parts = [self._segment(i, np.linspace(0.0, 1.0, points, endpoint=False)) for i in range(len(self.energies) - 1)]
        x, energy = (np.concatenate(values) for values in zip(*parts, strict=True))
        return np.append(x, self.coordinates[-1]), np.append(energy, self.energies[-1])

    def barrier(self, reverse=False):
        """Height of the interpolated curve above the first image (``reverse``: above the last), in eV."""
        highest = max(self.energies.max(), *(self._top(i) for i in range(len(self.energies) - 1)))
        return float(highest - self.energies[-1 if reverse else 0])

    def difference(self):
        """Energy of the last image above the first, in eV."""
        return float(self.energies[-1] - self.energies[0])

    def _segment(self, i, t):
        width = self.coordinates[i + 1] - self.coordinates[i]
        return self.coordinates[i] + width * t, np.polyval(self._cubic(i), t)

    def _cubic(self, i):
        """Coefficients of the cubic on [0, 1], highest power first."""
        width = self.coordinates[i + 1] - self.coordinates[i]
        start, end = self.energies[i], self.energies[i + 1]
        rise, leave = width * self.slopes[i], width * self.slopes[i + 1]
        return np.array([2 * (start - end) + rise + leave, 3 * (end - start) - 2 * rise - leave, rise, start])

    def _top(self, i):
        cubic = self._cubic(i)
        roots = np.roots(np.polyder(cubic))
        inside = roots[np.isreal(roots)].real
        inside = inside[(inside > 0) & (inside < 1)]
        return np.polyval(cubic, np.append(inside, [0.0, 1.0])).max()


def _axes(spins, axis):
    """Unit rows (n, 3) perpendicular to ``spins`` (n, 3), along ``axis`` as far as possible."""
    if axis is None:
        wanted = np.eye(3)[np.argmin(np.abs(spins), axis=1)] if len(spins) else np.zeros((0, 3))
    else:
        axis = np.asarray(axis, float)
        if axis.shape != (3,) or not np.isfinite(axis).all() or not axis.any():
            raise InputError(f"Expected axis to be a vector of shape (3,) other than zero, got {axis.tolist()}.")
        wanted = np.tile(unit_rows(axis[None]), (len(spins), 1))
    perpendicular = transverse(wanted, spins)
    if len(spins) and np.linalg.norm(perpendicular, axis=1).min() < 1e-6:
        raise InputError("Expected an axis that opposite spins can turn about, got one along such a spin: tilt it.")
    return unit_rows(perpendicular)
