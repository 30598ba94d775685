"""Files that someone made up: checkpoints, configs and caches changed in every way, most with a checksum that fits again.

The checksum keeps damage out; it keeps nobody out who wants to do harm. So the readers behind it must end with a clear error, too, in little memory: whatever
a file claims, no more than it holds is made room for, and what is left of the config or the cached samples is right.
"""
import contextlib
import io
import json
import os
import resource
import shutil
import tempfile
import time
from collections import namedtuple

import numpy as np

from babilim.core import Config
from babilim.core import checkpoint as ck
from babilim.core.backend import engine as get_engine
from babilim.data import Dataset, cache

HEADROOM = 512 * 2**20  # bytes that a reader may ask for beyond what the process has


# ---- changes ----
def changed(content, other, dice):
    "Bytes that were changed, taken out, put in, or written over with numbers that are likely to hurt."
    content = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        at, length = dice.randrange(len(content) + 1), dice.choice((1, 2, 4, 8, 64, 512))
        kind = dice.randrange(6)
        if kind == 0: content[at:at + 1] = bytes([dice.randrange(256)])
        elif kind == 1: del content[at:at + length]
        elif kind == 2: content[at:at] = dice.randbytes(length)
        elif kind == 3: content[at:at + length] = dice.choice((b"\0", b"\xff", b"\x7f", b"9", b"(", b'"', b"[")) * length
        elif kind == 4:
            start = dice.randrange(len(other))
            content[at:at + length] = other[start:start + length]
        elif dice.random() < 0.2: del content[at:]
    return bytes(content)


def sealed(path, content):
    "The file with a checksum that fits, where there is a place for one."
    with open(path, "w+b") as file:
        file.write(content)
        try: at, mark = ck._seal_place(path, file)
        except ValueError: return
        if at < len(mark): return
        file.seek(at - len(mark))
        file.write(mark + b"0" * ck._DIGITS)
        ck._write_seal(path, file)


# ---- targets: each does one case and says what happened ----
def checkpoint_case(home, dice):
    ending = dice.choice((".npz", ".safetensors"))
    good, bad = os.path.join(home, "good" + ending), os.path.join(home, "bad" + ending)
    if not os.path.exists(good): ck.save_checkpoint(good, {"model/w": np.arange(60.0).reshape(3, 4, 5), "optimizer/m": np.ones(7, "float32"), "n": np.array(3)}, {"epoch": 1, "history": [{"loss": 0.5}]})
    with open(good, "rb") as file: content = file.read()
    version = changed(content, content, dice)
    if dice.random() < 0.8: sealed(bad, version)
    else:
        with open(bad, "wb") as file: file.write(version)
    try: arrays, meta = ck.load_checkpoint(bad)
    except ck.CheckpointError as error:
        if "MemoryError" in str(error): raise  # it asked for more than the file holds
        return "refused"
    return "loaded" if isinstance(meta, dict) and all(isinstance(a, np.ndarray) for a in arrays.values()) else "unclean"


class Settings(Config):
    def __init__(self):
        super().__init__()
        self.problem_sizes, self.train_rates, self.arch_name = (28, 28), {"body": 0.1, "head": 1.0}, "small"


def config_case(home, dice):
    path = os.path.join(home, "config.json")
    Settings().save(path)
    with open(path, "rb") as file: content = file.read()
    with open(path, "wb") as file: file.write(_strange_json(dice) if dice.random() < 0.3 else changed(content, content, dice))
    config = Settings()
    try: config.load(path)
    except ValueError: return "refused" if config == Settings() else "unclean"
    return "loaded" if all(type(value) is type(getattr(Settings(), name)) or getattr(Settings(), name) is None for name, value in config.to_dict().items() if value is not None) else "unclean"


def _strange_json(dice):
    def value(depth=0):
        kind = dice.randrange(9 if depth < 4 else 6)
        if kind < 6: return (None, True, dice.randrange(-10**30, 10**30), 1e400, float("nan"), "x" * dice.randrange(50))[kind]
        if kind == 6: return [value(depth + 1) for _ in range(dice.randrange(4))]
        return {dice.choice((*Settings().to_dict(), "other", "")): value(depth + 1) for _ in range(dice.randrange(5))}
    if dice.random() < 0.02: return b'{"class": "Settings", "values": ' + b"[" * 100_000
    return json.dumps({"class": "Settings", "values": {name: value() for name in dice.sample([*Settings().to_dict(), "other"], 3)}}).encode()


Input, Output = namedtuple("Input", ["image"]), namedtuple("Output", ["number"])


class Numbers(Dataset):
    def __init__(self, cache_dir):
        super().__init__(Config(), Input, Output, cache_dir)
        self.all_sample_tokens = range(9)

    def get_image(self, token): return np.full((4, 5), token, "float32")
    def get_number(self, token): return np.int64(token * token)
    def _get_version(self): return "1"


def cache_case(home, dice):
    good, bad = os.path.join(home, "good"), os.path.join(home, "bad")
    if not os.path.exists(good): _all_right(Numbers(good))
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(good, bad)
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(bad) for name in names)
    path, other = dice.choice(files), dice.choice(files)
    with open(path, "rb") as file, open(other, "rb") as another: content, more = file.read(), another.read()
    version = changed(content, more, dice)
    if path.endswith("header.json") and dice.random() < 0.8: version = _resealed_header(version)
    with open(path, "wb") as file: file.write(version)
    return "loaded" if _all_right(Numbers(bad)) else "unclean"


def _resealed_header(content):
    try:
        header = json.loads(content)["content"]
        return json.dumps({"crc32": cache._crc(header), "content": header}).encode()
    except (ValueError, KeyError, TypeError, RecursionError): return content


def _all_right(dataset):
    inputs, outputs = dataset.batch(range(9))
    return np.array_equal(inputs.image, np.arange(9, dtype="float32")[:, None, None] * np.ones((4, 5))) and np.array_equal(outputs.number, np.arange(9) ** 2)


TARGETS = {"checkpoint": checkpoint_case, "config": config_case, "cache": cache_case}


# ---- the loop ----
def fuzz(target, seconds, dice, keep=3):
    "Cases until time is up; the first that went wrong are described."
    found, wrong = {"cases": 0, "refused": 0, "loaded": 0, "unclean": 0}, []
    limits = resource.getrlimit(resource.RLIMIT_AS)
    get_engine()  # its libraries need room of their own
    with tempfile.TemporaryDirectory() as home:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_size_of_process() + HEADROOM, limits[1]))
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                try:
                    with contextlib.redirect_stdout(io.StringIO()): outcome = TARGETS[target](home, dice)
                except Exception as error: outcome, text = "unclean", f"{type(error).__name__}: {error}"
                else: text = "a wrong value, or no reason"
                found["cases"] += 1
                found[outcome] += 1
                if outcome == "unclean" and len(wrong) < keep: wrong.append(f"case {found['cases']}: {text}"[:300])
        finally: resource.setrlimit(resource.RLIMIT_AS, limits)
    return {**found, **({"wrong": wrong} if wrong else {})}


def _size_of_process():
    with open("/proc/self/statm") as file: return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
