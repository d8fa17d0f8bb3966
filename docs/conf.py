"""Build the documentation site with Sphinx.

    python -m sphinx -nW -c docs . build/site      # from the root of the repository

The pages are the Markdown files that GitHub shows; nothing in them is written for Sphinx. This file
makes all else that Sphinx needs:

- the table of contents, from the lists of links in docs/index.md;
- reStructuredText, from docstrings;
- entries for all modules; each folder of gluon_rbm has one page;
- links from the names of functions to their entries.
"""

import importlib
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.ext import napoleon
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util.logging import getLogger
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[1]
API = "docs/api/"  # a page for each folder of gluon_rbm
BESIDE = {  # page -> modules outside these folders that have their entries there
    "models": ["binary_rbm"],
    "likelihood": ["ais"],
    "training": ["binary_rbm_gluon", "binary_rbm_module"],
    "cli": ["gluon_rbm.__main__"],
    "backend": ["gluon_rbm.errors"],
}
TYPES = "gluon_rbm.backend.types."  # signatures show the names of these types as they are written
sys.path.insert(0, str(ROOT))

import gluon_rbm  # noqa: E402

logger = getLogger(__name__)
project, copyright, release = "mxnet-rbm", "the authors of mxnet-rbm; Apache 2.0", gluon_rbm.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_nb"]
NUMPYDOC = napoleon.Config(napoleon_use_param=False, napoleon_use_rtype=False, napoleon_use_ivar=True)
# Sections of docstrings that list names.
ENTRIES = ("Parameters", "Other Parameters", "Returns", "Yields", "Raises", "Warns", "Attributes")
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/*.ipynb",
    "docs/api/*.rst",
    "docs/reference-runs/*.md",
]
html_theme, html_title, html_copy_source = "furo", "mxnet-rbm", False
html_static_path, html_css_files = ["static"], ["site.css"]
highlight_language = "none"  # for blocks that name no language: commands, formulas
myst_heading_anchors = 3  # [text](page.md#heading), as on GitHub
nb_execution_mode = "off"  # notebooks keep their results, because MNIST may be missing
default_role = "code"
add_module_names = False  # each module has a heading
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # docstrings of MXNet are written for its own site
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {name: TYPES + name for name in importlib.import_module(TYPES[:-1]).__all__}
suppress_warnings = ["ref.python"]  # some classes have two entries, because `ais` shows them again
nitpick_ignore_regex = [
    ("py:class", r"(numpy|os)\..*"),  # in "alias of" texts of gluon_rbm.backend.types
    ("py:exc", "MXNetError"),
]


def setup(app):
    app.connect("env-get-outdated", pages_with_news)
    app.connect("source-read", add_contents)
    app.connect("source-read", add_modules)
    app.connect("autodoc-process-docstring", to_restructured_text)
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("missing-reference", leave_type)
    app.connect("doctree-resolved", link_names)
    app.connect("build-finished", add_entrance)


def add_contents(app, docname, source):
    """Add the table of contents: a part for each list of links in index.md, and all other pages."""
    if docname != root_doc:
        return
    parts, others = [], app.env.found_docs - {root_doc}
    for caption, text in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", source[0], re.MULTILINE | re.DOTALL):
        links = re.findall(r"^- \[([^]]+)\]\(([^)#]+)\.\w+\)", text, re.MULTILINE)
        pages = [(title, (ROOT / "docs" / path).resolve().relative_to(ROOT).as_posix()) for title, path in links]
        parts.append((caption, ["%s </%s>" % page for page in pages]))
        others -= {page for _, page in pages}
    parts.append(("More", ["/" + page for page in sorted(others)]))
    for caption, entries in parts:
        if entries:
            source[0] += "\n```{toctree}\n:hidden:\n:caption: %s\n\n%s\n```\n" % (caption, "\n".join(entries))


def pages_with_news(app, env, added, changed, removed):
    """Return the pages to build each time, because there may be new modules or pages."""
    return [root_doc, *(page for page in env.found_docs if page.startswith(API))]


def add_modules(app, docname, source):
    """Add the entries of the modules in a folder of gluon_rbm to the folder's page."""
    if not docname.startswith(API):
        return
    room = docname[len(API) :]
    modules = BESIDE.get(room, []) + sorted(_modules(ROOT / "gluon_rbm" / room))
    for name in modules:
        source[0] += "\n%s\n%s\n\n.. automodule:: %s\n" % (name, "-" * len(name), name)


def _modules(folder):
    """Yield the names of all modules in a folder. Packages without `__all__` are left out."""
    for path in folder.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name != "__init__.py":
            yield name
        elif "__all__" in path.read_text(encoding="utf-8"):
            yield name.rpartition(".")[0]


def add_entrance(app, exception):
    """Write index.html at the top, which leads to docs/index.html."""
    if exception is None and app.builder.format == "html":
        entrance = '<!DOCTYPE html><meta charset="utf-8"><title>%s</title>\n' % project
        entrance += '<meta http-equiv="refresh" content="0; url=%s.html">\n' % root_doc
        Path(app.outdir, "index.html").write_text(entrance, encoding="utf-8")


# --- Docstrings -----------------------------------------------------------------------------------


def to_restructured_text(app, what, name, obj, options, lines):
    """Turn a numpydoc docstring into reStructuredText, with formulas, stars and bars as written."""
    # This is Python's docstring for the field of a named tuple.
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    result, section = [], None
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        heading = re.match(r"(\w.*)\n-+\n", block)
        if heading:
            section = heading.group(1)
            result += block[: heading.end()].split("\n")[:-1]
            block = block[heading.end() :]
        if block.startswith(">>> "):  # an example
            result += [*block.split("\n"), ""]
        elif section in ENTRIES:
            result += [line if line[:1].strip() else _escaped(line) for line in block.split("\n")] + [""]
        elif block[:1].isspace():  # a formula
            result += ["::", "", *block.split("\n"), ""]
        else:
            result += [*_escaped(block).split("\n"), ""]
    # For a value, Napoleon would take the text before a colon for a type.
    is_value = what in ("attribute", "data")
    lines[:] = result if is_value else NumpyDocstring(result, NUMPYDOC, app, what, name, obj, options).lines()


def _escaped(text):
    parts = re.split(r"(`[^`]*`|\*\*\w[^*]*\w\*\*)", text)  # names and bold words
    parts[::2] = [re.sub(r"[*|\\]|_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    parts[2::2] = [re.sub(r"^(?=\w)", r"\\ ", part) for part in parts[2::2]]  # "`operand`s"
    return "".join(parts)


def shorten_types(app, what, name, obj, options, signature, returned):
    """Show types in signatures by their names, without modules, as links.

    Sphinx writes types in unions as TypeAliasForwardRef('name').
    """

    def shortened(text):
        text = re.sub(r"TypeAliasForwardRef\('([\w.]+)'\)", r"\1", text or "")
        return re.sub(r"(?<![\w.~])(?=%s)" % re.escape(TYPES), "~", text) or None

    return shortened(signature), shortened(returned)


def skip_foreign(app, what, name, obj, skip, options):
    """Skip methods that scikit-learn adds to estimators, and names imported from other modules."""
    module = sys.modules[app.env.temp_data["autodoc:module"]]
    source = getattr(obj, "__module__", None) or ""
    from_elsewhere = what == "module" and source.startswith("gluon_rbm.") and source != module.__name__
    is_shown_once = module.__name__.startswith("gluon_rbm.") and not hasattr(module, "__path__")
    return skip or bool(re.match(r"set_\w+_request$", name)) or (from_elsewhere and is_shown_once) or None


# --- Links ----------------------------------------------------------------------------------------


def leave_type(app, env, node, text):
    """Accept types in signatures that have no entry on the site, such as NumPy's and MXNet's."""
    parent = node.parent
    while parent is not None and not isinstance(parent, addnodes.desc_signature):
        parent = parent.parent
    return None if parent is None else text


def link_names(app, doctree, docname):
    """Link names to their entries.

    On any page these are full names, such as `ais.bracket`. In docstrings they are also names of
    the same class or module. A full name without an entry gives a warning.
    """
    objects, last = app.env.get_domain("py").objects, ""
    for node in list(doctree.findall(nodes.literal)):
        text = node.astext().rstrip("()")
        if isinstance(node.parent, nodes.reference) or not re.fullmatch(r"[A-Za-z_.][\w.]*", text):
            continue
        if text.startswith("."):  # "`ais.LogPartition.low`, `.high`"
            text = last.rpartition(".")[0] + text
        name = next((name for name in _meanings(text, _scope(node)) if name in objects), None)
        parent = objects.get(text.rpartition(".")[0])
        # A method without an entry leads to its class.
        if name is None and parent and parent.objtype == "class":
            name = text.rpartition(".")[0]
        if name:
            last, entry = text, objects[name]
            link = make_refnode(app.builder, docname, entry.docname, entry.node_id, _breakable(node.astext()), name)
            node.replace_self(link)
        elif re.match(r"(gluon_rbm|ais|binary_rbm)\.(?!py$)", node.astext()):
            logger.warning("there is no entry for %s", text, location=node, type="names")


def _meanings(text, scope):
    """Yield the full names that a text may mean, beginning with the narrowest scope."""
    while scope:
        yield scope + "." + text
        scope = scope.rpartition(".")[0]
    yield text


def _breakable(text):
    """Return a name that can break at its dots, for narrow tables."""
    shown = nodes.literal()
    for part in re.findall(r"[^.]*[^.]\.?|\.", text):
        shown += [nodes.Text(part), nodes.raw("", "<wbr>", format="html")]
    return shown


def _scope(node):
    """Return the name of the class, function or module that has the docstring of a node."""
    while node is not None:
        if isinstance(node, addnodes.desc):
            return ".".join(filter(None, (node[0].get("module"), node[0].get("fullname"))))
        if isinstance(node, nodes.section) and "." in node.next_node(nodes.title).astext():
            return node.next_node(nodes.title).astext()
        node = node.parent
    return ""
