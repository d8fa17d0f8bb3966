r"""Compare faces that a model draws with real images and with two simple distributions.

    python benchmarks/faces.py prepare FOLDER faces.npy --size 32 --crop 5.39 10.28 58.61 53.72
    python benchmarks/faces.py network faces.npy LABELS runs/face-network
    python benchmarks/faces.py baselines faces.npy runs/face-baselines
    python benchmarks/faces.py compare faces.npy drawn.npz runs/face-baselines/*.npz \
        --network runs/face-network

prepare: crop all pictures of a folder, sorted by name, to --crop (left, top, right, bottom), and
write them as one array. Every tenth image is a test image, as in all commands of the package.

network: train a convolutional network with 64 features that predicts attributes of the images. The
file has the format that `frechet --network` reads. LABELS has a line for each picture: its name,
and a digit 0 or 1 for each attribute, "000001.jpg;0101".

baselines: draw images from a normal distribution fitted to the pixels ("eigenfaces": Turk &
Pentland 1991), and from independent pixels with the same means and variances.

compare: print these figures for each file of drawn images, and for real test images:
    - the Frechet distance to real test images, with the network's features;
    - the share of 500 images in which OpenCV's frontal face detector finds a face, after the images
      are enlarged to 128 pixels;
    - the median distance between two of the 500 images; it is small if the model draws one face
      again and again;
    - the median and the minimum of the distance to the nearest training image, mirrored or not;
      they are small for copies.

The detector needs `pip install "opencv-python-headless<5"`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from common import ROOT
from PIL import Image

sys.path.insert(0, str(ROOT))

# isort: split
from gluon_rbm.backend.array_files import load_npz
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli.command import exit_status
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import frechet

_CHANNELS = (32, 64, 128)
_FEATURES = 64
_LOOKED_AT = 500  # images that the detector sees
_ENLARGED = 128  # pixels on each side
_DRAWN = 5000  # images of each baseline


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare")
    prepare.add_argument("folder", type=Path)
    prepare.add_argument("faces", type=Path)
    prepare.add_argument("--size", type=int, default=32)
    prepare.add_argument("--crop", type=float, nargs=4)
    network = commands.add_parser("network")
    network.add_argument("faces")
    network.add_argument("labels", type=Path)
    network.add_argument("output")
    network.add_argument("--num-epoch", type=int, default=10)
    baselines = commands.add_parser("baselines")
    baselines.add_argument("faces")
    baselines.add_argument("output", type=Path)
    compare = commands.add_parser("compare")
    compare.add_argument("faces")
    compare.add_argument("drawn", nargs="*")
    compare.add_argument("--array", default="samples", help="name of the array in each file; default %(default)s")
    compare.add_argument("--network")
    for command in (network, baselines, compare):
        command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def prepare(args):
    """Crop the faces out of all pictures of a folder."""
    paths = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise InputError("%s holds no .jpg and no .png" % args.folder)
    images = np.empty((len(paths), args.size, args.size, 3), np.uint8)
    for number, path in enumerate(paths):
        picture = Image.open(path).convert("RGB")
        images[number] = picture.resize((args.size, args.size), Image.BICUBIC, box=args.crop)
    np.save(args.faces, images)
    print("%d images of %d x %d" % (len(images), args.size, args.size))


# --- Network --------------------------------------------------------------------------------------


def network(args):
    """Train the network, and print how often it predicts attributes of test images correctly."""
    mx.random.seed(args.seed)
    images = np.load(args.faces, mmap_mode="r")
    lines = sorted(line.split(";") for line in args.labels.read_text().split())
    labels = np.array([[int(digit) for digit in digits] for _, digits in lines], np.float32)
    if len(labels) != len(images):
        sys.exit("%s labels %d pictures, and %s has %d" % (args.labels, len(labels), args.faces, len(images)))
    body, head = _body(), mx.gluon.nn.Dense(labels.shape[1])
    for block in (body, head):
        block.initialize(mx.init.Xavier())
        block.hybridize()
    parameters = body.collect_params()
    parameters.update(head.collect_params())
    test = np.arange(len(images)) % 10 == 0
    rows, generator = np.flatnonzero(~test), np.random.default_rng(args.seed)
    trainer = mx.gluon.Trainer(parameters, "adam", {"learning_rate": 1e-3})
    loss_of = mx.gluon.loss.SigmoidBinaryCrossEntropyLoss()
    for epoch in range(args.num_epoch):
        trainer.set_learning_rate(1e-3 * (1 - epoch / args.num_epoch))
        for batch in np.array_split(generator.permutation(rows), len(rows) // 100):
            planes = _planes(images[np.sort(batch)])
            planes = planes if generator.random() < 0.5 else planes[..., ::-1]
            with mx.autograd.record():
                loss = loss_of(head(body(mx.nd.array(planes))), mx.nd.array(labels[np.sort(batch)]))
            loss.backward()
            trainer.step(len(batch))
        told = np.concatenate(
            [
                head(body(mx.nd.array(_planes(images[part])))).asnumpy() > 0
                for part in np.array_split(np.flatnonzero(test), 20)
            ]
        )
        right = (told == labels[test]).mean(axis=0)
        most = np.maximum(labels[test].mean(axis=0), 1 - labels[test].mean(axis=0))
        print(
            "epoch %d: right %s; always the more frequent answer: %s" % (epoch + 1, right.round(3), most.round(3)),
            flush=True,
        )
    body.export(args.output)


def _body():
    body = mx.gluon.nn.HybridSequential()
    for channels in _CHANNELS:
        for stride in (1, 2):
            body.add(mx.gluon.nn.Conv2D(channels, 3, strides=stride, padding=1, use_bias=False))
            body.add(mx.gluon.nn.BatchNorm(), mx.gluon.nn.Activation("relu"))
    body.add(mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(_FEATURES, activation="relu"))
    return body


def _planes(images):
    return np.moveaxis(images, 3, 1).astype(np.float32) / 255


# --- Baselines and figures ------------------------------------------------------------------------


def baselines(args):
    """Draw from two normal distributions: with the covariances of pixels, or variances only."""
    data = datasets.load(args.faces)
    shape, generator = data.image_shape, np.random.default_rng(args.seed)
    pixels = to_visible(data.train_images, data.maximum)
    mean, covariance = pixels.mean(axis=0), np.cov(pixels.T)
    normal = generator.normal(size=(_DRAWN, len(mean)))
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
    args.output.mkdir(parents=True, exist_ok=True)
    for name, drawn in (
        ("eigenfaces", mean + normal @ root.T),
        ("independent-pixels", mean + normal * np.sqrt(np.diag(covariance))),
    ):
        drawn = drawn.clip(0, 1).astype(np.float32).reshape(-1, *shape)
        np.savez(args.output / (name + ".npz"), samples=drawn)


def compare(args):
    """Print the table."""
    data = datasets.load(args.faces)
    shape, network = data.image_shape, args.network and frechet.load_network(args.network)
    generator = np.random.default_rng(args.seed)
    real = generator.permutation(to_visible(data.test_images, data.maximum))
    sets = {"real": real}
    for path in args.drawn:
        images = load_npz(path)[args.array]
        sets[path] = images.reshape(len(images), -1).astype(np.float32)
    seen = {name: network and frechet.features(network, images, shape) for name, images in sets.items()}
    print(
        "| images | Frechet distance | +- | share with a face | median distance | to a training image: median | least |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    training = to_visible(np.concatenate([data.train_images, data.train_images[:, :, ::-1]]), data.maximum)
    for name, images in sets.items():
        images = images[:_LOOKED_AT]
        found = ["-", "-"]
        if network:
            compared = frechet.compare(seen["real"], seen["real" if name == "real" else name], [args.seed])
            pair = compared[2:4] if name == "real" else compared[:2]
            found = ["%.3f" % pair[0], "%.3f" % pair[1]]
        nearest = _distances(images, training).min(axis=1)
        found += ["%.3f" % _share_with_a_face(images.reshape(-1, *shape))]
        between = _distances(images, images)[np.triu_indices(len(images), 1)]
        found += ["%.2f" % distance for distance in (np.median(between), np.median(nearest), nearest.min())]
        print("| %s | %s |" % (name, " | ".join(found)), flush=True)


def _share_with_a_face(images):
    import cv2

    detector = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    count = 0
    for image in images:
        grey = cv2.cvtColor(np.uint8(np.rint(image * 255)), cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, (_ENLARGED, _ENLARGED), interpolation=cv2.INTER_CUBIC)
        count += len(detector.detectMultiScale(grey, 1.1, 3, minSize=(40, 40))) > 0
    return count / len(images)


def _distances(images, others):
    """Return the Euclidean distances of all pairs."""
    squares = np.square(images).sum(axis=1)[:, None] - 2 * images @ others.T + np.square(others).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))


if __name__ == "__main__":
    given = _parse(None)
    sys.exit(exit_status("faces.py " + given.command, lambda: globals()[given.command](given)))
