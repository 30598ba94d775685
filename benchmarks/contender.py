"""One contender on one task, in a process of its own: python benchmarks/contender.py NAME TASK [--batches N] [--epochs E]

The last line that it prints is a JSON object. Every contender gets the same arrays, the same batch size and the same
number of full batches, reports loss and accuracy over each epoch, and runs one epoch that is not timed before those that are.

Two times are taken of each epoch: of its training steps (`ms_per_step`, from before the first batch is asked for until loss and
accuracy of the epoch are known), and of the whole epoch including what happens at its end, such as checkpoints
(`ms_per_step_whole`). Epochs are short here, so the second one makes too much of a checkpoint.
"""
import argparse
import importlib
import json
import os
import resource
import sys
import time

STARTED = float(os.environ.get("BENCH_STARTED", time.time()))  # when the driver started this process

CONTENDERS = {  # name: (module, what chooses its engine)
    "babilim-pytorch": ("babilim_side", {"BABILIM_BACKEND": "pytorch"}), "babilim-tf2": ("babilim_side", {"BABILIM_BACKEND": "tf2"}),
    "torch-dataloader": ("torch_side", {}), "torch-preloaded": ("torch_side", {}), "torch-tuned": ("torch_side", {}), "torch-compiled": ("torch_side", {}),
    "tf-data": ("tf_side", {}), "tf-epoch": ("tf_side", {}),
    "keras-pytorch": ("keras_side", {"KERAS_BACKEND": "torch"}), "keras-tf2": ("keras_side", {"KERAS_BACKEND": "tensorflow"}), "keras-tf2-tuned": ("keras_side", {"KERAS_BACKEND": "tensorflow"}),
    "lightning": ("lightning_side", {}), "fastai": ("fastai_side", {})}


def peak_mb():
    "The most memory that this process has held."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


class Clock:
    "Takes the time of each epoch; `synchronize` waits until the device has done all it was given."
    def __init__(self, synchronize=lambda: None):
        self.synchronize, self.starts, self.training, self.first_epoch_done = synchronize, [], [], None

    def start(self):
        "An epoch begins."
        self.starts.append(time.perf_counter())

    def stop(self):
        "Its training steps are done, and their loss and accuracy are known."
        self.synchronize()
        self.training.append(time.perf_counter() - self.starts[-1])
        if self.first_epoch_done is None: self.first_epoch_done = time.time() - STARTED

    def finish(self):
        "The last epoch is over."
        self.starts.append(time.perf_counter())

    def result(self, batches):
        "Milliseconds a step of each epoch but the first, and when that one was done."
        per_step = lambda seconds: [1000 * s / batches for s in seconds]
        whole = [after - before for before, after in zip(self.starts[1:], self.starts[2:])]
        return {"epochs_ms_per_step": per_step(self.training[1:]), "epochs_ms_per_step_whole": per_step(whole), "first_epoch_done_s": self.first_epoch_done}


def run(name, task_name, batches, epochs):
    "Train, and tell how long it took and what it needed."
    module, engine = CONTENDERS[name]
    os.environ.update(engine)  # before anything is imported; threads and all else stay as each tool has them
    start = time.perf_counter()
    side = importlib.import_module(module)
    imported, memory = time.perf_counter() - start, peak_mb()
    import tasks
    from statistics import median
    task, clock = tasks.resized(tasks.find(task_name), batches, epochs), Clock()
    loss, accuracy = side.run(name, task, *tasks.load(task), clock)
    clock.finish()
    found = clock.result(task.batches)
    medians = {key[len("epochs_"):]: median(found[key]) if found[key] else None for key in ("epochs_ms_per_step", "epochs_ms_per_step_whole")}
    return {"contender": name, "task": task_name, "device": side.device(), **medians, **found, "import_s": imported,
            "peak_mb": peak_mb(), "peak_mb_imported": memory, "loss": float(loss), "accuracy": float(accuracy)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("task")
    parser.add_argument("--batches", type=int)
    parser.add_argument("--epochs", type=int, help="timed ones; 0 for a start only")
    args = parser.parse_args()
    print("\n" + json.dumps(run(args.name, args.task, args.batches, args.epochs)), flush=True)


if __name__ == "__main__": main()
