"""The sources of this project, by the names of their modules."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

# None where the tests stand alone, beside an installed wheel: then there is nothing to read.
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", ""): path
    for path in [*ROOT.glob("*.py"), *ROOT.glob("gluon_rbm/**/*.py")]
    if path.name != "setup.py"
}
