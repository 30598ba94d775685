"""SIGKILL at random moments; the run is resumed from its folder, killed again, and so on until it is through.

Then its weights, its optimizer and its history must be those of a run that nobody disturbed, bit for bit, and every line of log.json must be JSON.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from babilim.core.checkpoint import load_checkpoint
from small_run import PHASES

SMALL_RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small_run.py")


def phase_of(folder):
    try:
        with open(folder + "-phase", "rb") as file: return file.read(1)[0]
    except (FileNotFoundError, IndexError): return 0


def start(folder, backend, **settings):
    "The process, when its first step begins, or when it is through."
    if os.path.exists(folder + "-phase"): os.remove(folder + "-phase")
    command = [sys.executable, SMALL_RUN, json.dumps({"folder": folder, "backend": backend, **settings})]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"})
    while process.poll() is None and phase_of(folder) == 0: time.sleep(0.002)
    return process


def finish(process):
    "Wait for its end; an error of it is raised here."
    _, errors = process.communicate()
    if process.returncode: raise RuntimeError(f"A run ended with {process.returncode}:\n{errors[-3000:]}")


def final_state(folder):
    arrays, meta = load_checkpoint(os.path.join(folder, "checkpoints", "latest.npz"))
    return {name: array for name, array in arrays.items() if not name.startswith("random/")}, meta["history"]


def same(a, b):
    return list(a[0]) == list(b[0]) and all(np.array_equal(a[0][name], b[0][name]) for name in a[0]) and a[1] == b[1]


def log_of(folder):
    with open(os.path.join(folder, "log.txt"), encoding="utf-8") as file: return file.read()


def undisturbed(folder, backend, **settings):
    "(state at the end, seconds since the first step)."
    process = start(folder, backend, **settings)
    began = time.monotonic()
    finish(process)
    return final_state(folder), time.monotonic() - began


def bad_lines(folder):
    "How many lines of log.json are not JSON."
    count = 0
    with open(os.path.join(folder, "log.json"), encoding="utf-8") as file:
        for line in file:
            try: json.loads(line)
            except ValueError: count += 1
    return count


def kill_runs(backend, kills, epochs, dice):
    "Kill at random moments, resume, compare at the end."
    found = {"kills": 0, "runs": 0, "identical": 0, "while": dict.fromkeys(PHASES, 0), "skipped files": 0, "bad lines in log.json": 0}
    with tempfile.TemporaryDirectory() as home:
        expected, seconds = undisturbed(os.path.join(home, "undisturbed"), backend, epochs=epochs)
        while found["kills"] < kills:
            folder = os.path.join(home, f"run{found['runs']}")
            while kill_once(folder, backend, epochs, dice.uniform(0, seconds / 3), found): pass
            found["runs"] += 1
            found["identical"] += same(final_state(folder), expected)
            found["skipped files"] += log_of(folder).count("Skipped a checkpoint")
            found["bad lines in log.json"] += bad_lines(folder)
            print(f"  {backend}: {found['kills']} kills, {found['identical']} of {found['runs']} runs ended like the one that nobody disturbed", flush=True)
            shutil.rmtree(folder)
    return found


def kill_once(folder, backend, epochs, delay, found):
    "Whether the run was killed; otherwise it is through."
    process = start(folder, backend, epochs=epochs)
    try: process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found["kills"] += 1
        found["while"][PHASES[phase_of(folder)]] += 1
        return True
    finish(process)
    return False
