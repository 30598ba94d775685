"""The run that things are done to: python chaos/small_run.py '{"folder": ..., "backend": ..., "epochs": ...}'

Convolution, batch norm, random flips, momentum, a schedule, a dev pass; the state is saved every five steps. It is small, so that it can end hundreds of
times, and has all that a run can forget. What is to go wrong in it is said in its arguments:
  trouble      {"kind": "disk full" | "read-only" | "no handles", "from": step, "to": step, "mount": folder, "die_at": step}
  fault        {"kind": "killed" | "hung" | "raises" | "raises once", "tokens": [...], "marks": folder}, in the getter of these samples
  on_error     `quarantine` leaves samples out that can't be read
  poison       [token, layer]: what this layer gives for this sample is not a number
  report       the file that gets what the process itself found out
"""
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from collections import namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import numpy as np

import babilim
from babilim.core import Config, Module, logging, tmath
from babilim.core.checkpoint import CheckpointError, load_checkpoint
from babilim.core.random import sample_uniform, set_seed
from babilim.data import Dataset, image_grid_wrap
from babilim.fashion_mnist.trainer import FashionMNISTLoss
from babilim.model.layers.activation import Activation
from babilim.model.layers.batch_normalization import BatchNormalization
from babilim.model.layers.convolution import Conv2D
from babilim.model.layers.flatten import Flatten
from babilim.model.layers.fully_connected import FullyConnected
from babilim.training.callbacks import BaseCallback, CheckpointCallback, LearningRateUpdateCallback
from babilim.training.callbacks.checkpoint_callback import checkpoints_in
from babilim.training.nonfinite import NonFiniteError
from babilim.training.optimizers import SGD, learning_rates
from babilim.training.supervised import SupervisedTrainer

PHASES = ("between phases", "steps", "dev pass", "saving")
WORKER_TIMEOUT = 2.0  # seconds
Input, Output = namedtuple("Input", ["image", "poison"]), namedtuple("Output", ["class_id"])


# ---- data ----
class Clothes(Dataset):
    "400 images of Fashion-MNIST, some of which may be hard to read."
    def __init__(self, config, split, fault=None, poisoned=None):
        super().__init__(config, Input, Output)
        with np.load(os.path.join(ROOT, "babilim", "fashion_mnist", "sample.npz")) as sample: self.images, self.labels = sample[f"{split}_images"][:400], sample[f"{split}_labels"][:400].astype("int64")
        self.all_sample_tokens = range(len(self.labels))
        self.fault, self.poisoned, self.armed = fault or {"tokens": []}, poisoned, False

    def get_image(self, sample_token):
        if self.armed and sample_token in self.fault["tokens"]: self._go_wrong(sample_token, self.fault["kind"])
        return image_grid_wrap(self.images[sample_token][..., None].astype("float32") / 255)

    def get_poison(self, sample_token): return np.float32(sample_token == self.poisoned)
    def get_class_id(self, sample_token): return self.labels[sample_token]
    def _get_version(self): return "1"

    def _go_wrong(self, token, kind):
        mark = os.path.join(self.fault["marks"], str(token))
        if kind != "raises":  # the others happen once
            if os.path.exists(mark): return
            open(mark, "x").close()
        if kind == "killed": os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hung": time.sleep(1000)
        raise OSError(f"image {token} can't be read")


def flip(inp, outp): return (inp._replace(image=inp.image[:, ::-1]) if sample_uniform() < 0.5 else inp, outp)


# ---- model ----
class Trap(Module):
    "Gives what it gets; not a number for poisoned samples, if it is armed."
    def __init__(self, armed):
        super().__init__()
        self.armed = armed

    def call(self, x, poison):
        if not self.armed: return x
        return tmath.where(poison.reshape((-1, *[1] * (x.ndim - 1))) > 0, np.nan, x)


class Model(Module):
    def __init__(self, armed):
        super().__init__()
        self.layers = [Conv2D(8, 3, strides=2), BatchNormalization(), Activation("relu"), Flatten(), FullyConnected(10)]
        self.traps = [Trap(armed == number) for number in range(len(self.layers))]

    def call(self, image, poison):
        x = image
        for layer, trap in zip(self.layers, self.traps): x = trap(layer(x), poison)
        return Output(class_id=x)


# ---- callbacks ----
class Phase(BaseCallback):
    "Keeps the phase that the run is in as one byte of a file, which outlives a kill."
    def __init__(self, path):
        with open(path, "w+b") as file:
            file.write(b"\0")
            file.flush()
            self.byte = mmap.mmap(file.fileno(), 1)

    def on_epoch_start(self): self.byte[0] = 1
    def on_train_end(self, metrics): self.byte[0] = 0
    def on_eval_start(self): self.byte[0] = 2
    def on_epoch_end(self, metrics): self.byte[0] = 0


class Arm(BaseCallback):
    "Lets faults happen from the first epoch on: what workers prepare ahead while the model is built is not waited for, nor are faults in it."
    def __init__(self, dataset): self.dataset = dataset
    def on_epoch_start(self): self.dataset.armed = True


class Saving(CheckpointCallback):
    def __init__(self, phase, **settings):
        super().__init__(**settings)
        self.byte = phase.byte

    def _write(self, name, state):
        before, self.byte[0] = self.byte[0], 3
        try: return super()._write(name, state)
        finally: self.byte[0] = before


class Trouble(BaseCallback):
    "Takes the room, the right to write or the file handles away for some steps, and looks at the checkpoints after that."
    def __init__(self, trouble, folder, saving, report):
        self.kind, self.first, self.last, self.mount, self.die_at = trouble["kind"], trouble["from"], trouble["to"], trouble.get("mount"), trouble.get("die_at")
        self.folder, self.saving, self.report, self.files = os.path.join(folder, "checkpoints"), saving, report, None

    def on_steps_end(self, count):
        step = self.trainer.global_step
        if self.files is None and step >= self.first: self._begin()
        elif self.files and step >= self.last: self._end()
        if self.die_at is not None and step >= self.die_at: os.kill(os.getpid(), signal.SIGKILL)

    def _begin(self):
        self.saving._finish()
        self.files = {path: open(path, "rb").read() for path in checkpoints_in(self.folder) if os.path.exists(path)}
        if self.kind == "disk full": fill(self.mount)
        elif self.kind == "read-only": subprocess.run(["mount", "-o", "remount,bind,ro", self.folder], check=True)
        else:
            self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.open(os.devnull, os.O_RDONLY)  # the next one
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, self.limits[1]))

    def _end(self):
        self.saving._finish()
        if self.kind == "disk full": os.remove(os.path.join(self.mount, "filler"))
        elif self.kind == "read-only": subprocess.run(["mount", "-o", "remount,bind,rw", self.folder], check=True)
        else: resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
        self.report["checkpoints"] = len(self.files)
        self.report["lost"] = sum(not is_whole(path) or open(path, "rb").read() != content for path, content in self.files.items())
        self.files = {}


def fill(folder):
    "Write a file until there is no room for another byte."
    with open(os.path.join(folder, "filler"), "wb", buffering=0) as file:
        try:
            while True: file.write(bytes(4096))
        except OSError: pass


def is_whole(path):
    try: load_checkpoint(path)
    except CheckpointError: return False
    return True


# ---- the run ----
def run(folder, backend, epochs=10, trouble=None, fault=None, on_error="raise", poison=(None, None), report=None):
    logging._copy_code = lambda *args: None  # the copy of the code beside the log is not what is tested
    babilim.set_backend(backend)
    config, found = Config(), {}
    config.train_batch_size = 20
    set_seed(1)
    train, dev = Clothes(config, "train", fault, poison[0]), Clothes(config, "dev")
    train.realtime_transformers, train.on_error = [flip], on_error
    if fault: train.memory_limit = 0  # what was prepared ahead would not be read again
    logging.set_logger(os.path.join(folder, "log.txt"))
    phase = Phase(folder + "-phase")
    saving = Saving(phase, every_steps=5)
    callbacks = [Arm(train), phase, saving, LearningRateUpdateCallback(learning_rates.Exponential(0.01, k=0.01))]
    if trouble: callbacks.insert(1, Trouble(trouble, folder, saving, found))
    trainer = SupervisedTrainer(Model(poison[1]), FashionMNISTLoss(), SGD(0.01), callbacks=callbacks)
    if any(map(os.path.exists, checkpoints_in(os.path.join(folder, "checkpoints")))): trainer.resume(folder)
    loader = train.to_dataloader(num_threads=2 if fault else 0, worker_timeout=WORKER_TIMEOUT)
    try: trainer.fit(loader, dev.to_dataloader(), epochs=epochs)
    except (NonFiniteError, RuntimeError) as error:
        found["error"] = str(error)
        if poison[0] is not None: found["step"] = 1 + next(i for i, indices in enumerate(loader.order(0)) if poison[0] in indices)
    found.update(retried=train.retried, quarantined=[record["token"] for record in train.quarantined.values()])
    if report:
        with open(report, "w", encoding="utf-8") as file: json.dump(found, file)


if __name__ == "__main__": run(**json.loads(sys.argv[1]))
