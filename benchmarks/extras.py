"""What else is measured: starting, assembling batches, and how time grows with layers and samples.

`python benchmarks/extras.py assembling` is the process in which batches are assembled, `... hiding pytorch` and `... hiding tf2` are those that train while they are; everything else is called by bench.py.
"""
import json
import math
import os
import statistics
import sys
import tempfile
import time

from contender import Clock
from processes import DISTURBED, run_json, run_quietly
from tasks import find

MODULES = ("babilim", "numpy", "torch", "tensorflow")
STARTERS = {"babilim-pytorch": "torch", "torch-preloaded": "torch", "babilim-tf2": "tensorflow", "tf-data": "tensorflow"}
LAYERS, SAMPLES = (10, 100, 1000), (1000, 10_000, 100_000, 1_000_000)
EPOCHS = 15  # of assembling, which takes so little time that a single disturbance is seen
PAIRS = 20  # of epochs without and with a transformer
TIMES = 3  # that each size is measured


def median(values):
    "Of those that are there."
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def trusted(found):
    "Whether a process ended well and nothing else used the machine meanwhile."
    return "error" not in found and found["cores_busy_elsewhere"] <= DISTURBED


# ---- starting ----
def import_seconds(module):
    "Seconds to import a module in a fresh process."
    found = run_json("-c", f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)")
    return found if isinstance(found, float) else None


def one_start(name):
    "Seconds to import the framework alone; and from the start of a process to the end of its first training step, in an epoch of one batch."
    framework, found = import_seconds(STARTERS[name]), run_quietly(name, "cnn32", batches=1, epochs=0)
    if "error" in found: print(f"  first step of {name} failed:\n{found['error']}")
    first = found["first_epoch_done_s"] if trusted(found) else None
    return {"first_step_s": first, "first_step_over_framework_s": None if None in (first, framework) else first - framework}


def starting(times=5):
    "Medians of imports and first steps; the framework is imported once before, so that the disk is not what is measured."
    for module in MODULES: import_seconds(module)
    starts = {name: [one_start(name) for _ in range(times)] for name in STARTERS}
    over = {key: {name: median(start[key] for start in found) for name, found in starts.items()} for key in ("first_step_s", "first_step_over_framework_s")}
    return {"import_s": {module: median(import_seconds(module) for _ in range(times)) for module in MODULES}, **over}


# ---- growing ----
def exponent(sizes, times):
    "Of time ~ size ** exponent, by least squares over the logarithms: 1 is linear."
    points = [(math.log(size), math.log(t)) for size, t in zip(sizes, times) if t is not None]
    return statistics.linear_regression(*zip(*points)).slope if len(points) > 1 else None


def one_size(name, task, value):
    "`value` of what the contender measured; None, and why, where it failed or was disturbed."
    found = run_quietly(name, task)
    if trusted(found): return value(found)
    print(f"  {name}, {task}: " + (f"failed:\n{found['error']}" if "error" in found else "others used the machine, so it does not count"))
    return None


def growth(prefix, sizes, value):
    "The median of `value` for each size; the exponent over all sizes, and over the last two, where fixed costs no longer count."
    found = {}
    for name in STARTERS:
        values = [median([one_size(name, f"{prefix}{size}", value) for _ in range(TIMES)]) for size in sizes]
        found[name] = {"values": values, "exponent": exponent(sizes, values), "exponent_of_last_two": exponent(sizes[-2:], values[-2:])}
    return {"sizes": sizes, "contenders": found}


def growing():
    "Milliseconds a step by number of layers; seconds an epoch by number of samples. Compilation is in the epoch that is not timed."
    by_layers = growth("deep", LAYERS, lambda found: found["ms_per_step"])
    by_samples = growth("many", SAMPLES, lambda found: found["ms_per_step"] * find(found["task"]).batches / 1000)
    return {"ms_per_step_by_layers": by_layers, "s_per_epoch_by_samples": by_samples}


# ---- assembling ----
def enlarged(cache_dir, transformers, count=20_000):
    "The tutorial's dataset with the sample's images repeated, so that an epoch takes long enough to be timed."
    import numpy as np
    from babilim.fashion_mnist.config import FashionMNISTConfig
    from babilim.fashion_mnist.dataset import FashionMNISTDataset
    config = FashionMNISTConfig()
    config.problem_sample = True
    dataset = FashionMNISTDataset(config, "train", cache_dir)
    rows = np.arange(count) % len(dataset.labels)
    dataset.images, dataset.labels, dataset.all_sample_tokens = dataset.images[rows], dataset.labels[rows], list(range(count))
    dataset.realtime_transformers = transformers
    return dataset


def mirrored(inp): return inp._replace(image=inp.image[..., ::-1])


def flips():
    "Realtime transformers that mirror half of the images: one that draws with `sample_uniform`, and one with NumPy's generator, which has to be seeded for each sample."
    from babilim.core.random import sample_generator, sample_uniform
    def flip(inp, outp): return (mirrored(inp) if sample_uniform() < 0.5 else inp), outp
    def flip_by_generator(inp, outp): return (mirrored(inp) if sample_generator().random() < 0.5 else inp), outp
    return flip, flip_by_generator


def microseconds(dataset, workers):
    "A sample, in batches of 32: the median over EPOCHS epochs, after one that fills caches."
    loader, found = dataset.to_dataloader(batch_size=32, num_threads=workers), []
    for epoch in range(1 + EPOCHS):
        start = time.perf_counter()
        for _ in loader.arrays(epoch): pass
        found.append(1e6 * (time.perf_counter() - start) / len(dataset))
    return statistics.median(found[1:])


def by_torch():
    "The same by PyTorch's DataLoader over ready tensors, in this process."
    import torch
    dataset = enlarged(None, [])
    data = torch.utils.data.TensorDataset(torch.from_numpy(dataset.images[:, None]).float() / 255, torch.from_numpy(dataset.labels).long())
    loader, found = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True), []
    for _ in range(1 + EPOCHS):
        start = time.perf_counter()
        for _ in loader: pass
        found.append(1e6 * (time.perf_counter() - start) / len(data))
    return statistics.median(found[1:])


def assemble():
    "Microseconds a sample: plain or cached, without and with a realtime transformer, by number of workers."
    import babilim
    babilim.set_backend("pytorch")
    found = {"torch DataLoader over tensors": {"0": by_torch()}}
    flip, flip_by_generator = flips()
    for where in ("plain", "cached"):
        for how, transformers in (("", []), (", flipped", [flip]), (", flipped by NumPy's generator", [flip_by_generator])):
            with tempfile.TemporaryDirectory() as folder:
                dataset = enlarged(folder if where == "cached" else None, transformers)
                found[where + how] = {str(workers): microseconds(dataset, workers) for workers in (0, 1, 2)}
    return found


# ---- hiding ----
class InTurn(Clock):
    "In every second epoch the samples go through a transformer."
    def __init__(self, samples, transformer):
        super().__init__()
        self.samples, self.transformers = samples, ([], [transformer])

    def start(self):
        self.samples.realtime_transformers = self.transformers[len(self.training) % 2]
        super().start()


def hide(backend):
    "Milliseconds a step of the tutorial's network in one fit, without and with a transformer for single samples in turn; and how each epoch with it compares with its two neighbours."
    os.environ["BABILIM_BACKEND"] = backend
    import babilim_side
    from tasks import load, resized
    task = resized(find("cnn32"), None, 2 * PAIRS + 2)
    inputs, labels = load(task)
    samples = babilim_side.Samples(babilim_side.make_config(task), inputs, labels)
    clock = InTurn(samples, flips()[0])
    babilim_side.fit(task, samples, clock)
    ms = clock.result(task.batches)["epochs_ms_per_step"]  # without the first epoch, and so from one with a transformer on
    plain, flipped = ms[1::2], ms[2::2]  # what that first one compiles or prepares is left out, too
    ratios = [2 * with_it / (before + after) for before, with_it, after in zip(plain, flipped, plain[1:])]
    return {"plain": statistics.median(plain), "flipped": statistics.median(flipped), "ratio": statistics.median(ratios), "pairs": len(ratios)}


def hiding():
    return {backend: run_json(os.path.abspath(__file__), "hiding", backend) for backend in ("pytorch", "tf2")}


def measure_all():
    "Everything here, for results.json."
    return {**starting(), "us_per_sample": run_json(os.path.abspath(__file__), "assembling"), "ms_per_step_by_transformer": hiding(), **growing()}


def main(part="", *args):
    print(json.dumps(assemble() if part == "assembling" else hide(*args) if part == "hiding" else measure_all()))


if __name__ == "__main__": main(*sys.argv[1:])
