"""Make README.md from nbs/index.ipynb: prose as it is, code and its text output as blocks, plots as files, without hidden cells.

python tools/build_readme.py           writes README.md and images/
python tools/build_readme.py --check   fails where they are others
"""
import base64
import re
import sys
from pathlib import Path

from execnb.nbio import read_nb
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = re.compile(r"^#\|\s*(hide|export|default_exp)\b", re.M)
OPTION = re.compile(r"^#\| *([\w-]+): *(.*?) *$", re.M)
IMAGES = "images"
DIRECTIVE = re.compile(r"^#\|.*\n?", re.M)


def page_of(notebook: str) -> str:
    "The name of a notebook's page: nbdev leaves out the numbers before names."
    return re.sub(r"(^|/)[0-9]+[a-z]*_(?=[^/]*$)", r"\1", notebook)


def map_links(source: str, target) -> str:
    "Links to notebooks as links to what `target` makes of their names."
    return re.sub(r"\]\(([^):#\s]+)\.ipynb", lambda m: f"]({target(m[1])}", source)


def site_links(source: str) -> str:
    "Links to notebooks as links to the site's pages."
    return map_links(source, lambda name: f"{get_config().doc_host.rstrip('/')}/{get_config().doc_baseurl.strip('/')}/{page_of(name)}.html")


def text_of(cell) -> str:
    "The text that a code cell printed or showed, unless it is a plot."
    shown = [o for o in cell.outputs if o.get("name") != "stderr" and "image/png" not in o.get("data", {})]
    parts = ["".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in shown]
    return "\n".join(p.rstrip() for p in parts if p.strip())


def plots_of(cell) -> list[bytes]:
    "The plots that a code cell showed, as PNG files."
    return [base64.b64decode("".join(o["data"]["image/png"])) for o in cell.outputs if "image/png" in o.get("data", {})]


def blocks(cell, images: dict[str, bytes]) -> list[str]:
    "The parts of the README that a cell gives; its plots go into `images`."
    if cell.cell_type == "markdown": return [site_links(cell.source)]
    if cell.cell_type != "code" or HIDDEN.search(cell.source): return []
    options, output = dict(OPTION.findall(cell.source)), text_of(cell)
    found = [] if options.get("echo") == "false" else [f"```python\n{DIRECTIVE.sub('', cell.source).strip()}\n```"]
    if output: found.append(f"```text\n{output}\n```")
    for plot in plots_of(cell):
        name = f"{IMAGES}/plot-{len(images) + 1}.png"
        images[name] = plot
        found.append(f"![{options.get('fig-alt', '')}]({name})")
    return found


def main() -> None:
    images: dict[str, bytes] = {}
    parts = [block for cell in read_nb(ROOT / "nbs/index.ipynb").cells for block in blocks(cell, images)]
    text = "<!-- Made from nbs/index.ipynb by tools/build_readme.py: edit that. -->\n\n" + "\n\n".join(parts) + "\n"
    made = {"README.md": text.encode(), **images}
    kept = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "README.md", *ROOT.glob(f"{IMAGES}/plot-*.png")) if path.exists()}
    if "--check" in sys.argv[1:]:
        if made != kept: sys.exit("README.md and its images are not what nbs/index.ipynb gives. Run `make docs` and commit the difference.")
        return
    for name in kept.keys() - made.keys(): (ROOT / name).unlink()
    (ROOT / IMAGES).mkdir(exist_ok=True)
    for name, content in made.items(): (ROOT / name).write_bytes(content)


if __name__ == "__main__": main()
