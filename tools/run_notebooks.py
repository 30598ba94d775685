"""Run notebooks from top to bottom in a Jupyter kernel, as a reader does, and say which cells fail: python tools/run_notebooks.py nbs/core/*.ipynb

Without names, all notebooks run. Nothing is written into them. As in the tests, the tutorial runs on the sample that ships with babilim.
"""
import argparse
import os
import sys
import time
from pathlib import Path

from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbdev.doclinks import nbglob
from store_outputs import NBS, ROOT, executed


def failure(path: Path, backend: str, timeout: int) -> str:
    "The first cell that fails, and with what; nothing where all is well."
    at = []
    try: executed(path, backend, timeout, on_cell_start=lambda cell, cell_index: at.append(f"cell {cell_index}, {cell.id}"))
    except CellExecutionError as error: return f"{at[-1]}: {error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error: return f"{at[-1]}: {type(error).__name__}: {str(error).splitlines()[0]}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--backend", choices=("pytorch", "tf2"), help="default: both")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that a cell may take (default: %(default)s)")
    args = parser.parse_args()
    os.environ["IN_TEST"] = "1"
    failed = 0
    for backend in [args.backend] if args.backend else ["pytorch", "tf2"]:
        for path in args.notebooks or nbglob(NBS, as_path=True):
            start, problem = time.time(), failure(path.resolve(), backend, args.timeout)
            failed += bool(problem)
            print(f"{path.resolve().relative_to(ROOT)} on {backend}: {problem or 'works'} ({time.time() - start:.0f} s)", flush=True)
    if failed: sys.exit(f"{failed} notebooks fail.")


if __name__ == "__main__": main()
