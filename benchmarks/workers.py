"""Time a training step on several workers of this computer against one worker, and count bytes.

    python benchmarks/workers.py [--workers 1 2 4] [--batch-size 80]

Workers share the batch and its chains, as with `--kv-store dist_sync`. Each worker computes with
one thread, and one server adds the gradients. A single worker is the plain learner, without a
server. "CPU" is the processor time of a worker in a step. On a busy computer it says more than the
elapsed time. The bytes that a step moves are computed from the sizes of the gradients. They are
also measured at the loopback interface, together with all else that the computer sends to itself.
"""

import argparse
import contextlib
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, Bystanders, initial_parameters, read_images

PATIENCE = 600  # seconds


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="default 1 2 4")
    for name, default in (
        ("num-visible", 784),
        ("num-hidden", 500),
        ("batch-size", 80),
        ("k", 30),
        ("steps", 50),
        ("rounds", 3),
    ):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    # Set in the processes that `measure` starts.
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


# --- A worker -------------------------------------------------------------------------------------


def work(args):
    """Run as one worker. The leader prints the seconds and bytes of a step as JSON."""
    from gluon_rbm.backend.framework import mx
    from gluon_rbm.cli import options
    from gluon_rbm.likelihood import learning, rules
    from gluon_rbm.training.learners import DataParallelLearner, GluonLearner
    from gluon_rbm.training.process_group import ProcessGroup

    flags = ("num_hidden", "batch_size", "k")
    settings = [text for name in flags for text in ("--" + name.replace("_", "-"), str(getattr(args, name)))]
    arguments = options.parse(settings, "workers.py")
    arrays = {name: mx.nd.array(array) for name, array in initial_parameters(args.num_visible, args.num_hidden).items()}
    shapes = learning.states(rules.PLAIN, args.batch_size, args.num_visible, args.num_hidden)
    arrays.update({name: mx.nd.random.uniform(shape=shape) > 0.5 for name, shape in shapes.items()})
    images = read_images(args.batch_size, args.num_visible)
    kind = "dist_sync" if "DMLC_ROLE" in os.environ else "device"
    with ProcessGroup(kind, cuda=False) as group:
        learner = DataParallelLearner(
            lambda arrays, context: GluonLearner(arguments, arrays, context, group.num_shards),
            arrays,
            group,
            rules.PLAIN,
        )
        mx.random.seed(group.rank)
        times, before, computed = [], 0, 0
        for step in range(args.steps + 5):
            if step == 5:  # the earlier steps warm up
                before, computed = _bytes_on_loopback(), time.process_time()
            start = time.perf_counter()
            learner.step([mx.nd.array(images[group.rank :: group.num_shards])])
            mx.nd.waitall()
            times.append(time.perf_counter() - start)
        computed = (time.process_time() - computed) / args.steps
        moved = (_bytes_on_loopback() - before) / args.steps
        if group.is_chief:
            print(json.dumps({"seconds": statistics.median(times[5:]), "computed": computed, "bytes": moved}))


def _bytes_on_loopback():
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/dev").read_text().splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "lo":
                return int(numbers.split()[0])  # bytes received, which equal the bytes sent
    return float("nan")


# --- All workers ----------------------------------------------------------------------------------


def measure(num_workers, arguments):
    """Start the workers, and return what the leader measured."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    roles = ["worker"]
    if num_workers > 1:
        roles = ["scheduler", "server"] + num_workers * roles
        environment.update(DMLC_PS_ROOT_URI="127.0.0.1", DMLC_NODE_HOST="127.0.0.1", DMLC_PS_ROOT_PORT=str(port))
        environment.update(
            DMLC_NUM_SERVER="1", DMLC_NUM_WORKER=str(num_workers), MXNET_RBM_SECRET=secrets.token_hex(16)
        )
    command, processes = [sys.executable, __file__, "--worker", *arguments], []
    try:
        for role in roles:
            own = {**environment, "DMLC_ROLE": role} if num_workers > 1 else environment
            processes.append(subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True))
        said = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return json.loads(next(text for text in said if text.strip()).splitlines()[-1])


def main(argv=None):
    """Run the benchmark."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parse(argv)
    if args.worker:
        work(args)
        return 0
    sizes = ("num_visible", "num_hidden", "batch_size", "k", "steps")
    arguments = [text for name in sizes for text in ("--" + name.replace("_", "-"), str(getattr(args, name)))]
    measured, others = {count: [] for count in args.workers}, Bystanders()
    for _ in range(args.rounds):
        for count in args.workers:
            measured[count].append(measure(count, arguments))
    numbers = args.num_visible + args.num_hidden + args.num_visible * args.num_hidden
    columns = ("workers", "ms a step", "in single rounds", "CPU ms of a worker", "MB a step, computed", "measured")
    print("| %s |\n|%s" % (" | ".join(columns), " --- |" * len(columns)))
    for count, rounds in measured.items():
        times = sorted(1e3 * one["seconds"] for one in rounds)
        moved = 2 * 4 * numbers * count if count > 1 else 0  # pushed and pulled as float32
        computed = 1e3 * statistics.median(one["computed"] for one in rounds)
        bytes_seen = statistics.median(one["bytes"] for one in rounds)
        print(
            "| %d | %.1f | %.1f to %.1f | %.1f | %.2f | %.2f |"
            % (count, statistics.median(times), times[0], times[-1], computed, moved / 1e6, bytes_seen / 1e6)
        )
    print("other programs used %.0f %% of the processors meanwhile" % (100 * others.share()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
