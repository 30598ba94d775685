"Sphinx's settings for the site. tools/build_docs.py lays out the pages and runs Sphinx: `make docs`."
import re

from docutils import nodes
from fastcore.docments import docments
from nbdev.config import get_config
from sphinx import addnodes

from babilim._modidx import d as index

config = get_config()
project, author, release, project_copyright = config.title, config.author, config.version, config.copyright
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "sphinx.ext.mathjax", "sphinx.ext.githubpages", "sphinx_copybutton", "sphinx_design"]

# Pages: what the notebooks hold, with the outputs that are stored in them
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables in outputs
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
mathjax_path = "mathjax/tex-svg-full.js"  # a copy, which needs no network and loads no fonts

# Reference: from the exported library
default_role = "literal"
autodoc_default_options = {"show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_mock_imports = ["tensorflow", "torch", "torchvision"]  # their types are shown by name: no matter which version is there
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
add_module_names = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 110
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
html_domain_indices = False  # every module has a page in the sidebar

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = project
html_theme_options = {"top_of_page_buttons": []}
html_static_path = ["_static"]
html_css_files, html_js_files = ["site.css"], ["site.js"]
html_extra_path = ["../../_proc/extra"]  # the notebooks to be run
html_copy_source = html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"

MODULES, SYMBOLS = {}, {}  # the page of each module; by name, the symbols on each page
for module, names in index["syms"].items():
    for full, (address, _) in names.items():
        page = MODULES[module] = address.split(".html")[0]
        if "._" not in full: SYMBOLS.setdefault(full.removeprefix(module + "."), {})[page] = full


def linkcode_resolve(domain, info):
    "The source of a symbol is the cell above that exports it."
    return "#source-" + info["fullname"].split(".")[0]


def as_rst(text):
    "A docstring is prose with `code` in it, in which no other character has a meaning."
    return re.sub(r"(`[^`]+`)|([*_|\\])", lambda m: f"\\ {m[1]}\\ " if m[1] else "\\" + m[2], text)


def add_parameters(app, what, name, obj, options, lines):
    "Parameters and result as they are described beside the signature."
    if what in ("module", "data"): return lines.clear()  # the page says it; that of the value's type
    lines[:] = [as_rst(line) for line in lines]
    if what not in ("class", "exception", "function", "method"): return
    said = {key: as_rst(" ".join(note.docment.split())) for key, note in docments(obj, full=True).items() if note.docment}
    lines += ["", *(f":returns: {text}" if key == "return" else f":param {key}: {text}" for key, text in said.items()), ""]


def tidy(app, doctree):
    "Leave out what goes without saying; the name of a symbol, written as code, leads to its reference."
    for part in [*doctree.findall(nodes.field), *doctree.findall(nodes.paragraph)]:  # each result's type is in the signature
        if part.astext() == "Bases: object" or isinstance(part, nodes.field) and part[0].astext() == "Return type": part.parent.remove(part)
    for code in list(doctree.findall(nodes.literal)):
        name, link = code.astext().removesuffix("()"), None
        if isinstance(code.parent, (nodes.title, nodes.reference, addnodes.pending_xref)): continue
        found = SYMBOLS.get(name, {})  # where several modules have the name, that of the page is meant
        symbol = found.get(app.env.docname, *(found.values() if len(found) == 1 else ()))
        if symbol: link = {"refdomain": "py", "reftype": "obj", "reftarget": symbol}
        if name in MODULES: link = {"refdomain": "std", "reftype": "doc", "reftarget": "/" + MODULES[name], "refexplicit": True}
        if link: code.replace_self(addnodes.pending_xref("", code.deepcopy(), refdoc=app.env.docname, **link))


def skip_fields(app, what, name, obj, skip, options):
    "A named tuple is documented by its name, not by the positions of its fields."
    return True if (obj.__doc__ or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-process-docstring", add_parameters)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("doctree-read", tidy)
