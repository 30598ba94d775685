"""Measure how much the backends differ, over all registered cases, and write parity/results.json.

python tools/parity_table.py                    hypothesis draws 20 cases for each maker, in float32 and float64
python tools/parity_table.py --cases 3 Conv2D   fewer cases, of these items only; nothing is written
"""
import argparse
import json
import math
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from babilim.core.backend import load_engine  # noqa: E402


def processor() -> str:
    "Its name, where the system tells it."
    try: lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError: return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def plain(value: object) -> object:
    "JSON has no infinity."
    if isinstance(value, dict): return {key: plain(v) for key, v in value.items()}
    return "inf" if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20, help="for each maker")
    parser.add_argument("items", nargs="*", help="only these; nothing is written")
    arguments = parser.parse_args()
    for backend in ("pytorch", "tf2"): load_engine(backend)
    from babilim.testing.runner import measure, public_items, registries, uncovered

    (makers, exceptions), kinds, items = registries(), public_items(), {}
    for name in sorted(set(arguments.items) & set(makers) if arguments.items else makers, key=str.lower):
        start = time.perf_counter()
        found = measure(makers[name], arguments.cases, values_only=name in exceptions)
        items[name] = {"kind": kinds.get(name, "more"), "reason": exceptions.get(name), **found}
        worst = {dtype: (f"{r['values']:.0e}", "-" if r["gradients"] is None else f"{r['gradients']:.0e}") for dtype, r in found.items()}
        print(f"{name:<32} {found['float64']['cases']:>4} cases  {worst}  {found['float32']['ill_conditioned'] or 'none'} ill conditioned  {time.perf_counter() - start:.1f} s", flush=True)
        for dtype, result in found.items():
            for failure in result["failures"][:5]: print(f"    {dtype}: {failure}"[:600], flush=True)
    failed = [name for name, found in items.items() if any(found[dtype]["failures"] for dtype in ("float32", "float64"))]
    missing = [] if arguments.items else uncovered([*makers, *exceptions])
    if not arguments.items:
        items |= {name: {"kind": kinds.get(name, "more"), "reason": reason} for name, reason in exceptions.items() if name not in makers}
        head = {"date": time.strftime("%Y-%m-%d"), "machine": {"cpu": processor(), "system": platform.system(), "python": platform.python_version()},
                "versions": {name: metadata.version(name) for name in ("numpy", "torch", "tensorflow", "hypothesis")}, "cases": arguments.cases}
        path = ROOT / "parity" / "results.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**head, "items": plain(items)}, indent=1) + "\n")
        print(f"{len(items)} items, {sum(r['float64']['cases'] for r in items.values() if 'float64' in r)} cases in each precision: {path.relative_to(ROOT)} is written.")
    if failed: print(f"Beyond the limits: {', '.join(failed)}.")
    if missing: print(f"In no registry: {', '.join(missing)}.")
    sys.exit(bool(failed or missing))


if __name__ == "__main__": main()
