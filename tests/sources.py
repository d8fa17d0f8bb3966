"""Source files of this project, by the names of their modules."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

# Empty if the tests lie alone and test an installed wheel.
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", ""): path
    for path in [*ROOT.glob("*.py"), *ROOT.glob("gluon_rbm/**/*.py")]
    if path.name != "setup.py"
}
