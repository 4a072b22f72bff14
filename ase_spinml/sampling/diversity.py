"""The most diverse of many frames: farthest points by descriptor distance, near-duplicates left out."""

import numpy as np

from ase_spinml.descriptors.soso import SOSO
from ase_spinml.errors import InputError


def select_diverse(frames, count=None, threshold=1e-3, descriptor=None):
    """Frames ordered so that the first n are as different as possible, without near-duplicates.

    Farthest-point selection: the first frame is the one farthest from the mean of all, each next the one farthest from
    all chosen so far. It ends when the next would be closer than ``threshold`` to one chosen, so what is left out
    repeats something kept. Frames that differ by a rotation of the crystal, a common rotation of all spins, the order
    of their atoms, time reversal or inversion are duplicates, as descriptors without spin-orbit coupling see them.

    Parameters
    ----------
    frames : list of ase.Atoms
        With moments.
    count : int, optional
        Most frames to keep.
    threshold : float
        Smallest distance between two kept frames, see :func:`frame_features`; 0 keeps all.
    descriptor : SOSO, optional
        With ``spin_orbit=True`` for materials where the crystal pins the spins.

    Returns
    -------
    list of ase.Atoms
        Copies; ``info["distance"]`` is the distance to the nearest frame before it (of the first: to the mean).

    Raises
    ------
    InputError
        No frames, a negative threshold, count below 1, species that the descriptor does not know.
    """
    frames = list(frames)
    if not frames:
        raise InputError("Expected frames to choose from, got an empty list.")
    if not threshold >= 0:
        raise InputError(f"Expected a threshold of at least 0, got {threshold}.")
    if count is not None and count < 1:
        raise InputError(f"Expected a count of at least 1, got {count}.")
    features = frame_features(frames, descriptor)
    order, distances = farthest_points(features, len(frames) if count is None else count, threshold)
    chosen = []
    for k, distance in zip(order, distances, strict=True):
        frame = frames[k].copy()
        frame.calc = frames[k].calc
        frame.info["distance"] = float(distance)
        chosen.append(frame)
    return chosen


def frame_features(frames, descriptor=None):
    """One vector per frame, (n, F): for every element the mean over its atoms of their features, and their scatter.

    Blocks of the descriptor are divided by the typical length of their atomic features, so that a distance of 0.01
    means surroundings that differ by about one percent; elements are weighted by their share of the atoms. Invariant
    to whatever the atomic features are invariant to, and to the order of the atoms.

    Parameters
    ----------
    frames : list of ase.Atoms
    descriptor : SOSO, optional
        By default pairs and triplets within 5 Angstrom.
    """
    species = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    if descriptor is None:
        descriptor = SOSO(species, spin_l_max=2, n_max_angular=4, l_max=2)
    pools = PooledFeatures(descriptor, species)
    means = np.array([pools.add(frame) for frame in frames])
    return pools.scaled(means)


class PooledFeatures:
    """Features of frames as they come, and the scale of the descriptor's blocks over all of them.

    Parameters
    ----------
    descriptor : SOSO
    species : list of str
        Elements that frames may contain.
    """

    def __init__(self, descriptor, species):
        self._descriptor, self._species = descriptor, species
        self._squares, self._atoms = 0.0, 0

    def add(self, frame):
        """Means and scatters of a frame's features by element, not yet scaled, (2 S, F) for S elements."""
        features, parts = self._descriptor(frame), []
        self._squares = self._squares + np.sum(features**2, axis=0)
        self._atoms += len(features)
        for symbol in self._species:
            mine = features[frame.symbols == symbol]
            if not len(mine):
                mine = np.zeros((1, features.shape[1]))
            share = np.sqrt(np.mean(frame.symbols == symbol))
            parts += [share * mine.mean(axis=0), share * mine.std(axis=0)]
        return np.array(parts)

    def scaled(self, parts):
        """Vectors (n, 2 S F) of frames from what :meth:`add` gave for them (n, 2 S, F), by the scale known by now."""
        kinds = np.array([name.split()[0] for name in self._descriptor.get_feature_names_out()])
        square, scale = self._squares / self._atoms, np.ones(len(kinds))
        for kind in np.unique(kinds):
            scale[kinds == kind] = 1.0 / max(np.sqrt(square[kinds == kind].sum()), 1e-300)
        return (parts * scale).reshape(len(parts), -1)


def farthest_points(points, count, threshold, weights=None):
    """Indices of farthest points, and the distance of each to those before it.

    Parameters
    ----------
    points : (n, F) array
    count : int
        Most points to choose.
    threshold : float
        Points closer than this to a chosen one are never chosen.
    weights : (n,) array, optional
        Each next point has the largest product of weight and distance, the first the largest weight.
    """
    from_mean = np.linalg.norm(points - points.mean(axis=0), axis=1)
    order = [int(np.argmax(from_mean if weights is None else weights))]
    distances = [from_mean[order[0]]]
    weights = np.ones(len(points)) if weights is None else weights
    nearest = np.linalg.norm(points - points[order[0]], axis=1)
    nearest[order[0]] = -1.0
    while len(order) < min(count, len(points)):
        k = int(np.argmax(np.where(nearest < threshold, -1.0, weights * nearest)))
        if nearest[k] < threshold:
            break
        order.append(k)
        distances.append(nearest[k])
        nearest = np.minimum(nearest, np.linalg.norm(points - points[k], axis=1))
        nearest[order] = -1.0
    return order, distances
