"""Builds the distribution `mxnet-rbm`, which pyproject.toml describes; here stands what it cannot say."""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildNative(build_ext):
    """Builds the native Gibbs engine where that is possible."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except Exception as error:  # no compiler, or not one of GNU C: whatever it is, MXNet's engine serves
            print(
                "NOTICE: the native Gibbs engine was not built (%s); MXNet's will be used, which is slower."
                % " ".join(str(error).split())
            )


native = Extension(
    # At the top level, not inside gluon_rbm: so a checkout on sys.path does not hide the library that is installed.
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
    py_limited_api=True,  # it uses none of Python's API at all: one library, and one wheel, serve every Python
)

# The license in pyproject.toml would have to be a table for setuptools < 77 (the newest of Python 3.8 is 75) and a
# string for those to come.
setup(
    license="Apache-2.0",
    ext_modules=[native],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp38"}},
)
