"""Paths between magnetic states: interpolation, elastic bands, saddles and their modes."""

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.mixing import SumCalculator
from ase.io import read
from ase.optimize import FIRE

from ase_spinml import Anisotropy, Heisenberg, Relaxation, SpinNEB, get_moments, get_spins, interpolate, set_moments
from ase_spinml.errors import InputError
from ase_spinml.landscape.modes import pushed, spin_modes
from ase_spinml.landscape.path import EnergyPath
from ase_spinml.landscape.spheres import angles, distance
from ase_spinml.moments import random_directions

K, HARD = 1e-3, 0.5e-3


def biaxial(easy=K, hard=HARD):
    """E = -easy e_z^2 + hard e_x^2 per moment."""
    return SumCalculator([Anisotropy(easy), Anisotropy(-hard, axis=(1, 0, 0))])


def up(n, calc, pbc=False):
    atoms = Atoms("Fe", cell=[1, 1, 10], pbc=(pbc, pbc, False)).repeat((n, n, 1))
    set_moments(atoms, np.tile([0.0, 0.0, 2.0], (n * n, 1)))
    atoms.calc = calc
    return atoms


def reversed_copy(atoms):
    other = atoms.copy()
    set_moments(other, -get_moments(atoms))
    other.calc = atoms.calc
    return other


def band(atoms, n_images=7, **options):
    return SpinNEB(interpolate(atoms, reversed_copy(atoms), n_images, axis=(0.2, 1, 0)), **options)


def test_interpolation_turns_every_spin_at_constant_speed():
    first, last = up(3, biaxial()), up(3, biaxial())
    set_moments(first, 2.0 * random_directions(9, 1))
    set_moments(last, 2.0 * random_directions(9, 2))
    images = interpolate(first, last, 6)
    steps = [angles(get_spins(a), get_spins(b)) for a, b in pairwise(images)]
    assert np.abs(np.array(steps) - angles(get_spins(first), get_spins(last)) / 5).max() < 1e-12
    assert np.array_equal(get_moments(images[0]), get_moments(first))
    assert np.array_equal(get_moments(images[-1]), get_moments(last))
    assert all(image.calc is first.calc for image in images)


def test_opposite_spins_turn_about_one_axis():
    atoms = up(2, biaxial())
    set_moments(atoms, [[0, 0, 2], [0, 0, -2], [0, 0, 2], [0, 0, -2]])
    default = get_spins(interpolate(atoms, reversed_copy(atoms), 3)[1])
    assert np.abs(default - [[0, -1, 0], [0, 1, 0]] * 2).max() < 1e-15  # about x
    chosen = get_spins(interpolate(atoms, reversed_copy(atoms), 3, axis=(0, 2, 1))[1])
    assert np.abs(chosen - [[1, 0, 0], [-1, 0, 0]] * 2).max() < 1e-15  # about y, perpendicular to the spins


def test_noise_turns_inner_images_only():
    atoms = up(10, biaxial())
    images = interpolate(atoms, atoms, 4, noise=3.0, rng=1)
    assert np.array_equal(get_moments(images[0]), get_moments(images[3]))
    spread = angles(get_spins(images[1]), get_spins(images[0]))
    assert np.degrees(np.sqrt(np.mean(spread**2) / 2)) == pytest.approx(3.0, rel=0.15)
    again = interpolate(atoms, atoms, 4, noise=3.0, rng=1)
    assert np.array_equal(get_moments(images[2]), get_moments(again[2]))


@pytest.mark.parametrize("optimizer", [None, FIRE])
def test_macrospin_crosses_the_easiest_plane(optimizer):
    chain = band(up(1, biaxial()), climb=True)
    assert chain.run(fmax=1e-7) if optimizer is None else optimizer(chain, logfile=None).run(fmax=1e-7, steps=3000)
    path = chain.path()
    assert path.barrier() == pytest.approx(K, abs=1e-9)
    assert path.barrier(reverse=True) == pytest.approx(K, abs=1e-9)
    assert path.difference() == pytest.approx(0.0, abs=1e-12)
    assert np.abs(get_spins(chain.saddle)[0, 1]) == pytest.approx(1.0, abs=1e-6)
    values, modes = spin_modes(chain.saddle, 2)
    assert values == pytest.approx([-2 * K, 2 * HARD], rel=1e-5)
    assert np.abs(modes[0, 0, 2]) == pytest.approx(1.0, abs=1e-4)


def test_images_without_climbing_are_evenly_spaced_and_interpolate_the_barrier():
    chain = band(up(1, biaxial()), n_images=8)
    assert chain.run(fmax=1e-7)
    path = chain.path()
    assert np.diff(path.coordinates) == pytest.approx([np.pi / 7] * 7, abs=1e-3)
    assert path.energies.max() < 0.0 - 1e-5
    assert path.barrier() == pytest.approx(K, rel=2e-2)
    x, energy = path.curve()
    assert np.abs(energy + K * np.cos(x) ** 2).max() < 5e-3 * K
    assert path.slopes == pytest.approx(K * np.sin(2 * path.coordinates), abs=1e-2 * K)


def test_a_stiff_block_turns_coherently():
    atoms = up(3, SumCalculator([Heisenberg([0.02]), biaxial()]))
    chain = band(atoms, n_images=5, climb=True)
    assert chain.run(fmax=3e-5)
    assert chain.path().barrier() == pytest.approx(9 * K, rel=1e-3)
    fields = atoms.calc.get_property("exchange_fields", chain.saddle)
    assert np.linalg.norm(np.cross(get_moments(chain.saddle), fields), axis=1).max() < 3e-5
    values, _ = spin_modes(chain.saddle, 18)
    assert (values < 0).sum() == 1
    assert values[0] == pytest.approx(-2 * K, rel=1e-2)


def test_a_long_chain_reverses_by_a_wall():
    """Wall energy 2 sqrt(2 J K) of the continuum; coherent rotation would cost n K."""
    n, exchange, easy = 30, 0.01, 1e-3
    atoms = Atoms(f"Fe{n}", positions=[[i, 0, 0] for i in range(n)])
    set_moments(atoms, np.tile([0.0, 0.0, 1.0], (n, 1)))
    atoms.calc = SumCalculator([Heisenberg([exchange]), Anisotropy(easy)])
    images = interpolate(atoms, reversed_copy(atoms), 8)
    for image, centre in zip(images[1:-1], np.linspace(0, n - 1, 6), strict=True):
        polar = 2 * np.arctan(np.exp((centre - np.arange(n)) / np.sqrt(exchange / 2 / easy)))
        set_moments(image, np.stack([0 * polar, np.sin(polar), np.cos(polar)], axis=1))
    chain = SpinNEB(images)
    assert chain.run(fmax=2e-5)
    assert chain.path().barrier() == pytest.approx(2 * np.sqrt(2 * exchange * easy), rel=0.02)
    assert 2 * np.sqrt(2 * exchange * easy) < 0.4 * n * easy


def test_pushed_off_the_saddle_it_falls_to_either_end():
    atoms = up(2, SumCalculator([Heisenberg([0.01]), biaxial()]))
    chain = band(atoms, n_images=5, climb=True)
    assert chain.run(fmax=3e-5)
    _, modes = spin_modes(chain.saddle, 1)
    ends = []
    for side in (0.1, -0.1):
        frame = pushed(chain.saddle, modes[0], side)
        assert distance(get_spins(frame), get_spins(chain.saddle)) == pytest.approx(0.1, abs=1e-12)
        assert Relaxation(frame).run(torque_max=1e-7)
        ends.append(get_spins(frame)[:, 2].mean())
    assert sorted(ends) == pytest.approx([-1, 1], abs=1e-6)


def test_modes_by_lanczos_and_densely_agree():
    atoms = up(3, SumCalculator([Heisenberg([0.01]), biaxial()]))
    few, modes = spin_modes(atoms, 3)
    every, _ = spin_modes(atoms, 18)
    assert few == pytest.approx(every[:3], rel=1e-5)
    assert every[0] == pytest.approx(2 * K, rel=1e-5)  # uniform turn about x
    assert every[1] == pytest.approx(2 * (K + HARD), rel=1e-5)
    assert np.einsum("kia,lia->kl", modes, modes) == pytest.approx(np.eye(3), abs=1e-8)
    assert np.array_equal(get_moments(atoms), get_moments(up(3, None)))


def test_frozen_and_zero_moments_take_no_part():
    atoms = up(2, biaxial())
    set_moments(atoms, [[0, 0, 2], [0, 0, 1], [0, 0, 0], [0, 0, 3]])
    images = interpolate(atoms, reversed_copy(atoms), 5, axis=(0.2, 1, 0))
    for image in images:
        moments = get_moments(image)
        moments[3] = [0, 3, 0]
        set_moments(image, moments)
    chain = SpinNEB(images, climb=True, frozen_moments=[3])
    assert chain.run(fmax=1e-7)
    assert chain.path().barrier() == pytest.approx(2 * K, abs=1e-8)
    for image in images:
        moments = get_moments(image)
        assert np.abs(np.linalg.norm(moments, axis=1) - [2, 1, 0, 3]).max() < 1e-12
        assert np.array_equal(moments[3], [0, 3, 0])


def test_one_calculator_each_gives_the_same():
    shared, own = band(up(1, biaxial())), band(up(1, biaxial()))
    for image in own.images:
        image.calc = biaxial()
    assert np.array_equal(shared.forces(), own.forces())


def test_trajectories_keep_images_with_energies(tmp_path):
    chain = band(up(1, biaxial()), n_images=5)
    assert FIRE(chain, logfile=None, trajectory=str(tmp_path / "band.traj")).run(fmax=1e-5, steps=500)
    images = read(tmp_path / "band.traj", "-5:")
    assert [image.get_potential_energy() for image in images] == pytest.approx(chain.path().energies, abs=1e-12)
    assert np.abs(get_moments(images[2]) - get_moments(chain.images[2])).max() < 1e-12


def test_moments_changed_by_others_are_taken_up():
    chain = band(up(1, biaxial()), n_images=5)
    before = chain.path().energies
    set_moments(chain.images[2], [[2.0, 0.0, 0.0]])
    assert chain.path().energies[2] == pytest.approx(HARD, abs=1e-12)
    assert chain.path().energies[1] == before[1]


def test_the_curve_is_the_cubic_through_energies_and_slopes():
    x = np.array([0.0, 0.7, 2.0])
    path = EnergyPath(x, x**3 - 2 * x**2, 3 * x**2 - 4 * x)
    s, energy = path.curve(20)
    assert energy == pytest.approx(s**3 - 2 * s**2, abs=1e-12)
    hill = EnergyPath([0.0, 1.0], [0.0, 0.0], [1.0, -1.0])
    assert hill.barrier() == pytest.approx(0.25)


def test_messages():
    atoms = up(1, biaxial())
    other = reversed_copy(atoms)
    with pytest.raises(InputError, match="Expected n_images of at least 3"):
        interpolate(atoms, other, 2)
    with pytest.raises(InputError, match="Expected noise >= 0 in degrees"):
        interpolate(atoms, other, 5, noise=-1.0)
    with pytest.raises(InputError, match="Expected an axis that opposite spins can turn about"):
        interpolate(atoms, other, 5, axis=(0, 0, 1))
    with pytest.raises(InputError, match="Expected axis to be a vector of shape"):
        interpolate(atoms, other, 5, axis=(0, 0, 0))
    with pytest.raises(InputError, match="Expected at least 3 images"):
        SpinNEB([atoms, other])
    with pytest.raises(InputError, match="Expected k > 0 in eV/rad"):
        band(atoms, k=-1.0)
    with pytest.raises(InputError, match="Expected fmax > 0 in eV per radian"):
        band(atoms).run(fmax=0.0)
    with pytest.raises(InputError, match="Expected n_modes between 1 and 2, twice the free moments, got 3"):
        spin_modes(atoms, 3)
    with pytest.raises(InputError, match=r"Expected a mode of shape \(1, 3\) other than zero"):
        pushed(atoms, np.zeros((1, 3)), 0.1)
    with pytest.raises(InputError, match="Expected atoms with a calculator"):
        SpinNEB(interpolate(up(1, None), other, 4))


@pytest.mark.parametrize("what", ["atoms", "a cell", "positions", "moment lengths"])
def test_ends_may_differ_by_directions_only(what):
    atoms = up(2, biaxial())
    other = reversed_copy(atoms)
    if what == "atoms":
        other.numbers[0] = 27
    elif what == "a cell":
        other.set_cell([1, 1, 11])
    elif what == "positions":
        other.positions[0, 0] += 0.1
    else:
        set_moments(other, 1.1 * get_moments(other))
    with pytest.raises(InputError, match=f"by the directions of moments only, got {what} of their own in image 1"):
        interpolate(atoms, other, 5)


def test_torques_have_no_path_of_lowest_energy():
    calc = biaxial()
    calc.mixer.calcs[0].conservative = False
    with pytest.raises(InputError, match="Expected exchange fields that derive from an energy"):
        band(up(1, calc))
