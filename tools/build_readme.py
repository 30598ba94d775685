"""Make README.md from nbs/index.ipynb: prose as it is, code and its text output as blocks, without hidden cells."""
import re
from pathlib import Path

from execnb.nbio import read_nb
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = re.compile(r"^#\|\s*(hide|export|default_exp)\b", re.M)
DIRECTIVE = re.compile(r"^#\|.*\n?", re.M)


def page_of(notebook: str) -> str:
    "The site's page of a notebook: nbdev leaves out the numbers before names."
    return re.sub(r"(^|/)[0-9]+[a-z]*_", r"\1", notebook) + ".html"


def site_links(source: str) -> str:
    "Links to notebooks as links to the site's pages."
    site = f"{get_config().doc_host.rstrip('/')}/{get_config().doc_baseurl.strip('/')}/"
    return re.sub(r"\]\(([^):#\s]+)\.ipynb(#[^)\s]*)?\)", lambda m: f"]({site}{page_of(m[1])}{m[2] or ''})", source)


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


if __name__ == "__main__":
    parts = [block for cell in read_nb(ROOT / "nbs/index.ipynb").cells for block in blocks(cell)]
    (ROOT / "README.md").write_text("<!-- Made from nbs/index.ipynb by tools/build_readme.py: edit that. -->\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
