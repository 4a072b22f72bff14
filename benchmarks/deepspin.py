"""DeepSPIN of DeePMD-kit, trained and evaluated by the Python of an environment of its own; see bench_networks.py.

Run by that Python, this file evaluates a model: ``python deepspin.py MODEL SYSTEM OUTPUT``. SYSTEM is a DeePMD system
of one set, OUTPUT an npz file of energies (n,) in eV, forces and fields (n, N, 3) in eV/A and eV/mu_B, fields with
their part along the moment, and the time of each evaluation (n,) in seconds.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TRIAL_STEPS = 20
CHECKPOINTS = 10
VIRTUAL_SCALE = 0.314  # Angstrom per mu_B, of the documented example


@dataclass(frozen=True)
class Settings:
    """One way to train.

    Attributes
    ----------
    name : str
    embedding, axis, fitting : widths of the embedding net, its axis neurons, widths of the fitting net
    cutoff, smooth : float
        Range, and where its switching function begins, in Angstrom.
    batch : int
        Frames of one step.
    rates : (float, float)
        Learning rate of the first and of the last step, exponential in between.
    prefactors : dict of "e", "fr", "fm" -> (float, float)
        Weights of energies, forces and magnetic forces in the loss at the start and at the end.
    neighbours : "auto" or int
        Room for neighbours of each type; "auto" counts those of the training frames.
    """

    name: str
    embedding: tuple
    axis: int
    fitting: tuple
    cutoff: float
    smooth: float
    batch: int
    rates: tuple
    prefactors: dict
    neighbours: object


DOCUMENTED = Settings(
    "documented",
    (25, 50, 100),
    16,
    (240, 240, 240),
    5.6,
    5.4,
    3,
    (1e-3, 3.51e-8),
    {"e": (0.02, 1), "fr": (1000, 1), "fm": (1000, 1)},
    60,
)
SMALL = Settings(
    "small",
    (10, 20, 40),
    8,
    (64, 64, 64),
    5.6,
    5.4,
    1,
    (1e-3, 1e-6),
    DOCUMENTED.prefactors,
    "auto",
)


class DeepSPIN:
    """Trains by wall-clock time.

    Parameters
    ----------
    python : str
        Interpreter that has deepmd-kit.
    settings : Settings
    magnetic : list of str
        Elements whose spins count.
    budget : float
        Seconds that ``dp train`` may take, its start included.
    folder : Path
        Empty folder for its files.
    """

    def __init__(self, python, settings, magnetic, budget, folder):
        self.python, self.settings, self.magnetic = python, settings, magnetic
        self.budget, self.folder = budget, Path(folder)

    def fit(self, system, seed):
        """Train on a system; sets ``checkpoints_`` (paths, early to late), ``steps_`` and ``seconds_``."""
        taken, per_step = self._train(system, seed, TRIAL_STEPS, self.folder / "trial")
        left = self.budget - (taken - TRIAL_STEPS * per_step)
        self.steps_ = max(TRIAL_STEPS, int(left / per_step))
        self.seconds_, _ = self._train(system, seed, self.steps_, self.folder / "run")
        found = (self.folder / "run").glob("model.ckpt-*.pt")
        self.checkpoints_ = sorted(found, key=lambda path: int(path.stem.split("-")[-1]))
        return self

    def _train(self, system, seed, steps, folder):
        """Seconds that a training took, all in all and per step."""
        folder.mkdir(parents=True)
        (folder / "input.json").write_text(json.dumps(self._input(Path(system), seed, steps), indent=1))
        start = time.perf_counter()
        output = run([self.python, "-m", "deepmd", "--pt", "train", "input.json"], folder)
        seconds = time.perf_counter() - start
        found = re.search(r"average training time: ([0-9.]+) s/batch", output)
        if found is None:
            raise RuntimeError(f"Expected dp train to say its time per step, got:\n{output[-2000:]}")
        return seconds, float(found[1])

    def _input(self, system, seed, steps):
        """The input of ``dp train``."""
        symbols = (system / "type_map.raw").read_text().split()
        forces = (system / "set.000" / "force.npy").exists()
        own = self.settings
        room = own.neighbours if own.neighbours == "auto" else [own.neighbours] * len(symbols)
        loss = {"type": "ener_spin"}
        for name, (first, last) in own.prefactors.items():
            on = forces or name != "fr"
            loss |= {f"start_pref_{name}": first * on, f"limit_pref_{name}": last * on}
        return {
            "model": {
                "type_map": symbols,
                "descriptor": {
                    "type": "se_e2_a",
                    "sel": room,
                    "rcut": own.cutoff,
                    "rcut_smth": own.smooth,
                    "neuron": list(own.embedding),
                    "axis_neuron": own.axis,
                    "resnet_dt": False,
                    "seed": seed,
                },
                "fitting_net": {"neuron": list(own.fitting), "resnet_dt": True, "seed": seed},
                "spin": {
                    "use_spin": [symbol in self.magnetic for symbol in symbols],
                    "virtual_scale": [VIRTUAL_SCALE],
                },
            },
            "learning_rate": {
                "type": "exp",
                "start_lr": own.rates[0],
                "stop_lr": own.rates[1],
                "decay_steps": max(1, steps // 50),
            },
            "loss": loss,
            "training": {
                "training_data": {"systems": [str(system)], "batch_size": own.batch},
                "numb_steps": steps,
                "seed": seed,
                "disp_freq": max(1, steps // CHECKPOINTS),
                "save_freq": max(1, steps // CHECKPOINTS),
                "max_ckpt_keep": CHECKPOINTS,
            },
        }

    def predict(self, checkpoint, system):
        """What a checkpoint says about the frames of a system: energy (n,), forces and fields (n, N, 3), seconds."""
        output = self.folder / "prediction.npz"
        run([self.python, __file__, str(checkpoint), str(system), str(output)], self.folder)
        with np.load(output) as file:
            return dict(file)


def run(command, folder):
    """Standard output and error of a command that uses one thread, and no processes to load data."""
    threads = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS", "DP_INTER_OP_PARALLELISM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "1") | {"NUM_WORKERS": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout + done.stderr


def evaluate(model, system, output):
    """Frame by frame, by the Python that has deepmd-kit."""
    from deepmd.infer import DeepPot

    potential, types = DeepPot(model), np.loadtxt(system / "type.raw", dtype=int)
    coord, box, spin = (np.load(system / "set.000" / f"{name}.npy") for name in ("coord", "box", "spin"))
    found = {"energy": [], "forces": [], "fields": [], "seconds": []}
    potential.eval(coord[:1], box[:1], types, spin=spin[:1])  # warms up
    for k in range(len(coord)):
        start = time.perf_counter()
        energy, forces, _, fields, _ = potential.eval(coord[k : k + 1], box[k : k + 1], types, spin=spin[k : k + 1])
        found["seconds"].append(time.perf_counter() - start)
        found["energy"].append(energy.item())
        found["forces"].append(forces[0])
        found["fields"].append(fields[0])
    np.savez(output, **found)


if __name__ == "__main__":
    evaluate(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
