"""The label check: right labels pass with factor 1, every usual mistake is found, and bad input is refused."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator

from ase_spinml import Heisenberg, NonMagnetic, get_moments, set_moments
from ase_spinml.errors import InputError
from ase_spinml.io import check_labels
from ase_spinml.moments import cone, random_directions, store_results


def with_fields(frames, change):
    """Copies whose fields are change(frame)."""
    out = []
    for frame in frames:
        copy = frame.copy()
        copy.calc = frame.calc
        copy.arrays["exchange_fields"] = change(frame)
        out.append(copy)
    return out


def fields(frame):
    return frame.arrays["exchange_fields"]


def shuffled(frames, rng):
    """Copies with the fields of every frame permuted among atoms of one element."""

    def permuted(frame):
        out = fields(frame).copy()
        for number in np.unique(frame.numbers):
            mine = np.flatnonzero(frame.numbers == number)
            out[mine] = out[rng.permutation(mine)]
        return out

    return with_fields(frames, permuted)


MISTAKES = {
    "flipped": lambda frames: with_fields(frames, lambda frame: -fields(frame)),
    "double": lambda frames: with_fields(frames, lambda frame: 2 * fields(frame)),
    "half": lambda frames: with_fields(frames, lambda frame: 0.5 * fields(frame)),
    "permuted": lambda frames: shuffled(frames, np.random.default_rng(0)),
    "per direction": lambda frames: with_fields(
        frames, lambda frame: np.linalg.norm(get_moments(frame), axis=1, keepdims=True) * fields(frame)
    ),
}
SAID = {
    "flipped": "sign of the fields is flipped, and the sizes agree",
    "double": "twice too large",
    "half": "half of what they should be",
    "permuted": "Fields do not belong to their atoms",
    "per direction": "eV per unit direction",
}
FACTOR = {"flipped": -1.0, "double": 2.0, "half": 0.5}


def labelled(count, calc=None, rng=0, angle=None, spread=0.1, rattle=0.0, repeat=2):
    """bcc frames with moments of unlike length and labels of a closed form (J1, J2 by default)."""
    rng = np.random.default_rng(rng)
    frames = []
    for _ in range(count):
        atoms = bulk("Fe", a=2.86, cubic=True).repeat(repeat)
        lengths = 2.2 * (1 + spread * rng.uniform(-1, 1, len(atoms)))[:, None]
        if angle is None:
            directions = random_directions(len(atoms), rng)
        else:
            directions = cone(np.tile([0.0, 0.0, 1.0], (len(atoms), 1)), angle, rng, filled=True)
        set_moments(atoms, lengths * directions)
        atoms.calc = Heisenberg([0.02, 0.01], reference=atoms.copy()) if calc is None else calc(atoms.copy())
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        frames.append(store_results(atoms))
    return frames


@pytest.fixture(scope="module")
def model_frames():
    return labelled(12)


def test_labels_of_a_closed_form_have_factor_one(model_frames):
    found = check_labels(model_frames)
    assert found["ok"] is True
    assert found["factor"] == pytest.approx(1.0, abs=0.01)
    assert found["factor_error"] < 0.01
    assert found["torque_balance"] < 1e-6
    assert found["length_weight"] == pytest.approx(1.0, abs=1e-4)
    assert found["field_explained"] > 0.999
    assert found["n_frames"] == 12
    assert found["magnetic"] == ["Fe"]
    assert found["message"].startswith("Fields and energies agree: factor 1.00")
    assert found["implied_energies"].shape == found["measured_energies"].shape == (12,)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_labels_of_a_closed_form_are_named(model_frames, mistake):
    found = check_labels(MISTAKES[mistake](model_frames))
    assert found["ok"] is False
    assert SAID[mistake] in found["message"]
    if mistake in FACTOR:
        assert found["factor"] == pytest.approx(FACTOR[mistake], rel=0.01)


def test_the_factor_does_not_depend_on_equal_lengths_but_the_unit_does():
    frames = labelled(10, spread=0.0)
    found = check_labels(MISTAKES["per direction"](frames))
    assert found["ok"] is False
    assert found["factor"] == pytest.approx(2.2, rel=0.01)
    assert "eV per unit direction (mean moment 2.20 mu_B)" in found["message"]


def test_rounded_moments_tell_no_unit():
    """Lengths all alike but for their third decimal: both units balance, to rounding."""
    frames = labelled(10, spread=0.0)
    for frame in frames:
        set_moments(frame, np.round(get_moments(frame), 3))
    found = check_labels(frames)
    assert found["ok"] is True
    assert found["factor"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("length", "ok"), [(1.05, True), (1.18, None)])
def test_the_unit_of_moments_near_one_cannot_be_told_and_hardly_matters(length, ok):
    frames = labelled(10, spread=0.0)
    for frame in frames:
        set_moments(frame, get_moments(frame) / 2.2 * length)
        frame.arrays["exchange_fields"] *= 2.2 / length
    found = check_labels(frames)
    assert found["ok"] is ok
    assert found["factor"] == pytest.approx(1.0, abs=0.01)
    if ok is None:
        assert "Cannot tell the unit: factor 1.00" in found["message"]


def test_a_vibrating_lattice_does_not_spoil_the_factor():
    """Its energy varies more than that of the spins."""

    def calc(reference):
        lattice = LennardJones(sigma=2.2, epsilon=0.5, rc=5.0)
        return SumCalculator([Heisenberg([0.02, 0.01], reference=reference), NonMagnetic(lattice)])

    found = check_labels(labelled(40, calc, angle=70, rattle=0.05))
    assert found["factor"] == pytest.approx(1.0, abs=max(0.1, 3 * found["factor_error"]))
    assert found["factor_error"] < 0.15


def test_unknown_fields_are_ignored(model_frames):
    def gaps(frame):
        out = fields(frame).copy()
        out[::3] = np.nan
        return out

    found = check_labels(with_fields(model_frames, gaps))
    assert found["factor"] == pytest.approx(1.0, abs=0.02)
    assert np.isnan(found["torque_balance"])


def test_longitudinal_parts_do_not_count(model_frames):
    found = check_labels(with_fields(model_frames, lambda frame: fields(frame) + 0.3 * get_moments(frame)))
    assert found["factor"] == pytest.approx(1.0, abs=0.01)
    assert found["torque_balance"] < 1e-6


def test_cells_of_different_size_share_one_check():
    found = check_labels(labelled(8) + labelled(6, rng=1, repeat=(2, 2, 1)))
    assert found["factor"] == pytest.approx(1.0, abs=0.02)


def test_frames_without_both_labels_are_left_out(model_frames):
    bare = [frame.copy() for frame in model_frames[:3]]  # fields, but no energy
    assert check_labels([*bare, *model_frames])["n_frames"] == len(model_frames)


def test_large_sets_are_thinned(model_frames):
    assert check_labels(model_frames, max_frames=8)["n_frames"] == 8


def test_the_same_seed_gives_the_same_answer(model_frames):
    first, second = (check_labels(model_frames, rng=3) for _ in range(2))
    assert first["factor"] == second["factor"]
    assert first["message"] == second["message"]


def test_noisy_energies_cannot_tell(model_frames):
    rng, noisy = np.random.default_rng(1), []
    for frame in model_frames:
        copy = frame.copy()
        copy.calc = SinglePointCalculator(copy, energy=frame.get_potential_energy() + rng.normal(0, 1.5))
        noisy.append(copy)
    found = check_labels(noisy)
    assert found["ok"] is None
    assert "Cannot tell: factor" in found["message"]


def test_energies_of_other_frames_are_found():
    frames = labelled(30)
    energies = [frame.get_potential_energy() for frame in frames]
    for frame, energy in zip(frames, np.roll(energies, 7), strict=True):
        frame.calc = SinglePointCalculator(frame, energy=energy)
    found = check_labels(frames)
    assert not found["ok"]
    assert abs(found["correlation"]) < 0.5


def test_too_short_a_range_cannot_tell():
    def fourth_shell(reference):
        return Heisenberg([0.0, 0.0, 0.0, 0.01], reference=reference)

    found = check_labels(labelled(8, fourth_shell, repeat=3), cutoff=2.6)
    assert found["ok"] is None
    assert "give more frames or a larger cutoff" in found["message"]


# --- data of density-functional theory ---


def test_the_shipped_iron_passes(fe_dft):
    found = check_labels(fe_dft)
    assert found["ok"]
    assert found["factor"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_shipped_iron_are_found(fe_dft, mistake):
    found = check_labels(MISTAKES[mistake](fe_dft))
    assert found["ok"] is False
    assert SAID[mistake] in found["message"]


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("fe16", 12), ("fe128", 8), ("fege64", 10), ("nio32", 16)])
def test_third_party_data_pass(shared_frames, name, count):
    found = check_labels(shared_frames(name)[:count])
    assert found["ok"] is True
    assert found["factor"] == pytest.approx(1.0, abs=0.2 if name == "nio32" else 0.15)
    assert found["factor_error"] < 0.1


SLOW = pytest.mark.physical


@pytest.mark.data
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize(
    ("name", "count"), [("fe16", 12), pytest.param("fe128", 10, marks=SLOW), pytest.param("fege64", 20, marks=SLOW)]
)
def test_mistakes_in_third_party_data_are_found(shared_frames, name, count, mistake):
    found = check_labels(MISTAKES[mistake](shared_frames(name)[:count]))
    assert found["ok"] is False
    assert SAID[mistake] in found["message"]


# --- refusals ---


def straightened(frames):
    """Copies with all moments along z."""
    out = with_fields(frames, fields)
    for frame in out:
        set_moments(frame, np.full(len(frame), 2.2), axis=(0, 0, 1))
    return out


def without_energy(frames):
    return [frame.copy() for frame in frames]


def without_fields(frames):
    out = []
    for frame in frames:
        copy = frame.copy()
        copy.calc = frame.calc
        del copy.arrays["exchange_fields"]
        out.append(copy)
    return out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: [], "Expected frames with energies and exchange_fields, got an empty list"),
        (without_energy, "Expected frames with energies, got 12 without: put them into atoms.calc"),
        (without_fields, r"Expected frames with exchange_fields, got 12 without: put them into arrays"),
        (lambda frames: frames[:3], "Expected at least 5 frames with both energy and exchange_fields, got 3"),
        (lambda frames: with_fields(frames, lambda f: 0 * fields(f)), "Expected exchange_fields other than zero"),
        (straightened, "Expected frames with spins at angles to each other, got parallel ones"),
        (lambda frames: frames[:1] * 8, "Expected energies that differ between frames, got -"),
        (lambda frames: with_fields(frames, lambda f: np.nan * fields(f)), "Expected frames with exchange_fields"),
        (lambda frames: with_fields(frames, lambda f: np.inf * fields(f)), "must be finite"),
    ],
    ids=["empty", "no energy", "no fields", "too few", "zero", "parallel", "all alike", "all unknown", "infinite"],
)
def test_frames_that_cannot_be_checked_are_refused(model_frames, change, message):
    with pytest.raises(InputError, match=message):
        check_labels(change(model_frames))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cutoff": 1.0}, "Expected a cutoff that reaches neighbours, got 1.0 Angstrom"),
        ({"cutoff": 0.0}, "Expected a cutoff above zero in Angstrom, got 0.0"),
        ({"tolerance": 0.7}, "Expected a tolerance between 0 and 0.5, got 0.7"),
        ({"max_frames": 2}, "Expected max_frames above 4, got 2"),
        ({"magnetic": ["Ni"]}, "Expected magnetic to name elements of the frames, got Ni"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(model_frames, options, message):
    with pytest.raises(InputError, match=message):
        check_labels(model_frames, **options)
