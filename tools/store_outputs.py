"""Run notebooks and store what they print and draw, for the site: python tools/store_outputs.py nbs/02_dataset.ipynb ...

On PyTorch the outputs go into the notebook itself, on TensorFlow into nbs/_tf2/, from where the site shows them in tabs. `make outputs` does it for the tutorial.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NBS, ASIDE = ROOT / "nbs", ROOT / "nbs" / "_tf2"


def digest(source: str) -> str:
    "Tells a cell from an earlier version of it."
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def executed(path: Path, backend: str, timeout: int = 3600, **hooks) -> nbformat.NotebookNode:
    "The notebook after a run from top to bottom; an error in a cell is raised. A cell may take `timeout` seconds."
    nb = nbformat.read(path, 4)
    os.environ.update(BABILIM_BACKEND=backend, TQDM_DISABLE="1", TF_CPP_MIN_LOG_LEVEL="3")
    NotebookClient(nb, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": path.parent}}, coalesce_streams=True, **hooks,
                   extra_arguments=["--InlineBackend.figure_formats={'retina'}"]).execute()
    for cell in nb.cells:
        if cell.cell_type == "code": cell.outputs = [] if cell.source.lstrip().startswith("#| hide\n") else [o for o in cell.outputs if o.get("name") != "stderr"]
    return nb


def store(path: Path, backend: str) -> Path:
    "Where the outputs are now."
    nb = executed(path, backend)
    if backend == "pytorch":
        nbformat.write(nb, path)
        subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", path], check=True)
        return path
    aside = ASIDE / path.relative_to(NBS).with_suffix(".json")
    aside.parent.mkdir(parents=True, exist_ok=True)
    found = {cell.id: {"source": digest(cell.source), "outputs": [plain(o) for o in cell.outputs]} for cell in nb.cells if cell.cell_type == "code" and cell.outputs}
    aside.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return aside


def plain(output: dict) -> dict:
    "An output without what differs from run to run."
    return {name: value for name, value in output.items() if name != "execution_count" and (name != "metadata" or value)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--backend", choices=("pytorch", "tf2"), help="default: both")
    args = parser.parse_args()
    for path in args.notebooks:
        for backend in [args.backend] if args.backend else ["pytorch", "tf2"]: print(f"Stored: {store(path.resolve(), backend).relative_to(ROOT)}", flush=True)


if __name__ == "__main__": main()
