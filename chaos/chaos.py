"""All that can go wrong with a run, done to real runs on both backends: python chaos/chaos.py, or `make chaos`.

kills.py      SIGKILL at random moments; the resumed run must end with the weights of one that nobody disturbed
damage.py     checkpoints cut at many lengths and changed in single bytes; none may be taken for good
shortage.py   no room on the disk, no right to write, no file handles, for some steps; no checkpoint may be lost
bad_data.py   workers killed and hung, samples that can't be read, a NaN planted in a layer; each must be named
fuzz.py       checkpoints, configs and caches that someone made up; each must be read rightly or refused clearly
"""
import argparse
import json
import os
import platform
import random
import sys
import tempfile
from importlib import metadata

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import bad_data
import damage
import fuzz
import kills
import shortage

BACKENDS = ("pytorch", "tf2")
EPOCHS = 10


def chaos_on(backend, args, dice):
    "All faults that are done to runs."
    print(f"Runs on {backend} ...", flush=True)
    with tempfile.TemporaryDirectory() as home: expected, _ = kills.undisturbed(os.path.join(home, "undisturbed"), backend, epochs=EPOCHS)
    found = {"kills": kills.kill_runs(backend, args.kills, EPOCHS, dice), "damage": damage.damaged_files(backend, args.flips, dice)}
    print(f"  {backend}: damaged files: {found['damage']}", flush=True)
    for kind in shortage.KINDS: found[kind] = shortage.shortages(backend, kind, args.rounds, EPOCHS, expected, dice)
    for kind in ("killed", "hung"):
        found[f"workers {kind}"] = bad_data.workers(backend, kind, args.rounds, EPOCHS, expected, dice)
        print(f"  {backend}: workers {kind}: {found[f'workers {kind}']}", flush=True)
    found["samples"] = bad_data.samples(backend, EPOCHS, expected, dice)
    found["poison"] = bad_data.poison(backend, args.rounds, dice)
    print(f"  {backend}: samples: {found['samples']}\n  {backend}: NaN planted: {found['poison']}", flush=True)
    return found


def failures(found):
    "What went wrong, as (where, what), in results of any nesting."
    if not isinstance(found, dict): return []
    wrong = [name for name in ("taken for good", "unclean errors", "unclean", "lost", "named wrongly", "bad lines in log.json") if found.get(name)]
    wrong += [name for name, value in found.items() if value is False]
    whole = {"runs": ("identical",), "planted": ("step named", "layer named", "sample named"), "faults": ("named with the sample",), "raised once": ("read when tried again",)}
    wrong += [name for all_of, names in whole.items() if all_of in found for name in names if found[name] != found[all_of]]
    return [("", name) for name in wrong] + [(f"{key}/{where}", what) for key, value in found.items() for where, what in failures(value)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="on each backend")
    parser.add_argument("--flips", type=int, default=1000, help="bytes changed, on each backend")
    parser.add_argument("--rounds", type=int, default=8, help="runs in trouble, and faults in data, of each kind on each backend")
    parser.add_argument("--fuzz-minutes", type=float, default=10, help="for all kinds of files together")
    parser.add_argument("--seed", type=int, default=0, help="of moments, places and kinds")
    parser.add_argument("--out", default=os.path.join(HERE, "results.json"))
    args = parser.parse_args()
    results = {"seed": args.seed, "python": platform.python_version(), "versions": {name: metadata.version(name) for name in ("numpy", "torch", "tensorflow")}}
    dice = random.Random(args.seed)
    for backend in BACKENDS: results[backend] = chaos_on(backend, args, dice)
    results["fuzz"] = {}
    for target in fuzz.TARGETS:
        results["fuzz"][target] = fuzz.fuzz(target, 60 * args.fuzz_minutes / len(fuzz.TARGETS), dice)
        print(f"Made-up files: {target}: {results['fuzz'][target]}", flush=True)
    with open(args.out, "w", encoding="utf-8") as file: file.write(json.dumps(results, indent=1) + "\n")
    print(f"Written to {os.path.relpath(args.out)}.")
    wrong = failures(results)
    if wrong: sys.exit("Not as promised: " + ", ".join(f"{where}{what}" for where, what in wrong) + ".")


if __name__ == "__main__": main()
