"""Make README.md from nbs/index.ipynb: prose as it is, code and its text output as blocks, without hidden cells.

python tools/build_readme.py           writes README.md
python tools/build_readme.py --check   fails where README.md is another
"""
import re
import sys
from pathlib import Path

from execnb.nbio import read_nb
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = re.compile(r"^#\|\s*(hide|export|default_exp)\b", re.M)
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
    "The text that a code cell printed or showed."
    parts = ["".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in cell.outputs if o.get("name") != "stderr"]
    return "\n".join(p.rstrip() for p in parts if p.strip())


def blocks(cell) -> list[str]:
    "The parts of the README that a cell gives."
    if cell.cell_type == "markdown": return [site_links(cell.source)]
    if cell.cell_type != "code" or HIDDEN.search(cell.source): return []
    output = text_of(cell)
    return [f"```python\n{DIRECTIVE.sub('', cell.source).strip()}\n```"] + ([f"```text\n{output}\n```"] if output else [])


def main() -> None:
    parts = [block for cell in read_nb(ROOT / "nbs/index.ipynb").cells for block in blocks(cell)]
    text = "<!-- Made from nbs/index.ipynb by tools/build_readme.py: edit that. -->\n\n" + "\n\n".join(parts) + "\n"
    readme = ROOT / "README.md"
    if "--check" not in sys.argv[1:]: readme.write_text(text, encoding="utf-8")
    elif readme.read_text(encoding="utf-8") != text: sys.exit("README.md is not what nbs/index.ipynb gives. Run `make docs` and commit the difference.")


if __name__ == "__main__": main()
