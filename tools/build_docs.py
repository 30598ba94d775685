"""Render the notebooks, with the outputs that are stored in them, into docs/.

python tools/build_docs.py           writes docs/
python tools/build_docs.py --check   fails where docs/ is not what the notebooks give
"""
import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path

from build_readme import map_links, page_of
from execnb.nbio import mk_cell, read_nb, write_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from store_outputs import ASIDE, digest
from nbdev.processors import FilterDefaults, _default_exp, filter_stream_, hide_, hide_line, rm_header_dash, strip_ansi

CONFIG = get_config()
ROOT, NBS, DOCS = CONFIG.config_path, CONFIG.nbs_path, CONFIG.doc_path
BUILD = ROOT / "_proc"
PAGES, HTML = BUILD / "pages", BUILD / "html"
COLAB = f"https://colab.research.google.com/github/{CONFIG.user}/{CONFIG.repo}/blob/{CONFIG.branch}/{DOCS.name}"
SIDEBAR = {  # a folder stands for its notebooks, below its overview; what is named nowhere comes last
    "Tutorial": ["[0-9]*.ipynb", "fashion_mnist/command_line.ipynb", "new_project.ipynb"],
    "Guides": ["guides/*.ipynb"],
    "Reference": ["core", "backends", "data", "model", "training", "testing"],
    "Results": ["benchmark.ipynb", "faults.ipynb", "fashion_mnist/parity.ipynb"],
    "More": ["*.ipynb"],
}
ON_COLAB = f"""# Colab comes without babilim; some pages read from the repository, and the loaders download their data into it
import os, sys
if "google.colab" in sys.modules:
    if not os.path.exists("/content/babilim"):
        !git clone -q --depth 1 {CONFIG.git_url} /content/babilim
    %pip install -q -e /content/babilim hypothesis
    sys.path.insert(0, "/content/babilim")
    os.chdir("/content/babilim/nbs/FOLDER")
"""


class Filters(FilterDefaults):
    "nbdev's processing of a page, except that the library's code stays: it is the text of the lesson."
    def base_procs(self): return [strip_ansi, hide_line, filter_stream_, rm_header_dash, hide_]


# ---- From a notebook to a page ----

def docname(notebook: Path) -> str:
    "The name of a notebook's page."
    return page_of(str(notebook.with_suffix("")))


def callouts(source: str) -> str:
    "Quarto's `::: {.callout-note}`, with a heading in it, as an admonition with a title."
    return re.sub(r"^::: *\{\.callout-(\w+)\}\n(?:#+ (.*)\n)?", lambda m: f":::{{admonition}} {m[2] or m[1].title()}\n:class: {m[1]}\n\n", source, flags=re.M)


def with_options(cell, heading: str):
    "The cell with its `#| name: value` lines as settings of myst-nb; the heading describes images that have no `fig-alt`."
    options = {name: value.strip("'\"") for name, value in re.findall(r"^#\| *([\w-]+): *(.*?) *$", cell.source, re.M)}
    cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip("\n")
    cell.metadata["tags"] = [f"remove-{part}" for part, name in (("input", "echo"), ("output", "output")) if options.get(name) == "false"]
    cell.metadata["mystnb"] = {"image": {"alt": options.get("fig-alt", heading)}, **({"figure": {"caption": options["fig-cap"]}} if "fig-cap" in options else {})}
    return cell


def is_literal(value: ast.expr) -> bool:
    try: ast.literal_eval(value)
    except ValueError: return False
    return True


def definitions(source: str) -> dict[str, bool]:
    "The public names that a cell defines, each with whether it is a constant."
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)): found[node.name] = False
        if isinstance(node, ast.Assign):
            names = [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            found |= dict.fromkeys(names, is_literal(node.value))
    return {name: constant for name, constant in found.items() if not name.startswith("_")}


def fold_imports(cell) -> None:
    "What a module imports is shown to those who ask: a page has other things to say first."
    if not all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(cell.source).body): return
    cell.metadata["tags"].append("hide-input")
    cell.metadata["mystnb"] |= dict.fromkeys(("code_prompt_show", "code_prompt_hide"), "Imports")


def page_cells(notebook: Path) -> list:
    "The cells of a page: those of the notebook as nbdev filters them, and the reference of what they export."
    nb = read_nb(NBS / notebook)
    module = f"{CONFIG.lib_path.name}.{_default_exp(nb)}".removesuffix(".__init__")
    differing = on_tensorflow(notebook, nb.cells)
    exports = [cell for cell in nb.cells if re.search(r"^#\| *export", cell.source, re.M)]
    Filters()(nb)
    cells, heading, exported = [], "", {}
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ +(.+)$", cell.source, re.M) or [heading])[-1]
            cells.append(mk_cell(callouts(map_links(cell.source, lambda target: page_of(target) + ".ipynb")), "markdown"))
        elif cell.source.strip() and not re.search(r"^_all_ *=", cell.source, re.M):  # a package's list of names is no lesson
            new = definitions(cell.source) if any(cell is export for export in exports) else {}
            cells.append(mk_cell("".join(f'<a id="source-{name}"></a>' for name in new if name not in exported), "markdown"))
            cells.append(with_options(cell, heading))
            if any(cell is export for export in exports): fold_imports(cell)
            if cell["id"] in differing:
                cells.append(mk_cell(tabs(docname(notebook), cell, differing[cell["id"]]), "markdown"))
                cell.outputs = []
            exported |= new
    if any(cell.cell_type == "code" for cell in cells): cells.insert(1, mk_cell(run_links(notebook), "markdown"))
    if exported: cells.append(mk_cell(reference(module, exported, f"{docname(notebook)}.reference"), "markdown"))
    return [cell for cell in cells if cell.source]


def reference(module: str, exported: dict[str, bool], file: str) -> str:
    "The part of a page that says how what it exports is used."
    constants = [f".. autodata:: {module}.{name}\n" for name, constant in exported.items() if constant]
    others = [name for name, constant in exported.items() if not constant]
    entries = "\n".join([f".. automodule:: {module}\n   :members: {', '.join(others)}\n" if others else f".. py:module:: {module}\n", *constants])
    # in a file of its own, as the parser counts ten thousand lines for each cell of a notebook, and would read them all
    (PAGES / file).parent.mkdir(parents=True, exist_ok=True)
    (PAGES / file).write_text(f"## Reference\n\n```{{eval-rst}}\n{entries}```\n")
    return f"```{{include}} /{file}\n```"


# ---- Outputs on both backends ----

FLEETING = re.compile(r"\d{4}-\d\d-\d\d[ _T]\d\d[:.]\d\d[:.]\d\d|ETA [\d:]+|\d+(\.\d+)? ?(ms|s|seconds)\b")  # dates and durations


def on_tensorflow(notebook: Path, cells: list) -> dict[str, list]:
    "By cell, what it gave on TensorFlow, where that is known and not what it gave on PyTorch."
    path = ASIDE / notebook.with_suffix(".json")
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    fitting = {cell["id"]: cell for cell in cells if cell.cell_type == "code" and stored.get(cell["id"], {}).get("source") == digest(cell.source)}
    return {name: stored[name]["outputs"] for name, cell in fitting.items() if lasting(cell.outputs) != lasting(stored[name]["outputs"])}


def lasting(outputs: list) -> list[str]:
    "What does not change from run to run."
    found = [o.get("data", {}).get("image/png") or o.get("data", {}).get("text/plain") or o.get("text", "") for o in outputs]
    return [FLEETING.sub("", "".join(value)).strip() for value in found]


def shown(output: dict, picture: Path, alt: str) -> str:
    "One output as Markdown; `picture` is where an image may be put."
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items() if isinstance(value, (str, list))}
    if "image/png" in data:
        picture.write_bytes(base64.b64decode(data["image/png"]))
        width = output.get("metadata", {}).get("image/png", {}).get("width")  # of sharp images, which have twice the pixels
        return f"```{{image}} {picture.name}\n:alt: {alt}\n" + (f":width: {width}px\n" if width else "") + "```"
    if "text/html" in data: return f"```{{raw}} html\n{data['text/html']}\n```"
    if "text/markdown" in data: return data["text/markdown"]
    return f"```text\n{''.join(output.get('text', '')) or data.get('text/plain', '')}\n```"


def tabs(page: str, cell, tensorflow: list) -> str:
    "What a cell gave on PyTorch and on TensorFlow, one behind the other."
    alt, items = cell.metadata["mystnb"]["image"]["alt"], []
    for backend, outputs in (("PyTorch", cell.outputs), ("TensorFlow", tensorflow)):
        place = PAGES / f"{page}-{cell['id']}-{backend.lower()}"
        place.parent.mkdir(parents=True, exist_ok=True)
        parts = [shown(output, place.with_name(f"{place.name}-{i}.png"), alt) for i, output in enumerate(outputs)]
        items.append("\n\n".join([f"::::{{tab-item}} {backend}\n:sync: {backend}", *parts, "::::"]))
    return "\n\n".join([":::::{tab-set}\n:sync-group: backend\n:class: outputs", *items, ":::::"])


# ---- Run this notebook ----

def run_links(notebook: Path) -> str:
    "Where the notebook of a page is found to be run."
    return (f'<p class="run">Run this notebook: <a href="{"../" * (len(notebook.parts) - 1)}run/{notebook}" download>Jupyter</a>'
            f' <a href="{COLAB}/run/{notebook}">Colab</a></p>')


def write_runnable(notebook: Path) -> None:
    "The notebook to be run elsewhere: without outputs, and without what only works in the repository."
    nb = read_nb(NBS / notebook)
    nb.cells = [mk_cell(ON_COLAB.replace("FOLDER", str(notebook.parent)), "code")] + [cell for cell in nb.cells if "nbdev_export()" not in cell.source]
    for i, cell in enumerate(nb.cells):
        cell["id"] = f"cell-{i}"
        if cell.cell_type == "code": cell.outputs, cell.execution_count = [], None
    write(nb, BUILD / "extra/run" / notebook)


# ---- All pages ----

def write(nb, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nb(nb, path)


def sidebar(notebooks: list[Path]) -> dict[str, list]:
    "By page, the captions and pages of what stands below it in the sidebar; previous and next follow this order, too."
    below, left = defaultdict(list), list(notebooks)

    def take(wanted) -> list[str]:
        found = [n for n in left if wanted(n)]
        for n in found: left.remove(n)
        return [docname(n) for n in found]

    def section(folder: str) -> str:
        home = f"{folder}/overview"
        take(lambda n: docname(n) == home)
        pages = take(lambda n: str(n.parent) == folder)
        pages += [section(f"{folder}/{name}") for name in sorted({n.relative_to(folder).parts[0] for n in left if n.is_relative_to(folder)})]
        below[home].append(("", pages))
        return home

    take(lambda n: docname(n) == "index")
    for caption, entries in SIDEBAR.items():
        pages = [page for entry in entries for page in (take(lambda n: fnmatch(str(n), entry)) if "." in entry else [section(entry)])]
        below["index"].append((caption, pages + (["genindex"] if caption == "Reference" else [])))
    return below


def toctrees(captioned: list) -> str:
    "What stands below a page, for the sidebar alone."
    return "\n\n".join("\n".join([":::{toctree}", ":hidden:", *([f":caption: {caption}"] if caption else []), "", *(f"/{page}" for page in pages), ":::"])
                       for caption, pages in captioned if pages)


def write_pages() -> None:
    "Lay out what Sphinx reads."
    found = sorted(path.resolve().relative_to(NBS.resolve()) for path in nbglob(NBS, as_path=True))
    notebooks = {docname(notebook): notebook for notebook in found}
    if len(notebooks) < len(found): sys.exit(f"Two notebooks would be the same page: {', '.join(map(str, set(found) - set(notebooks.values())))} and another.")
    below = sidebar(found)
    for name, notebook in notebooks.items():
        nb = read_nb(NBS / notebook)
        nb.cells = page_cells(notebook) + [mk_cell(toctrees(below[name]), "markdown")]
        for i, cell in enumerate(nb.cells): cell["id"] = f"cell-{i}"
        write(nb, PAGES / f"{name}.ipynb")
        write_runnable(notebook)
    for name in below.keys() - notebooks.keys():  # a folder that has no overview of its own
        entries = "\n".join(f"- [](/{page}){summary(notebooks.get(page))}" for _, pages in below[name] for page in pages)
        (PAGES / f"{name}.md").write_text(f"# {Path(name).parent.name.title()}\n\n{entries}\n\n{toctrees(below[name])}\n")
    shutil.copytree(NBS, PAGES, dirs_exist_ok=True, ignore=lambda folder, names: [n for n in names if n[0] in "._" or n.endswith(".ipynb")])  # pictures


def summary(notebook: Path | None) -> str:
    "What a notebook says below its title."
    found = notebook and re.search(r"^> (.+)$", read_nb(NBS / notebook).cells[0].source, re.M)
    return f": {found[1]}" if found else ""


def build() -> None:
    "The site in HTML; the same bytes from the same notebooks, wherever and whenever."
    shutil.rmtree(BUILD, ignore_errors=True)
    write_pages()
    environment = dict(os.environ, SOURCE_DATE_EPOCH="0", PYTHONHASHSEED="0", TZ="UTC", LC_ALL="C.UTF-8", TF_CPP_MIN_LOG_LEVEL="3")
    subprocess.run([sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-E", "-c", ROOT / "tools/docs",
                    "-d", BUILD / "doctrees", PAGES, HTML], cwd=ROOT, env=environment, check=True)
    (HTML / ".buildinfo").unlink()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    if sys.version_info < (3, 11): return print(f"{DOCS.name}/ is NOT BUILT OR CHECKED: Sphinx 9 needs Python 3.11 or newer.")
    try: build()
    except subprocess.CalledProcessError as error: sys.exit(f"Sphinx could not build the site (exit code {error.returncode}); its messages above name the page.")
    if "--check" in sys.argv[1:]:
        new, old = files(HTML), files(DOCS)
        stale = sorted(name for name in {*new, *old} if new.get(name) != old.get(name))
        if stale: sys.exit(f"{len(stale)} files in {DOCS.name}/ are not what the notebooks give: {', '.join(stale)}.\nRun `make docs` and commit the difference.")
        return print(f"{DOCS.name}/ is fresh.")
    shutil.rmtree(DOCS, ignore_errors=True)
    shutil.copytree(HTML, DOCS)


if __name__ == "__main__": main()
