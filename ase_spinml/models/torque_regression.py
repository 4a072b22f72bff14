"""Ridge regression of fields that are linear in the weights of potentials, its strength chosen on frames left out."""

import torch

from ase_spinml.models.heads import spin_slopes

FOLDS = 5
STRENGTHS = torch.logspace(-10, 2, 13, dtype=torch.float64)
"""Ridges to choose from, relative to the largest column."""
CHUNK = 32
"""Columns of the design worked on at a time."""


def fit_torques(batches, inputs, head, mirror):
    """Weights of the features whose fields fit best, by ridge regression on the components.

    The strength of the ridge is the one that predicts best what is left out, a fifth of the frames at a time. The
    rotated part has its own, and is left out, networks included, unless it improves these predictions by more than one
    standard error: data that have an energy must not leave a trace in G.

    Parameters
    ----------
    batches : iterable of Batch
        One frame with field labels each.
    inputs : list of Inputs
        Components of each species; the ridge is on weights of features, so small components stay small.
    head : Head
    mirror : (F,)
        -1 for odd features that must not enter linearly, else 1.

    Returns
    -------
    (H, n_species, F) tensor
        dE/dx and, if the head has a rotated part, dG/dx; for the direct head its constants.
    list of H floats
        Units of the networks in eV: for the plain part the root mean square of what is left of m_i H_i, for the rotated
        part not more than what its linear fit has, zero if that has been left out.
    """
    directions = [0.5 * (1 + mirror).unsqueeze(1) * p.directions for p in inputs]
    folds = [fold for fold in _moments(batches, directions, head) if fold.count]
    penalty = torch.block_diag(*[d.T @ d for d in directions])
    solution = _solution(folds, penalty / penalty.diagonal().max(), head.count)
    parts = solution.split([d.shape[1] for _ in range(head.count) for d in directions])
    weights = torch.stack([d @ u for d, u in zip(directions * head.count, parts, strict=True)])
    count, total = sum(fold.count for fold in folds), sum(fold.square for fold in folds)
    left = max(sum(fold.error(solution) for fold in folds), 1e-6 * total, 1e-16)
    units = [(left / count) ** 0.5]
    if head.rotated:
        rotated = solution.clone()
        rotated[: len(penalty)] = 0.0
        size = (max(float(sum(rotated @ fold.matrix @ rotated for fold in folds)), 0.0) / count) ** 0.5
        units.append(min(size, units[0]))
    return weights.view(head.count, len(inputs), -1), units


class _Moments:
    """Normal equations of the frames of one fold, in units of eV."""

    def __init__(self, size, like):
        self.matrix, self.vector = like.new_zeros(size, size), like.new_zeros(size)
        self.square, self.count = 0.0, 0

    def add(self, design, targets):
        self.matrix += design.T @ design
        self.vector += design.T @ targets
        self.square += float(targets.square().sum())
        self.count += len(targets)

    def leading(self, size):
        """The same for the first columns alone."""
        part = _Moments(size, self.vector)
        part.matrix, part.vector = self.matrix[:size, :size], self.vector[:size]
        part.square, part.count = self.square, self.count
        return part

    def error(self, u):
        """Sum of squared residuals."""
        return float(self.square - 2 * u @ self.vector + u @ self.matrix @ u)


def _moments(batches, directions, head):
    size = head.count * sum(d.shape[1] for d in directions)
    folds = [_Moments(size, directions[0]) for _ in range(FOLDS)]
    for number, batch in enumerate(batches):
        index, targets, sigmas = batch.rows["field"]
        design = _design(batch, directions, head)[:, index]
        targets = batch.lengths[index, None] * targets
        weight = (sigmas.min() / sigmas)[:, None]
        folds[number % FOLDS].add((design * weight).flatten(1).T, (targets * weight).flatten())
    return folds


def _design(batch, directions, head):
    """m_i H_i across the moments for one unit of every weight, (C, N, 3)."""
    features, spins = batch.graph.features, batch.graph.structure.spins
    plain = []
    for z, columns in enumerate(directions):
        mine = (batch.species == z).to(features.dtype)[None, :, None]
        for start in range(0, columns.shape[1], CHUNK):
            sensitivity = mine * columns[:, start : start + CHUNK].T[:, None, :]
            gradient = batch.graph.pullback(sensitivity, lattice=False, centred=head.centred)
            across = gradient.spins - (gradient.spins * spins).sum(2, keepdim=True) * spins
            plain.append(-across)
    plain = torch.cat(plain)
    if not head.rotated:
        return plain
    nothing = torch.zeros_like(plain)
    return torch.cat([plain, spin_slopes(torch.stack([nothing, plain], dim=1), spins)])


def _solution(folds, penalty, count):
    """Weights of all columns, zero for the rotated ones if they do not help."""
    size = len(penalty)
    plain = [fold.leading(size) for fold in folds]
    strength, errors = _best(plain, lambda s: s * penalty)
    solution = _solve(plain, strength * penalty)
    if count == 1:
        return solution
    both = _best(folds, lambda s: torch.block_diag(strength * penalty, s * penalty))
    gains = errors - both[1]
    if len(folds) > 1 and gains.sum() > gains.std() * len(folds) ** 0.5:
        return _solve(folds, torch.block_diag(strength * penalty, both[0] * penalty))
    return torch.cat([solution, torch.zeros_like(solution)])


def _best(folds, penalty):
    """Strength s with the smallest error on folds left out, for ridges penalty(s), and its errors by fold."""
    if len(folds) == 1:
        return STRENGTHS[len(STRENGTHS) // 2], torch.zeros(1, dtype=STRENGTHS.dtype)
    errors = torch.zeros(len(STRENGTHS), len(folds), dtype=STRENGTHS.dtype)
    for row, strength in zip(errors, STRENGTHS, strict=True):
        for k, fold in enumerate(folds):
            row[k] = fold.error(_solve(folds[:k] + folds[k + 1 :], penalty(strength)))
    best = int(errors.sum(1).argmin())
    return STRENGTHS[best], errors[best]


def _solve(folds, penalty):
    matrix, vector = sum(fold.matrix for fold in folds), sum(fold.vector for fold in folds)
    ridge = penalty + 1e-12 * torch.eye(len(matrix), dtype=matrix.dtype)
    factor = torch.linalg.cholesky(matrix + matrix.diagonal().max() * ridge)
    return torch.cholesky_solve(vector[:, None], factor).squeeze(1)
