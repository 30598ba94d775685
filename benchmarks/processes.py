"""Runs a contender in a process of its own, on a terminal of its own, and tells how busy the machine was with other things."""
import errno
import json
import os
import pty
import re
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DISTURBED = 0.1  # cores that others may use while a contender runs
MARK = '{"contender"'  # how the line with the result begins


def environment():
    "The child imports babilim from this checkout, and shows its progress bars on a terminal of 100 columns."
    paths = [os.path.dirname(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "100", "LINES": "40", "BENCH_STARTED": str(time.time()),
            "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


def read_terminal(master):
    "All that is written to a terminal until its last writer is gone."
    parts = []
    while True:
        try: part = os.read(master, 65536)
        except OSError as error:
            if error.errno != errno.EIO: raise
            part = b""
        if not part: return b"".join(parts).decode(errors="replace")
        parts.append(part)


def on_terminal(command, folder):
    "(output, exit code): every tool believes that somebody watches, so that all of them draw their progress bars."
    master, slave = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    try: return read_terminal(master), process.wait()
    finally:
        process.kill()
        os.close(master)


def machine_seconds():
    "CPU seconds that the whole machine has worked so far; 0 where it does not tell."
    try:
        with open("/proc/stat") as file: numbers = [int(n) for n in file.readline().split()[1:]]
    except OSError: return 0.0
    return (sum(numbers[:8]) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Elsewhere:
    "How many cores were busy with other things than the child, in the mean over a `with` block."
    def __enter__(self):
        self.before = time.perf_counter(), child_seconds(), machine_seconds()
        return self

    def __exit__(self, *error):
        wall, mine, everybody = (now - before for now, before in zip((time.perf_counter(), child_seconds(), machine_seconds()), self.before))
        self.cores = max(0.0, (everybody - mine) / wall)


def error_of(output):
    "The end of what a failed process wrote."
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r", "\n").splitlines() if line.strip()]
    return "\n".join(lines[-15:]) or "no output"


def run_quietly(*args, attempts=3, **options):
    "`run_contender`, again while others used the machine, at most so often; the attempt that was disturbed least counts."
    best = None
    for _ in range(attempts):
        found = run_contender(*args, **options)
        if "error" in found: return found
        if best is None or found["cores_busy_elsewhere"] < best["cores_busy_elsewhere"]: best = found
        if best["cores_busy_elsewhere"] <= DISTURBED: return best
    return best


def run_contender(name, task, batches=None, epochs=None):
    "What the contender measured, or {'error': the end of its output}."
    options = [part for option, value in (("--batches", batches), ("--epochs", epochs)) if value is not None for part in (option, str(value))]
    with tempfile.TemporaryDirectory() as folder, Elsewhere() as elsewhere:
        output, code = on_terminal([sys.executable, os.path.join(HERE, "contender.py"), name, task, *options], folder)
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if code or not lines: return {"contender": name, "task": task, "error": error_of(output)}
    return {**json.loads(lines[-1]), "cores_busy_elsewhere": elsewhere.cores}


def run_json(*command):
    "What a command prints as JSON on its last line, or {'error': ...}."
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, *command], cwd=folder, env=environment(), capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": error_of(done.stderr)}
