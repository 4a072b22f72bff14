"""Time of an epoch of SpinNN on one core: derivatives stored or computed by the descriptor, double or single precision.

    OMP_NUM_THREADS=1 python benchmarks/bench_training.py
    OMP_NUM_THREADS=1 python benchmarks/bench_training.py --set nio32 --frames 30 --spin-orbit

The trainings take turns, an epoch each. Times are medians of processor time; "prepared in" is what comes between the
linear part and the first epoch. All start from the same weights, and the last column tells how their losses differ
after the last epoch.
"""

import argparse
import statistics
import time
from pathlib import Path

import ase.io
import torch

from ase_spinml import SOSO, SpinNN
from ase_spinml.demo import load_frames
from ase_spinml.models import training_data
from ase_spinml.models.distributed import Workers
from ase_spinml.models.training import Schedule, Training
from ase_spinml.models.training_state import TrainingState

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
VARIANTS = {
    "descriptor, float64": (0, "float64"),
    "descriptor, float32": (0, "float32"),
    "stored, float64": (10**9, "float64"),
    "stored, float32": (10**9, "float32"),
}


def make_model(name, spin_orbit):
    """Model of one set of frames, as in the benchmark of accuracy."""
    if name == "nio32":
        descriptor = SOSO(["Ni", "O"], n_max_angular=3, l_max=2, spin_orbit=spin_orbit)
        return SpinNN(descriptor, sigma_energy=5e-5, sigma_forces=5e-4, sigma_field=1e-4, epochs=1000)
    return SpinNN(SOSO(["Fe"], spin_orbit=spin_orbit), epochs=1000)


def trainings(model, frames):
    """A Training of each variant by name, and the seconds of its preparation."""
    workers = Workers(torch.device("cpu"))
    inputs = model._start(frames, TrainingState(None, model, frames, workers), workers)
    made = {}
    for name, (most, dtype) in VARIANTS.items():
        training_data.MOST, model.dtype = most, dtype
        start = time.process_time()
        data = model._prepared(frames, inputs, workers)
        kept = len(frames) // 10
        batches = [data.batches(order, model.batch_frames) for order in (data.order[kept:], data.order[:kept])]
        network = data.networks(model.hidden, torch.Generator().manual_seed(0))
        schedule = Schedule(model.epochs, model.learning_rate, model.patience, [0])
        made[name] = Training(network, *batches, schedule, workers), time.process_time() - start
    return made, [own.directions.shape[1] for own in inputs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=["fe_dft", "fe16", "nio32"], default="fe_dft", help="which set of frames")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the third-party sets")
    parser.add_argument("--frames", type=int, default=60, help="frames from the beginning of the set")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--spin-orbit", action="store_true", help="with the spin-orbit block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frames = load_frames() if options.set == "fe_dft" else ase.io.read(options.data / f"{options.set}.extxyz", ":")
    frames = frames[: options.frames]
    model = make_model(options.set, options.spin_orbit)
    made, widths = trainings(model, frames)
    times = {name: [] for name in made}
    for _ in range(options.epochs):
        for name, (training, _) in made.items():
            start = time.process_time()
            training.epoch()
            times[name].append(time.process_time() - start)
    features = f"{model.descriptor.n_features} features, {' and '.join(map(str, widths))} components"
    print(f"{options.set}: {len(frames)} frames, {sum(map(len, frames))} atoms, {features}")
    print(f"{'':22}{'prepared in':>12}{'epoch':>12}{'loss':>14}")
    for name, (training, seconds) in made.items():
        epoch, loss = 1e3 * statistics.median(times[name]), training.progress.history[-1][0]
        print(f"{name:22}{seconds:10.1f} s{epoch:9.1f} ms{loss:14.8f}")


if __name__ == "__main__":
    main()
