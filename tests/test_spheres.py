"""Geodesics on spheres, and coordinates in which optimizers step."""

import numpy as np
import pytest

from ase_spinml.landscape.spheres import TurningCoordinates, angles, distance, exponential, logarithm
from ase_spinml.moments import random_directions, transverse


@pytest.fixture
def spins():
    rows = random_directions(6, 1)
    rows[2] = 0.0
    return rows


def tangents(spins, seed, size=0.4):
    return size * transverse(np.random.default_rng(seed).normal(size=spins.shape), spins)


def test_logarithm_undoes_exponential(spins):
    step = tangents(spins, 2)
    there = exponential(spins, step)
    assert np.abs(logarithm(spins, there) - step).max() < 1e-14
    assert np.allclose(np.linalg.norm(there, axis=1), [1, 1, 0, 1, 1, 1], atol=1e-15)
    assert distance(spins, there) == pytest.approx(np.linalg.norm(step), abs=1e-14)


def test_angles_are_accurate_at_both_ends():
    up = np.tile([0.0, 0.0, 1.0], (2, 1))
    near = np.array([[1e-9, 0.0, 1.0], [1e-9, 0.0, -1.0]])
    assert angles(up, near) == pytest.approx([1e-9, np.pi - 1e-9], abs=1e-16)


def test_opposite_spins_have_no_direction():
    assert not logarithm(np.array([[0.0, 0.0, 1.0]]), np.array([[0.0, 0.0, -1.0]])).any()


def test_a_step_follows_the_geodesic_and_leads_back(spins):
    coordinates = TurningCoordinates(spins)
    first = tangents(spins, 3)
    halfway = coordinates.move(0.5 * first)
    assert np.abs(halfway - exponential(spins, 0.5 * first)).max() < 1e-14
    assert np.abs(coordinates.move(first) - exponential(spins, first)).max() < 1e-14
    assert np.abs(coordinates.move(0.0 * first) - spins).max() < 1e-14
    assert np.abs(coordinates.frames - np.eye(3)).max() < 1e-14


def test_components_are_the_gradient_in_the_coordinates(spins):
    def energy(state):
        return np.sum(state**2 @ [[1.0], [2.0], [-1.0]]) + state[0] @ state[1]

    def gradient(state):
        rows = 2 * state * [1.0, 2.0, -1.0]
        rows[0] += state[1]
        rows[1] += state[0]
        return transverse(rows, state)

    coordinates = TurningCoordinates(spins)
    x = tangents(spins, 4)
    x = x + tangents(spins, 5)
    coordinates.move(x)
    components = coordinates.components(gradient(coordinates.spins))
    direction, h = tangents(spins, 6), 1e-5
    change = energy(coordinates.move(x + h * direction)) - energy(coordinates.move(x - h * direction))
    assert change / (2 * h) == pytest.approx(np.vdot(components, direction), rel=1e-8)


def test_lengths_survive_thousands_of_turns(spins):
    coordinates = TurningCoordinates(spins)
    rng = np.random.default_rng(7)
    x = np.zeros_like(spins)
    for _ in range(3000):
        x = x + 0.3 * transverse(rng.normal(size=x.shape), spins)
        coordinates.move(x)
    assert np.abs(np.linalg.norm(coordinates.spins, axis=1) - [1, 1, 0, 1, 1, 1]).max() < 1e-14
    carried = np.einsum("iab,ib->ia", coordinates.frames, spins)
    assert np.abs(carried - coordinates.spins).max() < 1e-12
