"""Compilers build the native Gibbs engine without warnings, and the results agree.

For other processors, compilation ends with an error of one line.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gluon_rbm.backend import native

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path(native.__file__).parent / "gibbs.c"
WARNINGS = [
    "-W" + name
    for name in [
        *("error", "all", "extra", "pedantic", "shadow", "conversion", "sign-conversion", "undef"),
        *("missing-prototypes", "strict-prototypes"),
    ]
]
ELSEWHERE = ["-U__x86_64__", "-U__aarch64__"]  # as on another processor
PROBE = "#include <pthread.h>\n#include <math.h>\nint probe(void);\nint probe(void) { return 0; }\n"
ZIG = [sys.executable, "-m", "ziglang", "cc"]
NATIVE = {"gcc": ["gcc"], "clang": ["clang"], "zig": ZIG}
CROSS = {
    "gcc for arm64": ["aarch64-linux-gnu-gcc"],
    "clang for arm64": ["clang", "--target=aarch64-linux-gnu"],
    "zig for arm64": [*ZIG, "-target", "aarch64-linux-gnu"],
    "zig for x86-64": [*ZIG, "-target", "x86_64-linux-gnu"],
}
if "CC" in os.environ:
    NATIVE["CC"] = os.environ["CC"].split()
REPORT = """
import hashlib, json, numpy as np
from gluon_rbm.backend import native
generator, digest = np.random.default_rng(1), hashlib.sha256()
weight, hidden = generator.normal(size=(70, 40)), generator.integers(0, 2, (300, 40))
features = native.features()
for name in features["instruction_sets"]:
    for chains in (3, 80, 300):
        for sample in native.run(weight, weight[:, 0], weight[0], hidden=hidden[:chains], sweeps=3, key=[1],
                                 instruction_set=name)[:2]:
            digest.update(sample.tobytes())
print(json.dumps([native.path(), features["instruction_sets"], digest.hexdigest()]))
"""


def compile_source(compiler: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the compiler. Skip the test if it is missing or cannot compile for its target."""
    if compiler[:3] == ZIG[:3] and not importlib.util.find_spec("ziglang"):
        pytest.skip("Zig's compiler is not installed (pip install ziglang)")
    if not shutil.which(compiler[0]):
        pytest.skip("%s is not installed" % compiler[0])
    (folder / "probe.c").write_text(PROBE)
    probe = subprocess.run([*compiler, "-c", "probe.c"], cwd=folder, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip("%s cannot compile for its target: %s" % (" ".join(compiler), probe.stderr.strip()[:200]))
    command = [*compiler, "-pthread", "-fPIC", str(SOURCE), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def report(folder: Path) -> list:
    """File, instruction sets and digest of samples of the library that is found from a folder."""
    result = subprocess.run(
        [sys.executable, "-c", REPORT],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), *filter(None, sys.path)])),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def installed() -> list:
    return report(ROOT)


@pytest.mark.parametrize("name", CROSS)
def test_cross_compilers_give_no_warning(name: str, tmp_path: Path) -> None:
    result = compile_source(CROSS[name], tmp_path, "-O1", *WARNINGS, "-c")
    assert result.returncode == 0 and not result.stderr, result.stderr[:4000]


@pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))
@pytest.mark.parametrize("name", NATIVE)
def test_compilers_give_no_warning_and_agree(name: str, installed: list, tmp_path: Path) -> None:
    """They agree on the instruction sets of this processor, and on the samples of each."""
    library = tmp_path / "_mxnet_rbm_native.so"
    result = compile_source(NATIVE[name], tmp_path, "-O1", *WARNINGS, "-shared", "-o", str(library), "-lm")
    assert result.returncode == 0 and not result.stderr, result.stderr[:4000]
    assert report(tmp_path) == [str(library), *installed[1:]]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is not x86-64")
@pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))
def test_the_instruction_sets_are_those_of_the_processor() -> None:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        pytest.skip("there is no /proc/cpuinfo")
    flags = set(next(line for line in text.splitlines() if line.startswith("flags")).split())
    avx2 = {"avx2", "fma"}
    needed = {"plain": set(), "avx2": avx2, "avx512": avx2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl"}}
    assert native.features()["instruction_sets"] == [name for name in needed if needed[name] <= flags]


@pytest.mark.parametrize("name", NATIVE)
def test_other_processors_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    result = compile_source(NATIVE[name], tmp_path, *ELSEWHERE, "-c")
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert result.returncode != 0 and len(errors) == 1, result.stderr[:4000]
    assert "The native Gibbs engine is for GNU C" in errors[0]


@pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="there is no checkout here")
def test_the_installation_goes_on_without_the_engine(tmp_path: Path) -> None:
    folders = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    result = subprocess.run(
        [sys.executable, "setup.py", "build_ext", *folders],
        cwd=ROOT,
        env=dict(os.environ, CFLAGS=" ".join(ELSEWHERE)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    notices = [line for line in result.stdout.splitlines() if "NOTICE" in line]
    assert len(notices) == 1 and "MXNet's will be used" in notices[0]
    assert not list(tmp_path.rglob("*.so"))


def test_the_polynomials_agree_with_their_derivation() -> None:
    script = ROOT / "benchmarks" / "polynomials.py"
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="versions of symbols are glibc's")
def test_the_library_serves_systems_of_2014():
    """It needs no symbol newer than glibc 2.17. Otherwise a wheel might need glibc 2.34."""
    if not native.available():
        pytest.skip(repr(native.available()))
    minors = [int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", Path(native.path()).read_bytes())]
    assert minors and max(minors) <= 17, sorted(set(minors))
