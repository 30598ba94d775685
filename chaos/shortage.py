"""No room on the disk, no right to write, no free file handle, for some steps of a run.

Saving fails then, which must be a warning: the checkpoints that are there stay whole, training goes on, and the run ends like one that nobody disturbed.
Half of the runs are killed in the middle of the trouble and resumed after it.
"""
import contextlib
import json
import os
import subprocess
import tempfile

from kills import final_state, finish, log_of, same, start

KINDS = ("disk full", "read-only", "no handles")


@contextlib.contextmanager
def small_disk(megabytes=8):
    "A folder that is a file system of its own."
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True, capture_output=True)
        try: yield folder
        finally: subprocess.run(["umount", "-R", folder], check=True)


def can_mount():
    try:
        with small_disk(1): return True
    except (OSError, subprocess.CalledProcessError): return False


def shortages(backend, kind, rounds, epochs, expected, dice):
    found = {"runs": 0, "killed in it": 0, "identical": 0, "saves that failed": 0, "checkpoints": 0, "lost": 0}
    if kind != "no handles" and not can_mount(): return {"left out": "this machine does not allow to mount a file system"}
    for number in range(rounds):
        die = number % 2 == 1
        with small_disk() if kind != "no handles" else tempfile.TemporaryDirectory() as mount:
            _one_run(backend, kind, epochs, expected, dice, mount, die, found)
    print(f"  {backend}: {kind}: {found}", flush=True)
    return found


def _one_run(backend, kind, epochs, expected, dice, mount, die, found):
    folder, steps = os.path.join(mount, "run"), 20 * epochs
    first = dice.randrange(10, steps // 2)
    trouble = {"kind": kind, "from": first, "to": first + dice.randrange(10, steps // 3), "mount": mount}
    if die: trouble = {**trouble, "to": steps * 2, "die_at": trouble["to"]}
    with tempfile.TemporaryDirectory() as aside:
        report = os.path.join(aside, "report.json")
        if kind == "read-only":
            checkpoints = os.path.join(folder, "checkpoints")
            os.makedirs(checkpoints)
            subprocess.run(["mount", "--bind", checkpoints, checkpoints], check=True)
        process = start(folder, backend, epochs=epochs, trouble=trouble, report=report)
        if die: _after_a_kill(process, kind, folder, mount, backend, epochs)
        else:
            finish(process)
            with open(report, encoding="utf-8") as file: told = json.load(file)
            for name in ("checkpoints", "lost"): found[name] += told[name]
    found["runs"] += 1
    found["killed in it"] += die
    found["identical"] += same(final_state(folder), expected)
    found["saves that failed"] += log_of(folder).count("could not be written")


def _after_a_kill(process, kind, folder, mount, backend, epochs):
    process.communicate()
    if kind == "disk full": os.remove(os.path.join(mount, "filler"))
    if kind == "read-only": subprocess.run(["mount", "-o", "remount,bind,rw", os.path.join(folder, "checkpoints")], check=True)
    finish(start(folder, backend, epochs=epochs))
