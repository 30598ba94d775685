"""babilim beside everything else, in one run: python benchmarks/bench.py, or `make bench`, which installs what it needs.

Each contender runs in a process of its own, one at a time, in turn: A B C ..., A B C ... A table a task shows the median over the
rounds of each process's median epoch, and as ratio the median over the rounds of contender / babilim on the same framework in the
same round. A process during which others used the machine is run
again, whichever contender it is; if they still do, its times are shown, but count neither for ratios nor for targets. The targets are those that babilim sets itself; a target that is missed is shown as missed.
"""
import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics

import extras
from contender import CONTENDERS
from processes import DISTURBED, HERE, run_quietly
from tasks import find

TASKS = ("cnn32", "cnn256", "resnet18", "transformer", "mlp")
BY_HAND = {"babilim-pytorch": ("torch-dataloader", "torch-preloaded", "torch-tuned", "torch-compiled"), "babilim-tf2": ("tf-data", "tf-epoch")}
ON_TENSORFLOW = ("babilim-tf2", "tf-data", "tf-epoch", "keras-tf2", "keras-tf2-tuned")
PACKAGES = ("babilim", "torch", "torchvision", "tensorflow", "keras", "lightning", "fastai", "numpy")
KEPT = ("ms_per_step", "ms_per_step_whole", "peak_mb", "peak_mb_imported", "import_s", "loss", "accuracy", "cores_busy_elsewhere")  # of each round


# ---- the machine ----
def cpu_model():
    try:
        with open("/proc/cpuinfo") as file: return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration): return platform.processor() or platform.machine()


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(memory, 1), "system": platform.platform(), "python": platform.python_version()}


def versions():
    found = {}
    for name in PACKAGES:
        try: found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError: found[name] = None
    return found


# ---- measuring ----
def add(results, found):
    "Append what one process found to the lists of its contender."
    lists = results[found["contender"]]
    if "error" in found: lists.setdefault("errors", []).append(found["error"])
    for key in KEPT: lists[key].append(found.get(key))
    if "device" in found: lists["device"] = found["device"]


def line_up(results, contenders):
    "Lists of the same length for all contenders, those that are to run now too: a round has one place in all of them."
    for name in contenders: results.setdefault(name, {})
    longest = max(len(lists.get("ms_per_step", [])) for lists in results.values())
    for lists in results.values():
        for key in KEPT: lists.setdefault(key, []).extend([None] * (longest - len(lists[key])))


def measure(task, contenders, rounds, quick, results):
    "A task: every contender, in turn, so many times, added to `results`."
    line_up(results, contenders)
    small = {"batches": max(2, find(task).batches // 4), "epochs": 1} if quick else {}
    for number in range(rounds):
        for name in contenders:
            found = run_quietly(name, task, attempts=1 if quick else 3, **small)
            add(results, found)
            outcome = f"{found['ms_per_step']:.2f} ms/step" if "error" not in found else f"failed:\n{found['error']}"
            print(f"  {task}, round {number + 1}/{rounds}, {name}: {outcome}", flush=True)
    return results


# ---- figures ----
def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def figure(results, name, key="ms_per_step"):
    return median(results.get(name, {}).get(key, []))


def rounds_of(results, name, key):
    "The value of each round, None where there is none or where others used the machine; memory does not mind them."
    found = results.get(name, {})
    pairs = zip(found.get(key, []), found.get("cores_busy_elsewhere", []))
    return [None if busy is None or busy > DISTURBED and key != "peak_mb" else value for value, busy in pairs]


def pairs(results, a, b, key):
    return [(x, y) for x, y in zip(rounds_of(results, a, key), rounds_of(results, b, key)) if None not in (x, y)]


def ratio(results, a, b, key="ms_per_step"):
    "The median over the rounds of a / b."
    return median(x / y for x, y in pairs(results, a, b, key))


def difference(results, a, b):
    "The median over the rounds of a - b, in microseconds."
    return median(1000 * (x - y) for x, y in pairs(results, a, b, "ms_per_step"))


def best_by_hand(results, babilim, key="ms_per_step"):
    "The hand-written contender that is best at `key`."
    found = {name: median(rounds_of(results, name, key)) for name in BY_HAND[babilim]}
    found = {name: value for name, value in found.items() if value is not None}
    return min(found, key=found.get) if found else "none"


# ---- targets ----
def target(name, value, limit, at_most=True, unit=""):
    met = None if value is None else bool(value <= limit if at_most else value >= limit)
    return {"name": name, "value": value, "limit": limit, "at_most": at_most, "unit": unit, "met": met}


def ratio_targets(tasks):
    "What a `fit` of the tutorial's network costs beside the others."
    cnn, torch, tf = tasks.get("cnn32", {}), "babilim-pytorch", "babilim-tf2"
    return [target("babilim/PyTorch : by hand with DataLoader, cnn32", ratio(cnn, torch, "torch-dataloader"), 0.80),
            target("babilim/PyTorch : by hand, preloaded, cnn32", ratio(cnn, torch, "torch-preloaded"), 0.95),
            target("babilim/TensorFlow : tf.data + tf.function, cnn32", ratio(cnn, tf, "tf-data"), 0.80),
            target("babilim/TensorFlow : whole epoch in one graph, cnn32", ratio(cnn, tf, "tf-epoch"), 1.05),
            target("Keras on PyTorch : babilim/PyTorch, cnn32", ratio(cnn, "keras-pytorch", torch), 2.5, False),
            target("Keras on TensorFlow : babilim/TensorFlow, cnn32", ratio(cnn, "keras-tf2", tf), 1.5, False),
            target("Keras on TensorFlow, tuned : babilim/TensorFlow, cnn32", ratio(cnn, "keras-tf2-tuned", tf), 1.5, False),
            target("Lightning : babilim/PyTorch, cnn32", ratio(cnn, "lightning", torch), 1.3, False),
            target("fastai : babilim/PyTorch, cnn32", ratio(cnn, "fastai", torch), 1.6, False)]


def best_targets(tasks):
    "Beside the best of the hand-written ones, whichever that is on this machine."
    found = []
    for babilim, limit in (("babilim-pytorch", 60), ("babilim-tf2", 40)):
        mlp, cnn = tasks.get("mlp", {}), tasks.get("cnn32", {})
        hand = best_by_hand(mlp, babilim)
        found.append(target(f"overhead a step, mlp: {babilim} - {hand}", difference(mlp, babilim, hand), limit, unit=" µs"))
        for task in ("resnet18", "transformer"):
            hand = best_by_hand(tasks.get(task, {}), babilim)
            found.append(target(f"{babilim} : {hand}, {task}", ratio(tasks.get(task, {}), babilim, hand), 1.0))
        hand = best_by_hand(cnn, babilim, "peak_mb")
        found.append(target(f"peak memory of the process, {babilim} : {hand}, cnn32", ratio(cnn, babilim, hand, "peak_mb"), 1.1))
    return found


def extra_targets(found):
    "Data and start."
    data, over, hidden = found.get("us_per_sample", {}), found.get("first_step_over_framework_s", {}), found.get("ms_per_step_by_transformer", {})
    fewest = lambda kind: min(data[kind].values()) if kind in data else None
    return [target("data, vectorised: cached, in this process", data.get("cached", {}).get("0"), 1.0, unit=" µs a sample"),
            target("data, per-sample transformer on cached, best of 0, 1, 2 workers", fewest("cached, flipped"), 5.0, unit=" µs a sample"),
            *[target(f"a step with a per-sample transformer : without it, cnn32, {backend}", hidden.get(backend, {}).get("ratio"), 1.05) for backend in ("pytorch", "tf2")],
            target("first step over importing the framework, babilim-pytorch", over.get("babilim-pytorch"), 2.0, unit=" s"),
            target("first step over importing the framework, babilim-tf2", over.get("babilim-tf2"), 4.0, unit=" s")]


# ---- showing ----
def text(value, digits=2): return "-" if value is None else f"{value:.{digits}f}"


def table(columns, rows):
    "Text columns, the first one to the left."
    rows = [columns, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))) for row in rows)


def row(results, name):
    found = results[name]
    mine = "babilim-tf2" if name in ON_TENSORFLOW else "babilim-pytorch"
    times = [t for t in found["ms_per_step"] if t is not None]
    failed = f" FAILED {len(found['errors'])}x" if "errors" in found else ""
    spread = (f"{min(times):.2f} - {max(times):.2f}" if times else "") + failed
    return [name, text(figure(results, name)), spread, text(ratio(results, name, mine)), text(figure(results, name, "ms_per_step_whole")),
            text(figure(results, name, "peak_mb"), 0), text(figure(results, name, "loss"), 3), text(figure(results, name, "accuracy"), 3),
            text(figure(results, name, "cores_busy_elsewhere"))]


def show_task(task, results):
    print(f"\n{task}: the median of all rounds; ratios of those in which nothing else ran")
    columns = ["contender", "ms/step", "min - max", "x babilim", "with checkpoint", "peak MB", "loss", "accuracy", "other load"]
    print(table(columns, [row(results, name) for name in results]))
    busy = max((figure(results, name, "cores_busy_elsewhere") or 0 for name in results), default=0)
    if busy > DISTURBED: print(f"Up to {busy:.1f} cores were busy with other things: rounds with more than {DISTURBED} count neither for ratios nor for targets.")


def show_targets(targets):
    print("\ntargets")
    verdict = {True: "pass", False: "miss", None: "not measured"}
    print(table(["", "value", "target", ""], [[t["name"], text(t["value"]) + t["unit"], f"{'<=' if t['at_most'] else '>='} {t['limit']}", verdict[t["met"]]] for t in targets]))


def show_extras(found):
    for name, value in found.items(): print(f"\n{name}: {json.dumps(value, indent=1)}")


# ---- the run ----
def save(path, results):
    with open(path, "w", encoding="utf-8") as file: json.dump(results, file, indent=1)


def read(path):
    with open(path, encoding="utf-8") as file: return json.load(file)


def bench(args):
    results = {"date": datetime.date.today().isoformat(), "machine": machine(), "versions": versions(), "quick": args.quick, "tasks": {}, "extras": {}}
    if (args.add or args.more) and os.path.exists(args.out): results.update({key: read(args.out)[key] for key in ("tasks", "extras")})
    for task in args.tasks:
        before = results["tasks"].get(task, {}) if args.more else {}
        results["tasks"][task] = measure(task, args.contenders, args.rounds, args.quick, before)
        save(args.out, results)
    for task in args.tasks: show_task(task, results["tasks"][task])
    if args.extras:
        results["extras"] = extras.measure_all()
        show_extras(results["extras"])
        save(args.out, results)
    results["targets"] = ratio_targets(results["tasks"]) + best_targets(results["tasks"]) + extra_targets(results["extras"])
    show_targets(results["targets"])
    save(args.out, results)
    print(f"\nWritten to {os.path.relpath(args.out)}.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--quick", action="store_true", help="one round of fewer steps and no extras: whether everything runs, not how fast")
    parser.add_argument("--extras", action=argparse.BooleanOptionalAction, help="start, data and growth; by default in a full run")
    parser.add_argument("--add", action="store_true", help="keep what the file holds of other tasks")
    parser.add_argument("--more", action="store_true", help="add rounds to those in the file; contenders are compared in rounds that both have")
    parser.add_argument("--out", help="default: results.json beside this file; results-part.json if something is left out")
    args = parser.parse_args()
    full = not args.quick and set(args.tasks) == set(TASKS) and set(args.contenders) == set(CONTENDERS)
    if args.quick: args.rounds = 1
    if args.extras is None: args.extras = full
    if args.out is None: args.out = os.path.join(HERE, "results.json" if full and args.extras else "results-part.json")
    bench(args)


if __name__ == "__main__": main()
