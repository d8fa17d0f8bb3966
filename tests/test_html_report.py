"""The command `html-report`: contents of the page, bad folders, and display in a browser."""

import html.parser
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from marks import slow_but
from PIL import Image

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.cli import run_pictures
from gluon_rbm.training import binary_pictures

VOID = {"br", "hr", "img", "input", "link", "meta"}
SMALL = ["--no-cuda", "--num-hidden", "6", "--k", "1", "--ais-batch-size", "20", "--ais-num-batch", "2"]
SMALL += ["--ais-burn-in-steps", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with early stopping and a likelihood report."""
    folder = tmp_path_factory.mktemp("runs") / "a <b> & c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)
        arguments = ["--dataset", "digits", "--num-epoch", "3", "--held-out", "100", "--early-stopping", "3"]
        assert binary_rbm_gluon.main([*SMALL, *arguments, "--output-dir", str(folder)]) == 0
    arguments = [str(folder), "--dataset", "digits", "--binarize", "sample", "--json", str(folder / "likelihood.json")]
    assert __main__.main(["likelihood", *arguments, "--no-cuda"]) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the folder that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


def make(folder, *arguments):
    assert __main__.main(["html-report", str(folder), *map(str, arguments)]) == 0
    output = arguments[1] if arguments else folder / "page.html"
    return Page(open(output, encoding="utf-8").read())


class Page(html.parser.HTMLParser):
    """Tags and text of a page. Tags that are not closed in order are an error."""

    def __init__(self, content):
        super().__init__()
        self.content, self.tags, self.text, self._open = content, [], "", []
        self.feed(content)
        self.close()
        assert self._open == []
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def having(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def assert_self_contained(page):
    assert not page.having("script") and not page.having("iframe")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
        assert not [name for name in attributes if name.startswith("on")]
    assert re.findall(r"url\((?!#)", page.content) == []


# --- Contents of the page -------------------------------------------------------------------------


def test_a_finished_run(finished, tmp_path):
    page = make(finished, "--output", tmp_path / "page.html")
    assert_self_contained(page)
    assert "A binary RBM with 6 hidden units, on digits: 3 of 3 epochs." in page.text
    assert "Optimistic: log Z comes from only 10 intermediate distributions" in page.text
    assert "Pixels are grey" in page.text
    assert {attributes["alt"] for attributes in page.having("img")} == {
        "Images of the data set, and images drawn by the model", "Weights of the hidden units, as images",
    }  # fmt: skip
    curves = {attributes["aria-label"] for attributes in page.having("svg")}
    assert {
        "Grey-pixel score, by epoch",
        "Units that are on in the chains, by epoch",
        "Time of an epoch, by epoch",
    } <= curves
    with open(finished / "metrics.csv") as file:
        names, *rows = [line.strip().split(",") for line in file]
    titles = [name.replace("log_likelihood", "grey-pixel score").replace("_", " ") for name in names]
    assert all(title in page.text for title in titles)
    assert all("%.6g" % float(row[names.index("train_log_likelihood")]) in page.text for row in rows)
    record = json.loads((finished / "arguments.json").read_text())
    assert record["arguments"]["data_sha256"] in page.text and record["versions"]["mxnet"] in page.text
    assert "learning rate on the mean gradient of a batch0.00125 (0.1 / 80)" in page.text
    # To fit the page, the table has a row for each quantity and columns for at most six epochs.
    numbers = re.search(r'<table class="numbers">(.*?)</table>', page.content, re.DOTALL).group(1)
    assert re.findall(r'<th scope="col">(.*?)</th>', numbers) == ["epoch", "1", "2", "3"]
    assert re.findall(r'<th scope="row">(.*?)</th>', numbers) == titles[1:]
    given = re.findall(r'<th scope="row">(--[\w-]+)</th><td class="value">([^<]*)<', page.content)
    assert {"--num-hidden": "6", "--held-out": "100", "--early-stopping": "3"}.items() <= dict(given).items()
    assert "--momentum" not in dict(given)
    report = json.loads((finished / "likelihood.json").read_text())
    assert "%.2f +- %.2f" % (report["log_likelihood"]["mean"], report["log_likelihood"]["standard_error"]) in page.text
    assert "log Z is exact" in page.text  # six hidden units are enumerated


def test_a_long_run_has_a_table_of_its_last_epochs(run):
    with open(run / "metrics.csv", "w") as file:
        file.write("epoch,seconds\n" + "".join("%d,%d.5\n" % (epoch, epoch) for epoch in range(1, 131)))
    numbers = re.search(r'<table class="numbers">(.*?)</table>', make(run).content, re.DOTALL).group(1)
    assert re.findall(r'<th scope="col">(.*?)</th>', numbers) == ["epoch", *map(str, range(125, 131))]
    assert re.findall(r"<td>(.*?)</td>", numbers) == ["%d.5" % epoch for epoch in range(125, 131)]


def test_a_run_that_is_not_finished(run):
    """After the first epochs, the pictures of the end do not exist yet."""
    for name in ("showcase.png", "filters.png", "learning-curve.png", "likelihood.json"):
        (run / name).unlink()
    with open(run / "metrics.csv") as file:
        lines = file.readlines()
    (run / "metrics.csv").write_text("".join(lines[:2]))
    page = make(run)
    assert "1 of 3 epochs" in page.text
    assert [attributes["alt"][:10] for attributes in page.having("img")] == ["Weights of", "Current st"]
    for name in ("metrics.csv", "rbm.params", "checkpoint.npz"):
        (run / name).unlink()
    page = make(run)  # before the end of the first epoch
    assert "0 of 3 epochs" in page.text and not page.having("img") and not page.having("svg")


def test_the_old_name_of_the_command_works(run):
    assert __main__.main(["page", str(run)]) == 0
    old = (run / "page.html").read_bytes()
    assert make(run).content == old.decode()


@pytest.mark.parametrize("objective", ["hybrid", "discriminative"])
def test_labels(tmp_path, monkeypatch, objective):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)
    arguments = ["--dataset", "digits", "--labels", "--objective", objective, "--num-epoch", "1"]
    assert binary_rbm_gluon.main([*SMALL, *arguments, "--output-dir", str(tmp_path)]) == 0
    for name in ("showcase.png", "filters.png"):
        (tmp_path / name).unlink()  # drawn anew, without the label units
    page = make(tmp_path)
    assert "6 hidden units and labels" in page.text and re.search(r"classified wrongly, test images: \d", page.text)
    assert len(page.having("img")) == 2 and "Optimistic" not in page.text


@pytest.mark.parametrize("unfinished", slow_but([False, True], True))
def test_a_network(tmp_path, unfinished):
    arguments = ["--dataset", "digits", "--no-cuda", "--channels", "3", "--dense", "5", "--num-epoch", "2"]
    assert __main__.main(["train-multinary", *arguments, "--output-dir", str(tmp_path / "run")]) == 0
    if unfinished:
        for path in (tmp_path / "run").glob("*.png"):
            path.unlink()
    page = make(tmp_path / "run")
    assert "channels 3, dense 5" in page.text and "reconstruction error, test images" in page.text
    assert len(page.having("img")) == (1 if unfinished else 2)
    assert "Reconstruction error, by epoch" in {attributes["aria-label"] for attributes in page.having("svg")}


def test_a_deep_network(finished, tmp_path):
    for number in (1, 2):
        shutil.copytree(finished, tmp_path / ("layer-%d" % number))
    shutil.copy(finished / "showcase.png", tmp_path / "samples.png")
    page = make(tmp_path)
    assert_self_contained(page)
    assert "A deep belief network" in page.text and "layer-2" in page.text
    assert len(page.having("img")) == 5 and page.text.count("3 of 3 epochs") == 2


# --- Bad and hostile files ------------------------------------------------------------------------

EVIL = "</td><script>alert(1)</script><img src=x onerror='alert(1)'>&\"'{{ 7 * 7 }}"


def test_hostile_values_are_text(run):
    record = json.loads((run / "arguments.json").read_text())
    record["arguments"].update(dataset=EVIL, seed=EVIL, num_hidden=[EVIL], num_epoch={EVIL: EVIL}, optimizer=EVIL)
    record["versions"][EVIL] = EVIL
    (run / "arguments.json").write_text(json.dumps(record))
    (run / "metrics.csv").write_text('epoch,"%s"\n1,2\n' % EVIL.replace('"', '""'))
    report = json.loads((run / "likelihood.json").read_text())
    report["model"]["path"] = report["data"]["data_set"] = EVIL
    (run / "likelihood.json").write_text(json.dumps(report))
    shutil.copy(run / "filters.png", run / ("x\"'><script>.png"))
    page = make(run)
    assert_self_contained(page)
    assert page.text.count(EVIL) > 5


def refused(capsys, *arguments):
    assert __main__.main(["html-report", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1, error
    return error


def test_bad_folders_are_refused(capsys, tmp_path, run):
    assert "is not a run folder" in refused(capsys, tmp_path)
    assert "nothing cannot be read" in refused(capsys, tmp_path / "nothing")
    assert "cannot write" in refused(capsys, run, "--output", tmp_path / "nothing" / "page.html")
    assert sorted(os.listdir(tmp_path)) == ["run"] and "page.html" not in os.listdir(run)


@pytest.mark.parametrize(
    "name, content",
    [
        ("arguments.json", "{"),
        ("arguments.json", "[1]"),
        ("arguments.json", '{"arguments": 3}'),
        ("metrics.csv", "epoch\nx\n"),
        ("metrics.csv", "train_loss\n1\n2\n"),
        ("metrics.csv", "epoch,train_loss\n1,2,3\n"),
        ("metrics.csv", "epoch,train_loss\n1,nan\n"),
        ("metrics.csv", "epoch,train_loss\n1,2\n,3\n"),
        ("likelihood.json", "no JSON"),
        ("likelihood.json", '{"method": {}, "log_z": {}, "log_likelihood": {}}'),
        ("filters.png", "no picture"),
    ],
)
def test_bad_files_are_refused(capsys, run, name, content):
    (run / name).write_text(content)
    capsys.readouterr()
    assert name in refused(capsys, run)
    assert "page.html" not in os.listdir(run)


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("name, content", [("arguments.json", nested(10**5)), ("likelihood.json", nested(10**5))])
def test_files_that_never_end(capsys, run, name, content):
    (run / name).write_text(content)
    assert name in refused(capsys, run)
    (run / name).unlink()
    os.mkfifo(run / name)
    if name == "arguments.json":
        assert "arguments.json" in refused(capsys, run)
    else:
        make(run)  # only an ordinary file is a report


def test_a_file_larger_than_any_table(capsys, run):
    with open(run / "metrics.csv", "r+b") as file:
        file.truncate(60 << 30)  # a sparse file takes no room on the disk
    assert "metrics.csv" in refused(capsys, run)


HOSTILE = ["1" + 400 * "0", "1e999", "NaN", "-1", "null", '"x"', "[]", "{}", "true", '"\\u001b[2J\\n"']


@pytest.mark.parametrize("value", slow_but(HOSTILE, HOSTILE[0], "NaN"))
def test_fields_of_any_value(capsys, run, value, monkeypatch):
    """Each field of both JSON files gets the value in turn; a page or an error line is written."""
    for name in ("curves", "saved_pictures", "drawn_pictures"):  # these are slow
        monkeypatch.setattr(run_pictures, name, lambda *arguments: [])
    for name in ("arguments.json", "likelihood.json"):
        text = (run / name).read_text()
        for path in paths_in(json.loads(text)):
            changed = json.loads(text)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = "the value"
            (run / name).write_text(json.dumps(changed).replace('"the value"', value))
            capsys.readouterr()
            assert __main__.main(["html-report", str(run), "--output", str(run / "out.html")]) in (0, 2), path
            captured = capsys.readouterr()
            assert (captured.out + captured.err).count("\n") == 1 and "\x1b" not in captured.out + captured.err
        (run / name).write_text(text)


def paths_in(content):
    """Yield the keys that lead to each value."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (key,)
        yield from ((key, *rest) for rest in paths_in(value))


@pytest.mark.parametrize("name", ["arguments.json", "metrics.csv", "rbm.params"])
def test_links_out_of_the_folder_are_not_followed(capsys, run, tmp_path, name):
    (run / name).rename(tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    assert "%s is a link to another folder" % name in refused(capsys, run)


def test_linked_pictures_and_other_formats_are_not_shown(capsys, run, tmp_path):
    """Links out of the folder are skipped. A file that is not a PNG is refused.

    For an EPS file, Pillow would run a program.
    """
    Image.new("L", (3, 3)).save(tmp_path / "secret.png")
    (tmp_path / "secret.json").write_text((run / "likelihood.json").read_text())
    for suffix in (".png", ".json"):
        (run / ("secret" + suffix)).symlink_to(tmp_path / ("secret" + suffix))
    assert "secret" not in make(run).content
    (run / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    assert "a.png is damaged" in refused(capsys, run)


@pytest.mark.slow
def test_pictures_that_cannot_be_shown(capsys, run, tmp_path):
    (run / "a.png").mkdir()
    (run / "b.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(run / "c.png")
    assert not any(name in make(run).content for name in ("a.png", "b.png", "c.png"))
    # The file has 50 KB, but more pixels than Pillow allows.
    Image.new("1", (20000, 20000)).save(run / "bomb.png")
    assert "bomb.png" in refused(capsys, run)


def test_names_that_are_not_valid_unicode(run, tmp_path):
    record = json.loads((run / "arguments.json").read_text())
    record["arguments"].update(dataset="\ud800", image_shape=[True, 64])
    (run / "arguments.json").write_text(json.dumps(record))
    strange = tmp_path / os.fsdecode(b"strange \xff")
    run.rename(strange)
    (strange / "showcase.png").rename(strange / os.fsdecode(b"\xff.png"))
    make(strange)


def test_a_torn_picture_and_a_torn_model(capsys, run):
    whole = (run / "showcase.png").read_bytes()
    (run / "showcase.png").write_bytes(whole[: len(whole) // 2])
    assert "showcase.png" in refused(capsys, run)
    (run / "showcase.png").unlink()
    (run / "rbm.params").write_bytes(b"torn")
    assert "rbm.params" in refused(capsys, run)


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "one"])
def test_numbers_that_no_run_writes(capsys, run, number):
    (run / "metrics.csv").write_text("epoch,train_log_likelihood\n1,%s\n" % number)
    assert "metrics.csv" in refused(capsys, run)


# --- In a browser ---------------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
LOOK = """<pre id="seen"></pre><script>addEventListener("load", () => {
const images = [...document.images], texts = [...document.querySelectorAll("svg text")];
document.getElementById("seen").textContent = JSON.stringify({
    images: images.map(image => [image.complete, image.naturalWidth, image.alt]),
    curves: [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
    colour: getComputedStyle(document.body).color, ink: getComputedStyle(texts[0]).fill,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
    width: document.documentElement.scrollWidth, window: innerWidth,
})})</script>"""


@pytest.fixture
def browse(tmp_path):
    """A function that returns the DOM of a file in a browser, and the messages on its console."""

    def call(path, *flags):
        command = [BROWSER, *FLAGS, "--user-data-dir=%s" % (tmp_path / "profile"), "--virtual-time-budget=5000"]
        done = subprocess.run([*command, *flags, "--dump-dom", path.as_uri()], capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(), [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]

    return call


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on PATH")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_and_asks_for_nothing(finished, tmp_path, browse, dark):
    output = tmp_path / "page.html"
    content = make(finished, "--output", output).content
    dom, console = browse(output)
    assert console == []  # the page's policy would report anything fetched or run
    for part in ("Epoch by epoch", "The last epochs", "Likelihood report", "Arguments", "Made with", "</footer>"):
        assert part in dom
    # The same page with a script that inspects it.
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n', content).group()
    (tmp_path / "seen.html").write_text(content.replace(policy, "").replace("</body>", LOOK + "</body>"), "utf-8")
    flags = ["--window-size=500,800", *(["--blink-settings=preferredColorScheme=0"] if dark else [])]
    dom, console = browse(tmp_path / "seen.html", *flags)
    assert console == []
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL).group(1).replace("&amp;", "&"))
    assert len(seen["images"]) == 2 and all(complete and width > 0 and alt for complete, width, alt in seen["images"])
    assert len(seen["curves"]) >= 5 and min(seen["curves"]) > 100
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    assert seen["width"] <= seen["window"]  # the page fits into a narrow window
    light = np.mean(list(map(int, re.findall(r"\d+", seen["colour"])[:3]))) > 127
    assert seen["ink"] == seen["colour"] and light == dark
