"""Runs that are killed, files that are damaged: python chaos/chaos.py, or `make chaos`.

Killed: a small run (convolution, batch norm, random flips, momentum, a schedule, a dev pass) saves every five steps. It is killed by SIGKILL
at a random moment, resumed from its folder, killed again, and so on until it is through. Then its weights, its optimizer and its history must be those
of a run that nobody disturbed, bit for bit. Damaged: a checkpoint is cut at many lengths and changed in single bytes; none of that may be taken for good.
"""
import argparse
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, ROOT)
PHASES = ("between phases", "steps", "dev pass", "saving")
BACKENDS = ("pytorch", "tf2")


# ---- the run that is killed ----
def make_run(folder):
    "(trainer, training data, dev data); the phase that it is in is one byte of the file `phase`, which survives it."
    from collections import namedtuple
    import numpy as np
    from babilim.core import Config, Module, logging
    from babilim.core.random import sample_uniform, set_seed
    from babilim.data import Dataset, image_grid_wrap
    from babilim.fashion_mnist.trainer import FashionMNISTLoss
    from babilim.model.layers.activation import Activation
    from babilim.model.layers.batch_normalization import BatchNormalization
    from babilim.model.layers.convolution import Conv2D
    from babilim.model.layers.flatten import Flatten
    from babilim.model.layers.fully_connected import FullyConnected
    from babilim.model.sequential import Sequential
    from babilim.training.callbacks import BaseCallback, CheckpointCallback, LearningRateUpdateCallback
    from babilim.training.callbacks.checkpoint_callback import checkpoints_in
    from babilim.training.optimizers import SGD, learning_rates
    from babilim.training.supervised import SupervisedTrainer
    Input, Output = namedtuple("Input", ["image"]), namedtuple("Output", ["class_id"])
    with open(folder + "-phase", "w+b") as file:
        file.write(b"\0")
        file.flush()
        phase = mmap.mmap(file.fileno(), 1)

    class Clothes(Dataset):
        def __init__(self, config, split):
            super().__init__(config, Input, Output)
            sample = np.load(os.path.join(ROOT, "babilim", "fashion_mnist", "sample.npz"))
            self.images, self.labels = sample[f"{split}_images"][:400], sample[f"{split}_labels"][:400].astype("int64")
            self.all_sample_tokens = range(len(self.labels))
        def get_image(self, sample_token): return image_grid_wrap(self.images[sample_token][..., None].astype("float32") / 255)
        def get_class_id(self, sample_token): return self.labels[sample_token]
        def _get_version(self): return "1"

    class Model(Module):
        def __init__(self):
            super().__init__()
            self.layers = Sequential(Conv2D(8, 3, strides=2), BatchNormalization(), Activation("relu"), Flatten(), FullyConnected(10))
        def call(self, image): return Output(class_id=self.layers(image))

    class Phase(BaseCallback):
        def on_epoch_start(self): phase[0] = 1
        def on_train_end(self, metrics): phase[0] = 0
        def on_eval_start(self): phase[0] = 2
        def on_epoch_end(self, metrics): phase[0] = 0

    class Saving(CheckpointCallback):
        def _write(self, name, state):
            before, phase[0] = phase[0], 3
            try: return super()._write(name, state)
            finally: phase[0] = before

    config = Config()
    config.train_batch_size = 20
    set_seed(1)
    train, dev = Clothes(config, "train"), Clothes(config, "dev")
    train.realtime_transformers = [lambda inp, outp: (inp._replace(image=inp.image[:, ::-1]) if sample_uniform() < 0.5 else inp, outp)]
    logging.set_logger(os.path.join(folder, "log.txt"))
    callbacks = [Phase(), Saving(every_steps=5), LearningRateUpdateCallback(learning_rates.Exponential(0.01, k=0.01))]
    trainer = SupervisedTrainer(Model(), FashionMNISTLoss(), SGD(0.01), callbacks=callbacks)
    if any(map(os.path.exists, checkpoints_in(os.path.join(folder, "checkpoints")))): trainer.resume(folder)
    return trainer, train, dev


def child(folder, backend, epochs):
    "The process that is killed."
    import babilim
    from babilim.core import logging
    logging._copy_code = lambda *args: None  # the copy of the code beside the log is not what is tested
    babilim.set_backend(backend)
    trainer, train, dev = make_run(folder)
    trainer.fit(train.to_dataloader(), dev.to_dataloader(), epochs=epochs)


# ---- killing ----
def phase_of(folder):
    try:
        with open(folder + "-phase", "rb") as file: return file.read(1)[0]
    except (FileNotFoundError, IndexError): return 0


def start(folder, backend, epochs):
    "The process, when its first step begins, or when it is through."
    if os.path.exists(folder + "-phase"): os.remove(folder + "-phase")
    command = [sys.executable, os.path.abspath(__file__), "--child", folder, backend, str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"})
    while process.poll() is None and phase_of(folder) == 0: time.sleep(0.002)
    return process


def final_state(folder):
    from babilim.core.checkpoint import load_checkpoint
    arrays, meta = load_checkpoint(os.path.join(folder, "checkpoints", "latest.npz"))
    return {name: array for name, array in arrays.items() if not name.startswith("random/")}, meta["history"]


def same(a, b):
    import numpy as np
    return list(a[0]) == list(b[0]) and all(np.array_equal(a[0][name], b[0][name]) for name in a[0]) and a[1] == b[1]


def undisturbed(folder, backend, epochs):
    "(state at the end, seconds since the first step)."
    process = start(folder, backend, epochs)
    began = time.monotonic()
    _, errors = process.communicate()
    if process.returncode: raise RuntimeError(errors[-3000:])
    return final_state(folder), time.monotonic() - began


def kill_runs(backend, kills, epochs, dice):
    "Kill at random moments, resume, compare at the end."
    found = {"kills": 0, "runs": 0, "identical": 0, "while": dict.fromkeys(PHASES, 0), "skipped_files": 0}
    with tempfile.TemporaryDirectory() as home:
        expected, seconds = undisturbed(os.path.join(home, "undisturbed"), backend, epochs)
        while found["kills"] < kills:
            folder = os.path.join(home, f"run{found['runs']}")
            while kill_once(folder, backend, epochs, dice.uniform(0, seconds), found): pass
            found["runs"] += 1
            found["identical"] += same(final_state(folder), expected)
            log = open(os.path.join(folder, "log.txt"), encoding="utf-8").read()
            found["skipped_files"] += log.count("Skipped a checkpoint")
            print(f"  {backend}: {found['kills']} kills, {found['identical']} of {found['runs']} runs ended like the one that nobody disturbed", flush=True)
            shutil.rmtree(folder)
    return found


def kill_once(folder, backend, epochs, delay, found):
    "Whether the run was killed; otherwise it is through."
    process = start(folder, backend, epochs)
    try: _, errors = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found["kills"] += 1
        found["while"][PHASES[phase_of(folder)]] += 1
        return True
    if process.returncode: raise RuntimeError(f"A resumed run failed:\n{errors[-3000:]}")
    return False


# ---- damage ----
def damaged_files(backend, flips, dice):
    "A checkpoint cut at many lengths and with single bytes changed; each must be refused, and the file before be loaded."
    from babilim.core.checkpoint import CheckpointError, load_checkpoint, load_newest
    found = {"truncations": 0, "flips": 0, "taken for good": 0, "unclean errors": 0, "fell back": 0}
    with tempfile.TemporaryDirectory() as home:
        undisturbed(os.path.join(home, "run"), backend, 1)
        good, bad = os.path.join(home, "run", "checkpoints", "previous.npz"), os.path.join(home, "bad.npz")
        content = open(os.path.join(home, "run", "checkpoints", "latest.npz"), "rb").read()
        borders = [i for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"\x93NUMPY") for i in range(len(content)) if content.startswith(mark, i)]
        lengths = sorted({n for border in borders for n in range(border - 2, border + 40) if 0 <= n < len(content)} | {dice.randrange(len(content)) for _ in range(300)})
        versions = [("truncations", content[:n]) for n in lengths]
        for _ in range(flips):
            at = dice.randrange(len(content))
            versions.append(("flips", content[:at] + bytes([content[at] ^ dice.randrange(1, 256)]) + content[at + 1:]))
        for kind, version in versions:
            with open(bad, "wb") as file: file.write(version)
            found[kind] += 1
            try: load_checkpoint(bad)
            except CheckpointError: pass
            except Exception: found["unclean errors"] += 1
            else: found["taken for good"] += 1
            found["fell back"] += load_newest([bad, good], lambda text: None)[0] == good
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="on each backend")
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places")
    parser.add_argument("--out", default=os.path.join(HERE, "results.json"))
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "BACKEND", "EPOCHS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child: return child(args.child[0], args.child[1], int(args.child[2]))
    results, dice = {"seed": args.seed, "kills": {}, "damage": {}}, random.Random(args.seed)
    for backend in BACKENDS:
        print(f"Killing runs on {backend} ...", flush=True)
        results["kills"][backend] = kill_runs(backend, args.kills, args.epochs, dice)
        results["damage"][backend] = damaged_files(backend, args.flips, dice)
        print(f"  {backend}: damage {results['damage'][backend]}", flush=True)
        with open(args.out, "w", encoding="utf-8") as file: json.dump(results, file, indent=1)
    bad = [b for b in BACKENDS if results["kills"][b]["identical"] < results["kills"][b]["runs"] or results["damage"][b]["taken for good"] or results["damage"][b]["unclean errors"]]
    print(f"Written to {os.path.relpath(args.out)}.")
    if bad: sys.exit(f"Something was lost on {', '.join(bad)}: see above.")


if __name__ == "__main__": main()
