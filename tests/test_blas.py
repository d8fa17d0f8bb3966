"""NumPy's BLAS: reports, warnings, and OPENBLAS_CORETYPE for processors that it does not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import threadpoolctl
from training_runs import SCRIPTS

import gluon_rbm
from gluon_rbm.backend import blas

ROOT = Path(gluon_rbm.__file__).parents[1]
AVX2 = frozenset({"avx", "avx2", "fma"})
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"}


def has_openblas():
    return any(pool["internal_api"] == "openblas" for pool in blas.pools())


needs_avx2 = pytest.mark.skipif(
    not has_openblas() or "avx2" not in blas.processor_flags(), reason="no OpenBLAS, or no processor with AVX2"
)


def output_of(*arguments, **environment):
    """Run Python and return its standard output and error together.

    OPENBLAS_CORETYPE is set only if `environment` sets it.
    """
    others = {name: text for name, text in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**others, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.stdout


@pytest.mark.parametrize(
    "architecture, flags, better",
    [
        ("Prescott", AVX512, "SkylakeX"),
        ("Prescott", AVX2, "Haswell"),
        # A Xeon Phi has only some of the AVX-512 instructions that the kernels for SkylakeX need.
        ("Prescott", AVX2 | {"avx512f"}, "Haswell"),
        ("Sandybridge", AVX2, "Haswell"),
        ("Prescott", frozenset({"sse3"}), None),
        ("Sandybridge", frozenset({"avx"}), None),
        ("Zen", AVX512, None),  # OpenBLAS knows the processor
        ("Haswell", AVX512, None),
        ("SkylakeX", AVX512, None),
        ("neoversen1", frozenset({"asimd"}), None),
        ("a name of tomorrow's", AVX512, None),
        (None, AVX512, None),
    ],
)
def test_better_kernels(architecture, flags, better):
    assert blas._better_kernels(architecture, flags) == better


@needs_avx2
def test_old_kernels_give_a_warning():
    code = "from gluon_rbm.backend import blas; print(blas.describe()); print(blas.warning())"
    described, warning = output_of("-c", code, OPENBLAS_CORETYPE="Nehalem").splitlines()
    assert " Nehalem " in described
    assert "takes this processor for a Nehalem" in warning
    better = "SkylakeX" if blas.processor_flags() >= AVX512 else "Haswell"
    assert "set OPENBLAS_CORETYPE=%s before Python starts" % better in warning
    described, warning = output_of("-c", code, OPENBLAS_CORETYPE="Haswell").splitlines()
    assert " Haswell " in described and warning == "None"


def test_the_blas_of_opencv_is_left_out(monkeypatch):
    loaded = [
        {"user_api": "blas", "architecture": "Barcelona", "filepath": "/lib/%s.libs/libopenblas.so" % package}
        for package in ("opencv_python_headless", "scipy")
    ]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [*loaded, {"user_api": "openmp"}])
    assert blas.pools() == loaded[1:]


@needs_avx2
def test_doctor_warns_of_old_kernels():
    lines = output_of("-m", "gluon_rbm", "doctor", OPENBLAS_CORETYPE="Nehalem").splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("BLAS "))
    assert " Nehalem " in lines[at]
    assert lines[at + 1].split()[0] == "note:" and "OPENBLAS_CORETYPE" in lines[at + 1]
    lines = output_of("-m", "gluon_rbm", "doctor", OPENBLAS_CORETYPE="Haswell").splitlines()
    assert not any("OPENBLAS_CORETYPE" in line for line in lines)


@needs_avx2
def test_a_run_warns_of_old_kernels_and_records_what_it_used(tmp_path, monkeypatch, capsys):
    flags = ["--dataset", "digits", "--no-cuda", "--num-epoch", "1", "--k", "1", "--num-hidden", "3"]
    whole = output_of(
        "binary_rbm_gluon.py", *flags, "--output-dir", str(tmp_path / "slow"), OPENBLAS_CORETYPE="Nehalem"
    )
    assert whole.count("takes this processor for a Nehalem") == 1
    record = (tmp_path / "slow" / "arguments.json").read_text()
    assert " Nehalem " in record and '"native engine"' in record
    monkeypatch.setattr(blas, "warning", lambda: None)
    assert SCRIPTS["gluon"].main([*flags, "--output-dir", str(tmp_path / "run")]) == 0
    assert "OpenBLAS" not in capsys.readouterr().err


# --- Before NumPy is imported ---------------------------------------------------------------------


def choose(monkeypatch, architecture, flags, imported=False, variable=None):
    """Call `choose_kernels`; return OPENBLAS_CORETYPE and the text of `choice`.

    OpenBLAS takes the processor for `architecture`, and the processor has `flags`. `imported`:
    NumPy was imported before. `variable`: OPENBLAS_CORETYPE before the call.
    """
    monkeypatch.setattr(blas, "_libraries", lambda: ["one that is known", "another"])
    known = {"one that is known": "Haswell", "another": architecture}
    monkeypatch.setattr(blas, "_architecture_to_be", known.get)
    monkeypatch.setattr(blas, "processor_flags", lambda: flags)
    monkeypatch.setattr(blas._Choice, "made", None)
    monkeypatch.setattr(sys, "modules", {"numpy": None} if imported else {})
    monkeypatch.setenv("OPENBLAS_CORETYPE", variable or "")
    if variable is None:
        monkeypatch.delenv("OPENBLAS_CORETYPE")
    blas.choose_kernels()
    return os.environ.get("OPENBLAS_CORETYPE"), blas.choice()


def test_the_variable_is_set_for_a_processor_that_openblas_does_not_know(monkeypatch):
    chosen, said = choose(monkeypatch, "Prescott", AVX512)
    assert chosen == "SkylakeX" and "set OPENBLAS_CORETYPE=SkylakeX" in said


@pytest.mark.parametrize("architecture", ["Zen", "Haswell", "SkylakeX", "Cooperlake", None])
def test_nothing_is_set_for_a_processor_that_openblas_knows(monkeypatch, architecture):
    assert choose(monkeypatch, architecture, AVX512) == (None, None)


def test_nothing_is_set_after_the_user_set_it_or_numpy_was_imported(monkeypatch):
    assert choose(monkeypatch, "Prescott", AVX512, variable="Nehalem") == ("Nehalem", None)
    assert choose(monkeypatch, "Prescott", AVX512, imported=True) == (None, None)


@needs_avx2
@pytest.mark.parametrize("architecture", ["Haswell", "Nehalem"])
def test_a_child_process_finds_the_architecture_of_openblas(architecture):
    code = "from gluon_rbm.backend import blas; numpys, *_ = blas._libraries(); "
    code += "print(blas._architecture_to_be(numpys), blas.describe())"
    before, _, after = output_of("-c", code, OPENBLAS_CORETYPE=architecture).partition(" ")
    assert before == architecture and architecture in after


def test_nothing_is_set_on_this_computer_if_openblas_knows_the_processor():
    code = """
import os, sys
from gluon_rbm.backend import blas
blas.choose_kernels()
print("numpy" in sys.modules, os.environ.get("OPENBLAS_CORETYPE"))
before = os.environ.get("OPENBLAS_CORETYPE")
print(blas.warning())
"""
    imported, warning = output_of("-c", code).splitlines()
    assert imported.startswith("False ") and warning == "None"
    code = (
        "from gluon_rbm.backend import blas; from gluon_rbm.backend.framework import mx; mx.nd; print(blas.warning())"
    )
    # Whether NumPy's and MXNet's OpenBLAS both know the processor.
    known = output_of("-c", code) == "None\n"
    assert imported.endswith(" None") == known


def test_without_numpy_no_library_is_found(monkeypatch):
    monkeypatch.setattr(blas.importlib.util, "find_spec", lambda name: None)
    assert blas._libraries() == []
