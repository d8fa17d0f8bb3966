"""A likelihood report as lines of text."""

from __future__ import annotations

from itertools import chain
from typing import Any, Mapping

from gluon_rbm.cli.report import BASE_RATES

__all__ = ["as_rows", "as_text", "number"]

_MEANING_OF_REVERSE: dict[str | None, str] = {
    "exact": "from exact samples: an upper bound on average",
    "chains": "from the last states of forward AIS, run on at beta 1: an estimate, not a bound",
    "data": "from the images: a diagnostic, neither estimate nor bound",
}


def as_text(report: Mapping[str, Any]) -> str:
    """Format a report as lines of text.

    Parameters
    ----------
    report
        As in `as_rows`.

    Returns
    -------
    str
        The lines.
    """
    return "\n".join(("%-17s %s" % row).rstrip() for row in as_rows(report))


def as_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Format a report as rows.

    Parameters
    ----------
    report
        The report, from `likelihood_report` or `gluon_rbm.cli.gaussian_report.gaussian_report`.

    Returns
    -------
    list of (name, text)
        The rows. A row without a name continues the row before it.
    """
    return [*_data_rows(report), *_log_z_rows(report["method"], report["log_z"]), *_score_rows(report)]


def _data_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = report["data"]
    binarized = {
        "noise": "with uniform noise as wide as their steps, seed %s" % data["binarize_seed"],
        "none": "as they are",
        "sample": "drawn from their grey values, seed %s" % data["binarize_seed"],
        "threshold": "cut at 0.5",
    }
    return [
        ("model", "%(path)s: %(num_visible)d visible, %(num_hidden)d hidden units" % report["model"]),
        ("images", "%(data_set)s, %(part)s, %(num_images)d images" % data),
        ("pixels", binarized.get(data["binarize"], "from the file %s" % data["binarize"])),
    ]


def _log_z_rows(method: Mapping[str, Any], log_z: Mapping[str, Any]) -> list[tuple[str, str]]:
    if method["name"] == "enumeration":
        return [("method", "enumeration: log Z is exact"), ("log Z", number(log_z["estimate"]))]
    settings = "%(name)s: %(distributions)d distributions (%(schedule)s), %(chains)d chains, sweeps at each: %(sweeps)d"
    base = log_z.get("base", BASE_RATES[method["base_rate"]])
    return [
        ("method", settings % method),
        ("", "base rate: %s; seed %d; %s engine on %s" % (base, method["seed"], method["engine"], method["device"])),
        *_estimate_rows("forward", log_z["forward"], method, "a lower bound on average"),
        *_estimate_rows("reverse", log_z["reverse"], method, _MEANING_OF_REVERSE.get(method["reverse_start"], "")),
        *chain.from_iterable(
            _estimate_rows("check", side, method, "forward AIS from %s: a lower bound on average" % name)
            for name, side in log_z.get("bases", {}).items()
        ),
        *_estimate_rows("check", log_z.get("mixture"), method, "importance sampling: a lower bound on average"),
        *_path_rows(log_z.get("path")),
    ]


def _estimate_rows(
    name: str, side: Mapping[str, Any] | None, method: Mapping[str, Any], meaning: str
) -> list[tuple[str, str]]:
    """Return the rows of an estimate of log Z and its meaning; no rows if there is no estimate."""
    if not side:
        return []
    interval = tuple(number(side[part]) for part in ("estimate", "low", "high"))
    size = (side["effective_sample_size"], side.get("chains", method["chains"]))
    found = "%s, within 3 sigma %s to %s, effective sample size %.1f of %d" % (*interval, *size)
    return [("log Z, " + name, found), ("", meaning)]


def _path_rows(side: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the rows of the estimate along a path; no rows if there is no estimate."""
    if not side:
        return []
    found = "%s, within 3 sigma %s to %s" % tuple(number(side[part]) for part in ("estimate", "low", "high"))
    how = "Bennett's ratio along %(name)s: %(rbms)d RBMs, %(chains)d chains, %(sweeps)d sweeps of each" % side
    return [("log Z, check", found), ("", how + ("; " + side["doubt"] if side["doubt"] else ""))]


def _score_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    score, pseudo, log_z = report["log_likelihood"], report["pseudo_log_likelihood"], report["log_z"]
    rows = [(score["kind"], "%s, with log Z %s" % (_with_error(score), number(log_z["estimate"])))]
    if log_z["forward"]:
        worst = (number(score["pessimistic"]), number(log_z["high"]))
        rows.append(("", "%s at worst: with log Z %s, the upper end of its interval" % worst))
    if "bits_per_dimension" in score:
        bound = "" if log_z["forward"] else ", at most"  # an estimate of log Z may be too low
        rows.append(("", "%.4f bits per dimension%s" % (score["bits_per_dimension"], bound)))
    elif not report["data"]["binary"]:
        rows.append(("", "pixels are not binary: a score to compare runs by, not the logarithm of a probability"))
    if pseudo:
        rows.append(("pseudo-likelihood", "%s, %s" % (_with_error(pseudo), pseudo["kind"])))
    return [*rows, ("verdict", _verdict(log_z))]


def _verdict(log_z: Mapping[str, Any]) -> str:
    if log_z["doubt"]:
        return "NOT CONVERGED: " + log_z["doubt"]
    if not log_z["forward"]:
        return "exact"
    if not log_z["reverse"]:
        return "not checked: forward AIS alone does not see modes that it misses"
    counts = "importance sampling" if log_z.get("mixture_counts") else "forward and reverse AIS"
    basis = "the interval of log Z by %s is %.2f nats wide" % (counts, log_z["high"] - log_z["low"])
    confirmed = ["%s (%+.2f nats)" % item for item in log_z.get("confirmed_by", {}).items()]
    return "converged: " + basis + ("; confirmed by " + ", ".join(confirmed) if confirmed else "")


def _with_error(score: Mapping[str, Any]) -> str:
    return "%s +- %s nats per image (standard error over images)" % tuple(
        number(score[name]) for name in ("mean", "standard_error")
    )


def number(value: float | None) -> str:
    """Format a number with two decimals.

    Parameters
    ----------
    value
        The number, or None for an infinite one.

    Returns
    -------
    str
        The text; "unbounded" for None.
    """
    return "unbounded" if value is None else "%.2f" % value
