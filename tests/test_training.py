"""Training of networks: interrupted and resumed, in two precisions, by several workers, and refused."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from training_samples import frames, model

from ase_spinml import SOSO, Zeeman, load_model
from ase_spinml.errors import InputError
from ase_spinml.models import training_data, training_state
from ase_spinml.models.distributed import Workers, own_device
from ase_spinml.models.labels import read_labels
from ase_spinml.models.training import Training

HEAD = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from training_samples import frames, model"


@pytest.fixture(scope="module")
def unbroken():
    return model(epochs=8).fit(frames())


def run(script, *command, **environment):
    """A script in a process of its own."""
    command = [sys.executable, *command, script]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def message_of(function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    return str(error.value)


def same_bytes(one, other, folder):
    one.save(folder / "one")
    other.save(folder / "other")
    return (folder / "one").read_bytes() == (folder / "other").read_bytes()


# -- interrupted and resumed -----------------------------------------------------------------------------------------

KILLED = """
import os, signal
from ase_spinml.models import training, training_state
training_state.INTERVAL = 0.0
original, calls = training.Training._loss_and_gradient, []

def deadly(self, batch):
    calls.append(batch)
    if len(calls) == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch)

training.Training._loss_and_gradient = deadly
"""


def test_a_killed_training_goes_on_bit_for_bit(unbroken, tmp_path, monkeypatch):
    script, path = tmp_path / "train.py", tmp_path / "nn.training"
    script.write_text(f"{HEAD}\n{KILLED}\nmodel(epochs=8).fit(frames(), checkpoint={str(path)!r})\n")
    assert run(script).returncode == -signal.SIGKILL
    epochs = []
    original = Training.epoch
    monkeypatch.setattr(Training, "epoch", lambda self: (epochs.append(self.progress.epoch), original(self))[1])
    resumed = model(epochs=8).fit(frames(), checkpoint=path)
    assert epochs == [1, 2, 3, 4, 5, 6, 7]  # four batches an epoch: killed in the second one of the second member
    assert resumed.history_ == unbroken.history_
    assert same_bytes(resumed, unbroken, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"epochs": 16},
        {"epochs": 8, "patience": 3, "learning_rate": 0.3},
        {"head": "site"},
        {"head": "global"},
    ],
)
def test_a_training_interrupted_anywhere_goes_on_bit_for_bit(options, tmp_path, monkeypatch):
    options = {"epochs": 4, "n_members": 1} | options
    monkeypatch.setattr(training_state, "INTERVAL", 0.0)
    whole = model(**options).fit(frames())
    original = Training.epoch

    def interrupted(self):
        if self.progress.epoch == 2:
            raise KeyboardInterrupt
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model(**options).fit(frames(), checkpoint=tmp_path / "nn.training")
    resumed = model(**options).fit(frames(), checkpoint=tmp_path / "nn.training")
    assert resumed.history_ == whole.history_
    assert same_bytes(resumed, whole, tmp_path)


def test_a_finished_training_is_recalled(unbroken, tmp_path, monkeypatch):
    path = tmp_path / "nn.training"
    first = model(epochs=8).fit(frames(), checkpoint=path)
    assert same_bytes(first, unbroken, tmp_path)
    written = path.read_bytes()
    monkeypatch.setattr(training_data.TrainingData, "__init__", None)
    again = model(epochs=8).fit(frames(), checkpoint=path)
    assert same_bytes(again, unbroken, tmp_path)
    assert again.noise_ == unbroken.noise_
    assert path.read_bytes() == written
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nn.training", "one", "other"]


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "nn.training"
    model(epochs=1, n_members=1).fit(frames(), checkpoint=path)
    return path


def test_a_checkpoint_of_something_else_is_refused(kept):
    def other(sample=None, **options):
        text = message_of(model(**({"epochs": 1, "n_members": 1} | options)).fit, sample or frames(), kept)
        start = f"Expected the checkpoint of this training in {kept}, got one with "
        end = ": give the same again, or another path."
        assert text.startswith(start)
        assert text.endswith(end)
        return text[len(start) : -len(end)]

    assert other(learning_rate=0.1) == "learning_rate=0.002 instead of 0.1"
    assert other(hidden=(4,)) == "hidden=[8, 8] instead of [4]"
    assert other(dtype="float32") == "dtype='float64' instead of 'float32'"
    assert other(descriptor=SOSO(["Fe", "Ni"])) == "cutoff=3.2 instead of 5.0 in the descriptor"
    assert other(baseline=Zeeman([0.0, 0.0, 10.0])) == "the baseline None instead of Zeeman"
    assert other(frames(13)) == "14 frames instead of 13"
    assert other(frames(offset=1e-9)) == "another frame 0"
    moved = frames()
    moved[3].positions[0, 0] += 1e-9
    assert other(moved) == "another frame 3"


def test_a_baseline_of_the_same_name_but_another_energy_is_refused(tmp_path):
    path, options = tmp_path / "nn.training", {"epochs": 1, "n_members": 1}
    fields = [Zeeman([0.0, 0.0, field]) for field in (10.0, 20.0)]
    first = model(**options, baseline=fields[0]).fit(frames(), path)
    energies = [field.get_property("energy", frames()[0]) for field in fields]
    assert message_of(model(**options, baseline=fields[1]).fit, frames(), path) == (
        f"Expected the checkpoint of this training in {path}, got one with a baseline of {energies[0]:.6f} eV for "
        f"frame 0 instead of {energies[1]:.6f} eV: give the same again, or another path."
    )
    again = model(**options, baseline=fields[0]).fit(frames(), path)
    assert same_bytes(first, again, tmp_path)
    atoms = frames()[1]
    assert again.predict(atoms)["energy"] == first.predict(atoms)["energy"]


def test_a_file_that_is_no_checkpoint_is_refused(kept, unbroken, tmp_path):
    path, fit = tmp_path / "file", model(epochs=1, n_members=1).fit
    content = kept.read_bytes()
    start = "Expected the checkpoint of a training, got a file that is none ("
    end = "): give another path, or remove the file to train from the start."
    for damaged, why in {
        content[:-9]: f"{path} is truncated: only its first {len(content) - 9} bytes are there",
        content[:-9] + b"\1" + content[-8:]: f"{path} is damaged (its content does not match its checksum)",
        b"some text that somebody wrote": f"{path} is not a model file of ase_spinml",
        b"": f"{path} is empty",
    }.items():
        path.write_bytes(damaged)
        text = message_of(fit, frames(), path)
        assert text.startswith(start + why)
        assert text.endswith(end)
        assert path.read_bytes() == damaged
    unbroken.save(path)
    assert message_of(fit, frames(), path) == (
        f"Expected the checkpoint of a training, got a SpinNN in {path}: give another path."
    )
    for place in (tmp_path, tmp_path / "absent" / "file"):
        assert message_of(fit, frames(), place) == (
            f"Expected checkpoint to be a file in a folder that is there, got {place}."
        )


def test_losses_that_are_not_finite_stop_the_training():
    text = message_of(model(learning_rate=1e200).fit, frames())
    assert re.fullmatch(
        r"Expected finite losses, got (nan|inf) in training and (nan|inf) in validation in epoch \d+: "
        r"lower learning_rate, which is 1e\+200\.",
        text,
    )


def test_devices_and_precisions_are_checked_at_once():
    assert message_of(model, dtype="float16") == "Expected dtype to be one of float64, float32, got 'float16'."
    assert message_of(model, device="abacus") == (
        "Expected device to be one that torch knows, 'cpu' or 'cuda', got 'abacus'."
    )
    if not torch.cuda.is_available():
        assert message_of(model, device="cuda") == (
            "Expected a CUDA device for device='cuda', got none: use device='cpu'."
        )
    assert model(device=torch.device("cpu"), dtype=torch.float32).dtype == "float32"


# -- precision and stored derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 20_000])
def test_single_precision_has_the_losses_of_double_precision(most, monkeypatch):
    monkeypatch.setattr(training_data, "MOST", most)
    options = {"n_members": 1}
    double = model(**options).fit(frames())
    single = model(**options, dtype="float32").fit(frames(offset=-8e3))  # eV per atom, as energies with core electrons
    assert np.allclose(single.history_, double.history_, rtol=1e-5)
    assert weights(single.networks_[0]).dtype == torch.float64
    for one, two in zip(single.networks_[0].inputs, double.networks_[0].inputs, strict=True):
        assert torch.equal(one.mean, two.mean)
        assert torch.equal(one.directions, two.directions)
    atoms, found = frames(15)[14], [m.predict(frames(15)[14]) for m in (double, single)]
    assert found[1]["energy"] + 8e3 * len(atoms) == pytest.approx(found[0]["energy"], abs=1e-5)
    assert np.allclose(found[1]["exchange_fields"], found[0]["exchange_fields"], rtol=0, atol=1e-6)


def test_stored_derivatives_are_those_of_the_descriptor(monkeypatch):
    histories = []
    for most in (0, 20_000):
        monkeypatch.setattr(training_data, "MOST", most)
        fitted = model(n_members=1).fit(frames())
        histories.append(fitted.history_)
    assert np.allclose(*histories, rtol=1e-9)


def losses(fitted, sample):
    """Sum over kinds of labels of the mean squared error of predictions, in units of the sigmas."""
    squares = {"energy": [], "forces": [], "stress": [], "field": []}
    for atoms in sample:
        label, found = read_labels(atoms), fitted.predict(atoms)
        if label.energy is not None and fitted.conservative:
            squares["energy"].append([(found["energy"] - label.energy) / len(atoms)])
        for kind in ("forces", "stress"):
            if getattr(label, kind) is not None and fitted.conservative:
                squares[kind].append((found[kind] - getattr(label, kind)).ravel())
        known = label.labelled_spins
        squares["field"].append((found["exchange_fields"][known] - label.fields[known]).ravel() if known.any() else [])
    return sum(
        np.mean((np.concatenate(x) / fitted.sigmas[f"sigma_{kind}"]) ** 2) for kind, x in squares.items() if len(x)
    )


CHIRAL = {"descriptor": SOSO(["Fe", "Ni"], cutoff=3.2, n_max=3, n_max_angular=1, l_max=1, chirality=True)}


@pytest.mark.parametrize("most", [0, 20_000])
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-9),
        ({"dtype": "float32"}, 1e-5),
        (CHIRAL, 1e-9),
        (CHIRAL | {"dtype": "float32"}, 1e-5),
        (CHIRAL | {"head": "global", "parity": "equilibrium"}, 1e-9),
        (CHIRAL | {"head": "site"}, 1e-9),
        (CHIRAL | {"head": "direct", "dtype": "float32"}, 1e-5),
    ],
)
def test_what_the_training_has_seen_is_what_the_model_predicts(options, tolerance, most, monkeypatch):
    monkeypatch.setattr(training_data, "MOST", most)
    monkeypatch.setattr(Training, "_take_start", lambda self: None)  # or nothing beats it on made-up labels
    sample = frames()
    fitted = model(n_members=1, validation=0.3, **options).fit(sample)
    kept = np.random.default_rng(0).permutation(len(sample))[:4]
    best = min(validation for _, validation in fitted.history_[0])
    assert losses(fitted, [sample[k] for k in kept]) == pytest.approx(best, rel=tolerance)
    assert fitted.history_[0][-1][0] < 0.999 * fitted.history_[0][0][0]


def test_a_training_that_only_harms_leaves_the_linear_part():
    fitted = model(n_members=1, epochs=3, learning_rate=1.0).fit(frames())
    assert min(validation for _, validation in fitted.history_[0]) > 100
    atoms = frames()[3]
    assert fitted.predict(atoms)["energy"] == pytest.approx(fitted.linear_.predict(atoms)["energy"], abs=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("most", [0, 20_000])
def test_cuda_trains_as_the_processor_does(most, monkeypatch):
    monkeypatch.setattr(training_data, "MOST", most)
    there, here = (model(n_members=1, device=device).fit(frames()) for device in ("cuda", "cpu"))
    assert np.allclose(there.history_, here.history_, rtol=1e-8)
    assert not weights(there.networks_[0]).is_cuda
    single = model(n_members=1, device="cuda", dtype="float32").fit(frames())
    assert np.allclose(single.history_, here.history_, rtol=1e-4)


# -- several workers -------------------------------------------------------------------------------------------------

SHARED = """
import os
from pathlib import Path
from ase_spinml.errors import InputError
from ase_spinml.models import training_data
rank, folder = int(os.environ["RANK"]), Path(__file__).parent
for most, members in ((0, 1), (20_000, 2)):
    training_data.MOST = most
    found = model(batch_frames=3, n_members=members).fit(frames(), checkpoint=folder / f"{most}.training")
    found.save(folder / f"{most}.{rank}")
try:
    model().fit(frames(13 + rank))
except InputError as error:
    (folder / f"message.{rank}").write_text(str(error))
try:
    model().fit([])
except InputError as error:
    (folder / f"empty.{rank}").write_text(str(error))
"""


def test_two_workers_train_as_one_does(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(f"{HEAD}\n{SHARED}")
    done = run(script, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    for most, members in ((0, 1), (20_000, 2)):
        alone = model(batch_frames=3, n_members=members).fit(frames())
        contents = [(tmp_path / f"{most}.{rank}").read_bytes() for rank in (0, 1)]
        assert contents[0] == contents[1]
        both = load_model(tmp_path / f"{most}.0")
        assert np.allclose(both.history_, alone.history_, rtol=1e-6)
        for one, two in zip(alone.networks_, both.networks_, strict=True):
            assert torch.allclose(weights(one), weights(two), rtol=0, atol=1e-6 * float(weights(one).abs().max()))
        atoms = frames(15)[14]
        for name, value in alone.predict(atoms).items():
            assert np.allclose(both.predict(atoms)[name], value, rtol=1e-6, atol=1e-9), name
        recalled = model(batch_frames=3, n_members=members).fit(frames(), checkpoint=tmp_path / f"{most}.training")
        assert same_bytes(recalled, both, tmp_path)
    for rank in (0, 1):
        assert (tmp_path / f"message.{rank}").read_text() == (
            "Expected the same parameters and frames on all workers, got other ones on worker 1."
        )
        assert (tmp_path / f"empty.{rank}").read_text() == (
            "at least one frame is needed to fit a model, got an empty list"
        )


def test_a_process_group_of_the_user_is_left_alone(unbroken, tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        found = model(epochs=8).fit(frames())
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
    assert same_bytes(found, unbroken, tmp_path)


def test_alone_there_is_nothing_to_join(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    workers = Workers.join(torch.device("cpu"))
    assert (workers.rank, workers.size) == (0, 1)
    assert not dist.is_initialized()


def test_a_process_group_that_does_not_fit_the_device_is_refused(monkeypatch):
    for name, value in {"is_initialized": True, "get_backend_config": "cuda:nccl", "get_backend": "nccl"}.items():
        monkeypatch.setattr(dist, name, lambda value=value: value)
    assert message_of(Workers.join, torch.device("cpu")) == (
        "Expected a process group that sends tensors of device='cpu', got the backend nccl: make it with "
        "init_process_group('gloo') for CPUs, 'nccl' for CUDA."
    )


def test_each_worker_has_a_cuda_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert own_device(torch.device("cuda")) == torch.device("cuda", rank)
        assert own_device(torch.device("cuda:0")) == torch.device("cuda", 0)
        assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert message_of(own_device, torch.device("cuda")) == (
        "Expected at most 2 workers on this machine, one for each CUDA device, got 3."
    )
