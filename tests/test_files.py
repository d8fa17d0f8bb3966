"""Files that are written whole or not at all."""

import json
import os

import pytest

from gluon_rbm.backend.files import check_writable, write_json, write_whole
from gluon_rbm.errors import InputError


def test_json_is_written_with_indents(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 0.5], "a": None})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    1,\n    0.5\n  ],\n  "a": null\n}\n'
    write_json(tmp_path / "a.json", {"b": {"d": 1, "c": "é"}, "a": None}, sort_keys=True)
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b"]
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("content, error", [({"a": float("nan")}, ValueError), ({"a": object()}, TypeError)])
def test_content_that_json_cannot_hold_leaves_the_old_file(tmp_path, content, error):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(error):
        write_json(tmp_path / "a.json", content)
    assert (tmp_path / "a.json").read_text() == "[\n  1\n]\n" and os.listdir(tmp_path) == ["a.json"]


def test_an_error_of_writing_names_the_option(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, said in ((tmp_path / "folder", "it is a folder"), (tmp_path / "none" / "a.json", "No such file")):
        with pytest.raises(InputError, match=r"cannot write .*%s.*; choose another --report" % said):
            write_json(path, {}, "--report")
        with pytest.raises(InputError, match="choose another --report"):
            check_writable(path, "--report")


def test_permissions_are_those_of_a_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with write_whole(tmp_path / "file") as temporary:
            pass
    finally:
        os.umask(before)
    assert not os.path.exists(temporary)
    assert os.stat(tmp_path / "file").st_mode & 0o777 == 0o640
