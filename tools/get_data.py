"""Bring Fashion-MNIST to where the loader of a backend looks for it.

python tools/get_data.py --backend pytorch --data-dir data

In this order: what is there already; the loader's own download; Debian's package dataset-fashion-mnist,
installed or fetched with apt-get (no root needed); else an error that names all three.
"""
import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SIZES = {"train-images": 47040016, "train-labels": 60008, "t10k-images": 7840016, "t10k-labels": 10008}  # bytes, unpacked
DEBIAN = Path("usr/share/datasets/fashion-mnist")
DOWNLOAD = {
    "pytorch": "import sys; from torchvision.datasets import FashionMNIST; FashionMNIST(sys.argv[1], download=True)",
    "tf2": "from tensorflow.keras.datasets import fashion_mnist; fashion_mnist.load_data()",
}


def places(backend: str, data_dir: str) -> list[Path]:
    "The four files that the backend's loader reads."
    if backend == "pytorch": return [Path(data_dir, "FashionMNIST", "raw", name) for name in NAMES]
    return [Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", "fashion-mnist", name + ".gz") for name in NAMES]


def is_whole(path: Path) -> bool:
    "Whether the file is there with its full content."
    size = SIZES["-".join(path.name.split("-")[:2])]
    try:
        if path.suffix != ".gz": return path.stat().st_size == size
        with gzip.open(path) as file: return sum(len(block) for block in iter(lambda: file.read(1 << 20), b"")) == size
    except (OSError, EOFError): return False


def download(backend: str, data_dir: str) -> str:
    "Let the loader download; returns what went wrong, or nothing."
    try: done = subprocess.run([sys.executable, "-c", DOWNLOAD[backend], data_dir], capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired: return "it took longer than ten minutes"
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"exit code {done.returncode}"


def unpack(source: Path, targets: list[Path]) -> None:
    "Copy Debian's gzipped files to where the loader looks, each whole or not at all."
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = source / (target.name.removesuffix(".gz") + ".gz")
        temporary = target.with_name(target.name + ".part")
        with (open(packed, "rb") if target.suffix == ".gz" else gzip.open(packed)) as read, open(temporary, "wb") as write:
            shutil.copyfileobj(read, write)
        temporary.replace(target)


def fetch_package(folder: Path) -> None:
    "Download and unpack Debian's package below `folder` with apt's state there too, so that no root is needed."
    for part in ("lists/partial", "cache/archives/partial"): (folder / part).mkdir(parents=True)
    options = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=root", "-qq"]
    subprocess.run(["apt-get", *options, "update"], check=True, cwd=folder)
    subprocess.run(["apt-get", *options, "download", "dataset-fashion-mnist"], check=True, cwd=folder)
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)


def from_debian(targets: list[Path]) -> str:
    "Take the files from Debian's package; returns what went wrong, or nothing."
    if (Path("/") / DEBIAN).is_dir():
        unpack(Path("/") / DEBIAN, targets)
        return ""
    if shutil.which("apt-get") is None: return "there is no apt-get here"
    with tempfile.TemporaryDirectory() as folder:
        try:
            fetch_package(Path(folder))
            unpack(Path(folder) / DEBIAN, targets)
        except (subprocess.CalledProcessError, OSError, StopIteration) as error: return str(error)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Bring Fashion-MNIST (31 MB) to where the loader of a backend looks for it.")
    parser.add_argument("--backend", choices=tuple(DOWNLOAD), default="pytorch")
    parser.add_argument("--data-dir", default="data", help="where torchvision looks (default: data); Keras looks in the home folder")
    args = parser.parse_args()
    targets = places(args.backend, args.data_dir)
    if all(map(is_whole, targets)): return
    print(f"Getting Fashion-MNIST for {args.backend} ...", flush=True)
    for broken in targets:
        if broken.exists() and not is_whole(broken): broken.unlink()
    reasons = [download(args.backend, args.data_dir)]
    if not all(map(is_whole, targets)):
        print("The loader could not download it; trying Debian's package.", flush=True)
        reasons.append(from_debian(targets))
    if not all(map(is_whole, targets)):
        sys.exit(f"Fashion-MNIST could not be fetched to {targets[0].parent}.\n  The loader's download: {reasons[0]}\n  Debian's package dataset-fashion-mnist: {reasons[1]}\n"
                 f"Copy {', '.join(t.name for t in targets)} there, or train on the shipped sample with ARGS=--sample.")
    print(f"Fashion-MNIST is in {targets[0].parent}", flush=True)


if __name__ == "__main__": main()
