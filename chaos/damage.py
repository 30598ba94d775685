"""A checkpoint cut at many lengths and with single bytes changed: none of that may be taken for good, and the file before it must be loaded."""
import os
import tempfile

from babilim.core.checkpoint import CheckpointError, load_checkpoint, load_newest
from kills import undisturbed

MARKS = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"\x93NUMPY")  # where structures of a zip file and of NumPy's arrays begin


def damaged_files(backend, flips, dice, cuts=300):
    found = {"truncations": 0, "flips": 0, "taken for good": 0, "unclean errors": 0, "fell back": 0}
    with tempfile.TemporaryDirectory() as home:
        undisturbed(os.path.join(home, "run"), backend, epochs=1)
        good, bad = os.path.join(home, "run", "checkpoints", "previous.npz"), os.path.join(home, "bad.npz")
        with open(os.path.join(home, "run", "checkpoints", "latest.npz"), "rb") as file: content = file.read()
        for kind, version in versions_of(content, flips, cuts, dice):
            with open(bad, "wb") as file: file.write(version)
            found[kind] += 1
            try: load_checkpoint(bad)
            except CheckpointError: pass
            except Exception: found["unclean errors"] += 1
            else: found["taken for good"] += 1
            found["fell back"] += load_newest([bad, good], lambda text: None)[0] == good
    return found


def versions_of(content, flips, cuts, dice):
    "(kind, bytes): cut densely around the borders of structures and at random places, then with one byte changed."
    borders = [i for mark in MARKS for i in range(len(content)) if content.startswith(mark, i)]
    dense = {n for border in borders for n in range(border - 2, border + 40) if 0 <= n < len(content)} if cuts > 100 else set(borders)
    for length in sorted(dense | {dice.randrange(len(content)) for _ in range(cuts)}): yield "truncations", content[:length]
    for _ in range(flips):
        at = dice.randrange(len(content))
        yield "flips", content[:at] + bytes([content[at] ^ dice.randrange(1, 256)]) + content[at + 1:]
