"""Check the site in docs/ as a reader's browser sees it, from the file system.

python tools/check_site.py                   links, anchors and images; then every page in headless Chromium
python tools/check_site.py --pictures DIR    also saves pictures of some pages, to look at
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from nbdev.config import get_config

DOCS = get_config().doc_path
SEARCHES = {"Conv2D": "babilim.model.layers.convolution.Conv2D", "resume": "trainer.html"}  # and a part of what must be found
PICTURES = {"landing": "index.html", "chapter": "visualization.html", "reference": "model/layers/convolution.html#reference", "search": "search.html?q=Conv2D"}
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
WIDTHS = (360, 768, 1280, 1340, 1520, 1600, 1920)
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


# ---- What the files say ----

def static_problems(pages: dict[Path, BeautifulSoup]) -> list[str]:
    "Links and anchors that lead nowhere, files of other hosts, images without a description."
    anchors = {page: {tag["id"] for tag in soup.find_all(id=True)} | {""} for page, soup in pages.items()}
    problems = []
    for page, soup in pages.items():
        name = page.relative_to(DOCS)
        for tag, attribute in [("a", "href"), ("link", "href"), ("script", "src"), ("img", "src")]:
            for element in soup.find_all(tag, **{attribute: True}):
                url = urlsplit(element[attribute])
                if url.scheme == "data": continue  # the image itself
                if url.scheme or url.netloc:
                    if tag != "a": problems.append(f"{name} loads {element[attribute]}, which is not in {DOCS.name}/")
                    continue
                target = (page.parent / unquote(url.path)).resolve() if url.path else page
                if not target.is_file(): problems.append(f"{name} links to {element[attribute]}, which is not there")
                elif target in anchors and unquote(url.fragment) not in anchors[target]: problems.append(f"{name} links to {element[attribute]}, which has no such part")
        problems += [f"{name} has an image without alternative text: {image['src']}" for image in soup.find_all("img") if not image.get("alt", "").strip()]
    return problems


# ---- What a browser does with them ----

def find_chromium() -> str | None:
    "Chromium's path; root on Debian installs it."
    names = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, names)) and shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Chromium to check the site ...", flush=True)
        for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]): subprocess.run(["apt-get", "-qq", *command], stdout=subprocess.DEVNULL)
    return next(filter(None, map(shutil.which, names)), None)


class Reader:
    "A page of the browser that notes what goes wrong in it."
    def __init__(self, context):
        self.page, self.problems = context.new_page(), []
        self.page.on("console", lambda message: self.note(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.note(str(error)))
        self.page.on("request", lambda request: None if request.url.startswith((DOCS.as_uri(), "data:")) else self.note(f"asks for {request.url}"))
        self.page.on("requestfailed", lambda request: self.note(f"does not get {request.url}"))

    def note(self, problem: str) -> None: self.problems.append(f"{self.at}: {problem}")

    def open(self, name: str) -> None:
        self.at = name
        self.page.goto(f"{DOCS.as_uri()}/{name}")

    def check_width(self) -> None:
        "No page has to be moved sideways."
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            over = self.page.evaluate("Math.max(...[document.documentElement, document.querySelector('.content')].map(e => e.scrollWidth - e.clientWidth))")
            if over > 0: self.note(f"is {over} pixels too wide for a window of {width}")

    def check_maths(self) -> None:
        left = self.page.evaluate("Promise.resolve(window.MathJax?.startup.promise).then(() => document.querySelectorAll('.math:not(:has(mjx-container))').length)")
        if left: self.note(f"has {left} formulas that are not drawn")

    def check_search(self, words: str, expected: str) -> None:
        self.open(f"search.html?q={words}")
        self.page.wait_for_function("document.querySelector('#search-results > p')?.textContent.match(/found|match/)", timeout=10_000)
        if not any(expected in link.get_attribute("href") for link in self.page.query_selector_all("#search-results a")): self.note(f"does not find {expected}")

    def check_themes(self) -> None:
        "Light and dark are two different things."
        colours = set()
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.open("index.html")
            colours.add(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.page.emulate_media(color_scheme="light")
        if len(colours) == 1: self.note("looks the same in the light and the dark theme")

    def take_pictures(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
            for scheme in ("light", "dark"):
                self.page.set_viewport_size(size)
                self.page.emulate_media(color_scheme=scheme)
                for title, name in PICTURES.items():
                    self.open(name)
                    self.page.wait_for_timeout(1000)  # until it has scrolled to the anchor
                    self.page.screenshot(path=folder / f"{title}-{device}-{scheme}.png")


def browser_problems(chromium: str, names: list[str], pictures: Path | None) -> list[str]:
    "What goes wrong when all pages are opened."
    from playwright.sync_api import sync_playwright
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium, headless=True, chromium_sandbox=False, args=FLAGS, viewport=DESKTOP)
        reader = Reader(context)
        for name in names:
            reader.open(name)
            reader.check_maths()
            reader.check_width()
        for words, expected in SEARCHES.items(): reader.check_search(words, expected)
        reader.check_themes()
        if pictures: reader.take_pictures(pictures)
        context.close()
    return reader.problems


def main() -> None:
    parser = argparse.ArgumentParser(description="Check the site in docs/: links, anchors, images, and every page in a browser.")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of some pages")
    args = parser.parse_args()
    files = sorted(DOCS.rglob("*.html"))
    problems = static_problems({page: BeautifulSoup(page.read_bytes(), "html.parser") for page in files})
    chromium = find_chromium()
    if chromium: problems += browser_problems(chromium, [str(page.relative_to(DOCS)) for page in files], args.pictures)
    elif os.environ.get("CI"): problems.append("Chromium is missing and could not be installed, so no page was opened")
    if problems: sys.exit(f"The site in {DOCS.name}/ has {len(problems)} problems:\n  " + "\n  ".join(problems))
    print(f"{len(files)} pages: all links and images are right; " + ("all open without errors and requests." if chromium
          else "NOT CHECKED in a browser, as there is no Chromium. On Debian: apt-get install chromium"))


if __name__ == "__main__": main()
