"""Build the distribution `mxnet-rbm`: C extension and license. pyproject.toml has all else."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildNative(build_ext):
    """Build the native Gibbs engine if the computer can; otherwise print a notice and go on."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except Exception as error:
            # There may be no compiler, or no GNU C. Whatever the error is, MXNet's engine works.
            print(
                "NOTICE: the native Gibbs engine was not built (%s); MXNet's will be used, which is slower."
                % " ".join(str(error).split())
            )


native = Extension(
    # At the top level, not in gluon_rbm, so that a checkout on sys.path does not hide the installed
    # library.
    "_mxnet_rbm_native",
    ["gluon_rbm/backend/native/gibbs.c"],
    depends=[
        "gluon_rbm/backend/native/gibbs%s" % end
        for end in (
            ".h",
            "_classes.inc",
            "_fixed.inc",
            "_gaussian.inc",
            "_gradient.inc",
            "_groups.inc",
            "_kernel.inc",
            "_learning.inc",
            "_memory.inc",
            "_targets.inc",
            "_threads.inc",
        )
    ],
    extra_compile_args=["-O3", "-pthread"],
    extra_link_args=["-pthread"],
    libraries=["m"],
    optional=True,
    # The library does not use Python's API, so one library and one wheel serve every Python.
    py_limited_api=True,
)

# The license is here, not in pyproject.toml. There setuptools < 77 wants a table (Python 3.8 has 75
# at most), and future versions want a string.
setup(
    license="Apache-2.0",
    ext_modules=[native],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp38"}},
)
