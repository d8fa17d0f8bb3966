"""Measure how often AIS's verdict "converged" is right, against known log Z of difficult RBMs.

    python benchmarks/verdicts.py                          # 200 RBMs, used to develop the checks
    python benchmarks/verdicts.py --seed 1 --count 100     # 100 other RBMs, new to the checks
    python benchmarks/verdicts.py --path scaled            # Bennett's ratio along a path
    python benchmarks/verdicts.py --path matched           # the same along matched means

The RBMs have modes that are hard to find (`tests/hard_rbms.py`). With --path matched, a value takes
7 seconds of one core (median).

Each RBM is estimated by the bracket of AIS alone, and with the checks of the package. The settings
are those of `python -m gluon_rbm likelihood --method ais`: 10,000 evenly spaced distributions and
100 chains. For half of the RBMs, the base rate comes from images of one mode at most. For the
others, it is the model's own visible bias. A value is right if it is within half a nat of log Z.

The path "scaled" scales W from 0. The path "matched" uses 1,000 samples of the RBM as data.
"""

import argparse
import json
import sys
import time
from collections import Counter

import numpy as np
from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from hard_rbms import hard_rbm  # noqa: E402

import ais  # noqa: E402
from gluon_rbm.errors import InputError  # noqa: E402
from gluon_rbm.likelihood import bennett, enumeration  # noqa: E402
from gluon_rbm.models.parameters import Parameters  # noqa: E402
from gluon_rbm.sampling import matching, trajectory  # noqa: E402

_RIGHT = 0.5  # nats, largest error of a right value
_SAMPLES = 1000  # samples of an RBM, in place of its training data


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("count", 200), ("seed", 0), ("chains", 100), ("distributions", 10000)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    parser.add_argument("--path", choices=("scaled", "matched"), help="only Bennett's ratio, along this path")
    parser.add_argument("--json", metavar="FILE", help="write the figures of each RBM to this file")
    return parser.parse_args(argv)


def examine(number, args):
    """Return the results for one RBM: of the bracket alone, and of the bracket with its checks."""
    rbm = hard_rbm(args.seed, number)
    settings = dict(num_chains=args.chains, num_distributions=args.distributions, reverse_start="chains")
    settings.update(key=[args.seed, number], training_data=None if number // 6 % 2 else rbm.images)
    found = {"number": number, "kind": rbm.kind, "shape": rbm.parameters[2].shape, "log_z": rbm.log_z}
    for name, check in (("bracket", False), ("checked", True)):
        begin = time.perf_counter()
        bracket = ais.bracket(*rbm.parameters, check=check, **settings)
        found[name] = {
            "error": bracket.estimate.log_z - rbm.log_z,
            "warning": bracket.warning,
            "confirmed_by": sorted(bracket.confirmations),
            "seconds": time.perf_counter() - begin,
        }
    return found


def examine_path(number, args):
    """Return the result of Bennett's ratio along a path for one RBM.

    It is None if the path needs exact samples and the RBM is too large to draw them.
    """
    rbm = hard_rbm(args.seed, number)
    found = {"number": number, "kind": rbm.kind, "shape": rbm.parameters[2].shape, "log_z": rbm.log_z}
    last, begin = Parameters(*rbm.parameters), time.perf_counter()
    if args.path == "matched":
        if min(last.interaction_weight.shape) > enumeration.MAX_UNITS:
            return None
        images = enumeration.draw_visible(Parameters.from_arrays(*last), _SAMPLES, [args.seed, number])
        means = matching.Means.of(last, ais.smoothed_visible_bias(images.mean(axis=0), _SAMPLES), images)
        try:
            path = matching.matched_path(last, means, args.chains, key=[args.seed, number, 1])
        except InputError as error:
            return {**found, args.path: {"error": np.nan, "warning": str(error), "seconds": np.nan}}
        knots, chains = [*path.rbms, last], [*path.chains, None]
    else:
        bias = last.visible_layer_bias
        if not number // 6 % 2:
            bias = ais.smoothed_visible_bias(rbm.images.mean(axis=0), len(rbm.images))
        knots, chains = [trajectory.independent_units(last, bias), last], ()
    path = bennett.log_partition(knots, chains, name=args.path, num_chains=args.chains, key=[args.seed, number])
    seconds = time.perf_counter() - begin
    return {**found, args.path: {"error": path.log_z - rbm.log_z, "warning": path.warning, "seconds": seconds}}


def table(results, names):
    """Yield the lines of a table: how many values are right, and how many are called converged."""
    yield "| kind | RBMs | | right | converged, right | converged, wrong | converged of the right |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    kinds = sorted({result["kind"] for result in results})
    for kind in [*kinds, "all"]:
        rows = [result for result in results if kind in (result["kind"], "all")]
        for name in names:
            counts = Counter((abs(row[name]["error"]) <= _RIGHT, not row[name]["warning"]) for row in rows)
            right = counts[True, True] + counts[True, False]
            figures = (kind, len(rows), name, right, counts[True, True], counts[False, True])
            yield "| %s | %d | %s | %d | %d | %d | %.0f %% |" % (*figures, 100 * counts[True, True] / max(right, 1))


def main(argv=None):
    """Run the benchmark."""
    args, results = _parse(argv), []
    names = [args.path] if args.path else ["bracket", "checked"]
    for number in range(args.count):
        row = (examine_path if args.path else examine)(number, args)
        if row is None:
            continue
        results.append(row)
        told = ["%s %+.2f %s" % (name, row[name]["error"], row[name]["warning"] or "converged") for name in names]
        print("%3d %-9s %s: %s" % (number, row["kind"], row["shape"], " | ".join(told)), file=sys.stderr, flush=True)
    print("\n".join(table(results, names)))
    if not args.path:
        ratio = np.median([row["checked"]["seconds"] / row["bracket"]["seconds"] for row in results])
        print("with the checks a value takes %.2f times as long as the bracket alone (median)" % ratio)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
