"""The commands `impute`, `outliers` and `recommend` as a user runs them."""

import argparse
import csv
import json

import numpy as np
import pytest
from training_runs import one_line

from gluon_rbm import __main__
from gluon_rbm.cli import impute
from gluon_rbm.cli.csv_tables import read_table
from gluon_rbm.estimators import RBMImputer

QUICK = ["--num-hidden", "20", "--num-epoch", "150"]


def run(*arguments):
    return __main__.main([str(argument) for argument in arguments])


@pytest.fixture
def table(tmp_path, generator):
    """200 rows with the sky, millimetres of rain, and whether it is wet; one more row follows.

    A random tenth of the values is missing.
    """
    rain = generator.random(200) < 0.4
    columns = [np.where(rain, "rain", "sun"), np.where(rain, 9, 2) + generator.random(200).round(2), rain.astype(int)]
    path = tmp_path / "weather.csv"
    with open(path, "w") as file:
        file.write("sky;mm;wet\n")
        for row in zip(*columns):
            texts = ["" if generator.random() < 0.1 else str(value) for value in row]
            file.write(";".join(texts) + "\n")
        file.write("sun;;0\n")
    return path


def rows_of(path, delimiter=";"):
    with open(path) as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_impute(table, tmp_path):
    assert run("impute", table, "--categorical", "wet", *QUICK) == 0
    given, filled = rows_of(table), rows_of(tmp_path / "weather-imputed.csv")
    assert filled[0] == ["sky", "mm", "wet"] and len(filled) == 202
    for before, after in zip(given, filled):
        assert all(old in ("", new) and new for old, new in zip(before, after))
    assert filled[-1][0] == "sun" and float(filled[-1][1]) < 5
    wet = [after[2] for before, after in zip(given, filled) if before[0] == "rain" and not before[2]]
    assert wet.count("1") + wet.count("1.0") > 0.8 * len(wet)


def test_a_table_without_gaps_is_not_learned(tmp_path, monkeypatch):
    from gluon_rbm.estimators import RBMImputer

    monkeypatch.setattr(RBMImputer, "fit", lambda *arguments: pytest.fail("it was learned"))
    (tmp_path / "whole.csv").write_text("a,b\n1,x\n2,y\n")
    assert __main__.main(["impute", str(tmp_path / "whole.csv"), "--output", str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,x\n2,y\n"


@pytest.mark.parametrize("num_rows, passes", [(4, 2000), (50, 2000), (2000, 60), (1437, 70)])
def test_passes_of_a_small_table(num_rows, passes):
    """At least 60 passes and 2000 steps. A pass over fewer rows than a batch is one step."""
    from gluon_rbm.estimators.table_rbm import rbm_of_table

    assert rbm_of_table(num_rows, 2000).n_iter == passes


def test_several_imputations_give_several_tables(table, tmp_path):
    assert run("impute", table, "--output", tmp_path / "out.csv", "--imputations", "3", "--bins", "4", *QUICK) == 0
    assert len({(tmp_path / ("out-%d.csv" % number)).read_text() for number in (1, 2, 3)}) == 3


def test_outliers(table, tmp_path):
    with open(table, "a") as file:
        file.write("rain;2.1;0\n")
    arguments = ["--bins", "4", "--categorical", "wet", "--contamination", "0.05", *QUICK]
    assert run("outliers", table, *arguments) == 0
    found = rows_of(tmp_path / "weather-outliers.csv")
    assert found[0] == ["sky", "mm", "wet", "rbm_line", "rbm_score", "rbm_outlier"]
    assert found[1][:4] == ["rain", "2.1", "0", "203"] and found[1][5] == "1" and found[-1][5] == "0"
    scores = [float(row[4]) for row in found[1:]]
    assert np.all(np.diff(scores) >= 0)
    rank = 0.05 * (len(scores) - 1)  # of the quantile, counted from 0; many scores are equal
    assert sum(score < 0 for score in scores) <= rank + 1 and rank <= sum(score <= 0 for score in scores)
    assert (
        run("outliers", table, "--new", table, "--false-alarm-rate", "0.1", "--output", tmp_path / "x.csv", *QUICK) == 0
    )


@pytest.fixture
def ratings(tmp_path, generator):
    """Ratings without a header line. Even users like even items, odd users like odd items."""
    path = tmp_path / "ratings.tsv"
    with open(path, "w") as file:
        for user in range(60):
            for item in generator.choice(20, 8, replace=False):
                file.write("%d\t%d\t%d\t0\n" % (user, item, 5 if user % 2 == item % 2 else 1))
    return path


def test_recommend(ratings, tmp_path, capsys):
    report = tmp_path / "found.json"
    assert run("recommend", ratings, "--user", "7", "8", "--count", "3", "--test", ratings, "--json", report) == 0
    found = json.loads(report.read_text())
    assert [int(item) % 2 for item, _ in found["recommended"]["7"]] == [1, 1, 1]
    assert [int(item) % 2 for item, _ in found["recommended"]["8"]] == [0, 0, 0]
    assert found["root_mean_squared_error"] < 1
    out = capsys.readouterr().out
    assert "RMSE of 480 ratings" in out and "user 7:" in out


@pytest.mark.parametrize(
    "message, text, arguments",
    [
        ("there", None, ["impute", "TABLE"]),
        ("has no rows below its first line", "a,b\n", ["impute", "TABLE"]),
        ("is empty", "", ["impute", "TABLE"]),
        ("line 3 has 1 fields, but the first line has 2", "a,b\n1,2\n3\n", ["outliers", "TABLE"]),
        ("has no column c; its columns are a, b", "a,b\n1,2\n", ["impute", "TABLE", "--categorical", "c"]),
        ("line 4 has 1 fields, but the first line has 2", "a,b\n\n1,2\n3\n", ["impute", "TABLE"]),
        ("line 3 has no rating; remove the line", "u,i,r\n1,2,3\n1,3,\n", ["recommend", "TABLE", "--user", "1"]),
        ("column b has no values; remove it", "a,b\n1,?\n2,NA\n", ["impute", "TABLE"]),
        ("give --user to recommend items, or --test", "1,2,3\n", ["recommend", "TABLE"]),
        ("has no user 9", "1,2,3\n", ["recommend", "TABLE", "--user", "9"]),
        ("user, item and rating are needed", "a,b\n1,2\n", ["recommend", "TABLE", "--user", "1"]),
        ("has no rows", "a,b,c\n", ["recommend", "TABLE", "--user", "1"]),
        ("line 2: the rating 'good' is not a number", "a,b,c\n1,2,good\n", ["recommend", "TABLE", "--user", "1"]),
        ("line 1 has no rating", "1,2,NA\n1,3,4\n", ["recommend", "TABLE", "--user", "1"]),
        ("ratings hold -1", "1,2,-1\n1,3,4\n", ["recommend", "TABLE", "--user", "1"]),
        ("not on the scale", "1,2,-1\n1,3,4\n", ["recommend", "TABLE", "--user", "1", "--scale", "1", "4"]),
        ("cannot be combined", "a\n1\n", ["outliers", "TABLE", "--contamination", "0.2", "--false-alarm-rate", "0.2"]),
        ("ask for a larger rate, or give", "a\n1\n2\n", ["outliers", "TABLE", "--false-alarm-rate", "0.001"]),
        ("user 1 rated item 2 twice", "1,2,3\n1,2,4\n", ["recommend", "TABLE", "--user", "1"]),
        ("line 2 has no user", "1,2,3\n ,2,4\n", ["recommend", "TABLE", "--user", "1"]),
        ("line 3 cannot be read (unexpected end of data)", 'a,b\n1,2\n"1,2\n', ["impute", "TABLE"]),
        ("has two columns named a; rename one", "a,b,a\n1,2,3\n", ["impute", "TABLE"]),
        ("has a column rbm_score", "a,rbm_score\n1,2\n", ["outliers", "TABLE"]),
        ("is an input file", "a,b\n1,?\n", ["impute", "TABLE", "--output", "TABLE", "--overwrite"]),
        ("is an input file", "1,2,3\n", ["recommend", "TABLE", "--user", "1", "--json", "TABLE", "--overwrite"]),
    ],
)
def test_invalid_input_ends_in_one_line(tmp_path, capsys, message, text, arguments):
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    assert run(*(path if one == "TABLE" else one for one in arguments)) == 2
    assert message in one_line(capsys).replace("No such file", "there")
    assert [file.name for file in tmp_path.iterdir()] == (["table.csv"] if text is not None else [])


@pytest.mark.parametrize("name", ["impute", "outliers", "recommend"])
def test_learning_rates_are_above_zero(table, name, capsys):
    with pytest.raises(SystemExit) as caught:
        run(name, table, "--learning-rate", "-1")
    assert (
        caught.value.code == 2
        and "--learning-rate: it must be a number above 0 and below 3.4e+38, not -1" in one_line(capsys)
    )


def test_an_existing_file_is_kept(table, tmp_path, capsys):
    (tmp_path / "weather-imputed.csv").write_text("mine")
    assert run("impute", table, *QUICK) == 2 and "already exists" in one_line(capsys)
    assert (tmp_path / "weather-imputed.csv").read_text() == "mine"


def test_a_table_is_read(tmp_path):
    path = tmp_path / "some.csv"
    path.write_text('\ufeffname,n,code\n"Smith, J",1.5,007\n?, ,8\n', encoding="utf-8")
    table = read_table(str(path), ["3"])
    assert table.names == ["name", "n", "code"] and table.delimiter == ","
    assert table.values.tolist() == [["Smith, J", 1.5, "007"], [None, None, "8"]]


def test_a_blank_line_of_one_column_is_a_gap(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("x\n1\n\n3\n")
    assert read_table(str(path)).values.tolist() == [[1], [None], [3]]


def test_delimiters_in_quotes_do_not_count(tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('"a,b,c";d\n1;None\n')
    table = read_table(str(path))
    assert table.names == ["a,b,c", "d"] and table.values.tolist() == [[1, "None"]]


def test_the_kinds_of_columns_are_printed(tmp_path, capsys):
    path = tmp_path / "some.csv"
    path.write_text("a;b;c\n" + "1;2;x\n" * 30 + "1;3,5;y\n")
    assert run("impute", path, "--num-epoch", "1") == 0
    out, err = capsys.readouterr()
    assert "categories: b, c\n" in out and "numbers: a\n" in out
    assert "column b holds numbers and '3,5' (line 32), so it is read as categories" in err and err.count("\n") == 1
    path.write_text("a;b\n" + "1;3,5\n" * 30 + "2;4,5\n")
    assert run("impute", path, "--num-epoch", "1", "--overwrite") == 0
    assert "column b holds '3,5' (line 2), so it is read as categories; write a point" in capsys.readouterr().err


def test_new_rows_are_read_like_the_learned_rows(tmp_path, capsys):
    """A column of numbers and text has categories in both files. An unknown one is an outlier."""
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("a,b\n" + "1,2\nx,3\n" * 20)
    second.write_text("a,b\n1,2\ny,3\n")
    assert run("outliers", first, "--new", second, "--num-epoch", "1") == 0
    found = rows_of(tmp_path / "second-outliers.csv", ",")
    assert [row[:3] for row in found[1:]] == [["y", "3", "3"], ["1", "2", "2"]] and found[1][4] == "1"
    capsys.readouterr()
    second.write_text("a,b\nx,2\nx,none\n")
    assert run("outliers", first, "--new", second, "--overwrite") == 2
    assert "line 3 has 'none' in column b, which holds numbers (up to 1e100) in" in capsys.readouterr().err


def test_columns_of_new_rows_may_have_another_order(table, tmp_path, capsys):
    new = tmp_path / "new.csv"
    new.write_text("mm;wet;sky\n2.5;0;sun\n9.5;1;rain\n")
    output = ["--output", tmp_path / "found.csv", *QUICK]
    assert run("outliers", table, "--new", new, *output) == 0
    found = rows_of(tmp_path / "found.csv")
    assert found[0][:3] == ["sky", "mm", "wet"] and sorted(row[:3] for row in found[1:]) == [
        ["rain", "9.5", "1"],
        ["sun", "2.5", "0"],
    ]
    new.write_text("mm;wet;cloud\n2.5;0;sun\n")
    capsys.readouterr()
    assert run("outliers", table, "--new", new, *output, "--overwrite") == 2
    assert "different columns: only one has cloud" in one_line(capsys)


def test_large_numbers_keep_their_size(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("t\n" + "".join("%d\n" % (1712345000 + number) for number in range(100)) + "?\n")
    assert run("impute", path, *QUICK) == 0
    filled = float(rows_of(tmp_path / "times-imputed.csv")[-1][0])
    assert 1712345000 <= filled <= 1712345100


def test_ratings_to_predict_must_be_on_the_scale(ratings, tmp_path, capsys):
    test = tmp_path / "test.csv"
    test.write_text("0,1,7\n")
    assert run("recommend", ratings, "--test", test) == 2
    assert "has the rating 7, which is not on the scale [1.0, 5.0]" in capsys.readouterr().err
    test.write_text("0,1,5\nnobody,1,5\n")
    assert run("recommend", ratings, "--test", test) == 0
    assert "1 of them are of users or items that" in capsys.readouterr().out


def test_a_learning_rate_that_is_too_large_gives_a_warning(ratings, capsys):
    assert run("recommend", ratings, "--user", "7", "--learning-rate", "1e10") == 0
    assert capsys.readouterr().err == (
        "warning: training went astray: ratings are less probable than by how often each user has them; lower "
        "learning_rate\n"
    )


def test_numbers_with_underscores_are_text(tmp_path, capsys):
    """Python reads 1_000 as a number. Other programs read it as text."""
    path = tmp_path / "some.csv"
    path.write_text("a,b\n1_000,1e3\n2,-.5\n")
    assert read_table(str(path)).values.tolist() == [["1_000", 1000], ["2", -0.5]]
    path.write_text("u,i,r\n1,2,1_0\n")
    assert run("recommend", path, "--user", "1") == 2
    assert "line 2: the rating '1_0' is not a number" in one_line(capsys)


@pytest.mark.parametrize("rating", ["nan", "inf", "1e39"])
def test_scales_must_be_finite(ratings, rating, capsys):
    with pytest.raises(SystemExit) as stop:
        run("recommend", ratings, "--user", "7", "--scale", "1", rating)
    assert stop.value.code == 2 and "argument --scale: it must be a number between" in one_line(capsys)


def test_the_command_and_the_estimator_have_the_same_defaults():
    parser = argparse.ArgumentParser()
    impute.add_arguments(parser.add_argument)
    args = parser.parse_args(["table.csv"])
    assert {"n_components": args.num_hidden, "learning_rate": args.learning_rate} == dict(RBMImputer.defaults)
