"""What plots show: panels, shapes, ranges, titles."""

import io

import numpy as np
import pytest
from PIL import Image

from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots, tiles

SHAPE = (3, 4)


def pixels(axes):
    return np.ma.getdata(axes.images[0].get_array())


def test_a_grid_shows_each_image_in_its_place(generator):
    images = generator.random((5, 12))
    figure = plots.grid(images, SHAPE, "five", columns=2)
    shown = pixels(figure.axes[0])
    assert shown.shape == (3 * 4 - 1, 2 * 5 - 1)
    for index, image in enumerate(images):
        top, left = index // 2 * 4, index % 2 * 5
        np.testing.assert_array_equal(shown[top : top + 3, left : left + 4], image.reshape(SHAPE))
    assert (shown[8:, 5:] == 0.5).all()  # there is no sixth image
    assert figure.axes[0].get_title() == "five" and figure.axes[0].images[0].get_clim() == (0, 1)


def test_missing_pixels_have_a_colour_of_their_own(generator):
    images = generator.random((1, 12))
    images[0, 5] = np.nan
    shown = plots.grid(images, SHAPE, "one").axes[0].images[0]
    colours = shown.cmap(shown.norm(np.ma.masked_invalid(pixels(shown.axes))))
    grey = colours[..., 0] == colours[..., 2]
    assert np.flatnonzero(~grey[:3, :4]).tolist() == [5]


def test_colour(generator):
    images = generator.random((2, 36))
    images[0, 0] = np.nan
    shown = pixels(plots.grid(images, (3, 4, 3), "colour", columns=2).axes[0])
    np.testing.assert_array_equal(shown[:, 5:], images[1].reshape((3, 4, 3)))
    assert np.isfinite(shown).all()


def test_grids_side_by_side(generator):
    sets = {name: generator.random((64, 12)) for name in ("data", "samples", "probabilities")}
    figure = plots.grids(sets, SHAPE)
    assert [axes.get_title() for axes in figure.axes] == list(sets)
    assert all(pixels(axes).shape == (8 * 4 - 1, 8 * 5 - 1) for axes in figure.axes)


def test_a_showcase_of_blank_images_says_so(generator):
    images = generator.random((9, 12))
    assert plots.showcase(images, images, SHAPE, 5, side=3)._suptitle is None
    blank = np.where(np.arange(9)[:, None] < 6, 0.001, images)
    title = plots.showcase(images, blank, SHAPE, 5, side=3)._suptitle.get_text()
    assert title == "6 of 9 are blank: the chains are in the empty image"


def test_a_strip_has_one_row_per_chain_and_one_column_per_moment(generator):
    moments = generator.random((6, 2, 12))
    axes = plots.strip(moments, SHAPE, ["0", "1", "2", "5", "10", "20"], "chains").axes[0]
    assert pixels(axes).shape == (2 * 4 - 1, 6 * 5 - 1)
    np.testing.assert_array_equal(pixels(axes)[4:7, 10:14], moments[2, 1].reshape(SHAPE))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "5", "10", "20"]


def test_an_animation_is_a_gif_with_one_frame_per_moment(generator, tmp_path):
    moments = np.round(generator.random((5, 4, 12)))
    moving = plots.animation(moments, SHAPE, range(5), "chains", columns=2)
    plots.save(moving, tmp_path / "moving.part")
    with Image.open(tmp_path / "moving.part") as file:
        assert (file.format, file.n_frames) == ("GIF", 5)


def test_filters_share_a_scale_and_the_strongest_come_first():
    weight = np.zeros((12, 3))
    weight[0] = 1, -4, 2
    axes = plots.filters(weight, SHAPE, side=2).axes[0]
    limit = np.percentile(np.abs(weight), 99)
    expected = [0, 0.5 + 2 / (2 * limit), 0.5 + 1 / (2 * limit)]  # -4 is clipped
    assert [pixels(axes)[top, left] for top, left in ((0, 0), (0, 5), (4, 0))] == pytest.approx(expected)
    assert pixels(axes)[0, 1] == 0.5
    title = axes.get_title()
    assert "3 of 3 hidden units, the strongest first" in title
    assert "black: %.2g and below, white: %+.2g and above" % (-limit, limit) in title


def test_one_large_weight_does_not_hide_the_filters(generator):
    """Other filters keep their contrast beside one weight of 500 standard deviations."""
    weight = generator.normal(size=(784, 100))
    contrast = pixels(plots.filters(weight, (28, 28)).axes[0]).std()
    weight[400, 3] = 500
    assert pixels(plots.filters(weight, (28, 28)).axes[0]).std() == pytest.approx(contrast, rel=0.05)


def test_weights_that_are_nearly_all_zero():
    weight = np.zeros((784, 100))
    assert (pixels(plots.filters(weight, (28, 28)).axes[0]) == 0.5).all()
    weight[0, 0] = -3
    assert pixels(plots.filters(weight, (28, 28)).axes[0])[0, 0] == 0


def test_rows_have_labels(generator):
    """Each label stands in the middle of its row. A dollar sign in it does not start a formula."""
    images = generator.random((6, 12))
    figure = plots.grids({"a": images, "b": images}, SHAPE, 2, title="all $", row_labels=["cat", "$dog", "x_$y$"])
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "$dog", "x_$y$"]
        # Rows of 3 pixels, with 1 pixel between them.
        np.testing.assert_array_equal(axes.get_yticks(), [1, 5, 9])
    assert figure._suptitle.get_text() == "all $"
    plots.save(figure, io.BytesIO())


def test_visible_biases_are_an_image_with_a_scale(generator):
    bias = generator.normal(size=12)
    axes, scale = plots.visible_bias(bias, SHAPE).axes
    np.testing.assert_array_equal(pixels(axes), bias.reshape(SHAPE))
    assert axes.images[0].colorbar is not None and scale.get_ylim() == pytest.approx((bias.min(), bias.max()))


def test_histograms_are_shares_over_one_range(generator):
    axes = plots.histograms({"few": generator.normal(size=50), "many": generator.normal(5, size=500)}, "t", "x").axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert [len(bars) for bars in heights] == [60, 60]
    assert [sum(bars) for bars in heights] == pytest.approx([1, 1])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["few", "many"]


def test_dead_units_are_marked():
    axes = plots.hidden_activity(np.array([0.5, 1.0, 0.2]), np.array([False, True, False])).axes[0]
    every, marked = axes.lines
    assert every.get_ydata().tolist() == [0.2, 0.5, 1.0] and marked.get_xydata().tolist() == [[2, 1.0]]
    assert marked.get_label() == "dead: 1 of 3"


def test_roc_curves_state_their_area():
    axes = plots.roc_curves({"noise": ([0, 0, 1], [0, 1, 1], 1.0), "letters": ([0, 1], [0, 1], 0.5)}).axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == ["noise: AUC 1.0000", "letters: AUC 0.5000"]
    assert axes.get_xlabel() == "false positive rate" and len(axes.lines) == 3


def test_class_fractions_stand_side_by_side():
    axes = plots.class_fractions({"before": [0.5, 0.5], "after": [0.9, 0.1]}, "classes").axes[0]
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[0.5, 0.5], [0.9, 0.1]]
    edges = np.array([(bar.get_x(), bar.get_x() + bar.get_width()) for bars in axes.containers for bar in bars])
    assert edges[0, 1] <= edges[2, 0] + 1e-12 and edges[2, 1] <= edges[1, 0]


def test_traces_and_the_free_energy_gap(generator):
    axes = plots.traces(generator.normal(size=(3, 7)), "chains", "F").axes[0]
    assert [line.get_xdata().tolist() for line in axes.lines] == [list(range(1, 8))] * 3
    axes = plots.free_energy_gap([1, 2], [0.5, -0.5], [0.1, 0.2]).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [0.5, -0.5] and "nats" in axes.get_ylabel()


def test_a_plot_is_drawn_in_the_given_axes(generator):
    figure, axes = plots.panels(2, 2)
    assert len(axes) == 4
    assert plots.histograms({"weights": generator.normal(size=9)}, "t", "x", axes=axes[2]) is figure
    assert [len(place.containers) for place in axes] == [0, 0, 1, 0]


@pytest.mark.parametrize("shape", [(28, 28), (8, 8), (28, 28, 3)])
def test_letters_are_centered_like_digits(shape):
    images = plots.letters(shape).reshape((312, *shape))
    if len(shape) == 3:
        assert (images[..., 0] == images[..., 2]).all()
        images = images[..., 0]
    assert images.dtype == np.float32 and images.min() == 0 and 0.9 < images.max() <= 1
    rows, columns = images.max(axis=2) > 0, images.max(axis=1) > 0
    sides = np.maximum(rows.sum(axis=1), columns.sum(axis=1))
    assert (sides <= round(shape[0] * 5 / 7)).all() and (sides >= round(shape[0] * 5 / 7) - 2).all()
    assert len({image.tobytes() for image in images}) > (250 if shape[0] == 28 else 100)


def test_confusion_counts_every_pair():
    figure = plots.confusion(np.array([[5, 0], [1, 4]]), "title", ["cat", "dog"])
    (axes,) = figure.axes
    assert axes.images[0].get_array().shape == (2, 2)
    # A count of 0 is blank.
    assert sorted(text.get_text() for text in axes.texts) == ["1", "4", "5"]
    assert axes.get_title() == "title" and axes.get_xlabel() == "class by the model"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog"]


def test_a_learning_curve_shows_the_interval_of_log_z_and_marks_unusable_points():
    log_z = {"log_z": 100.0, "log_z_low": 99.0, "log_z_high": 103.0}
    rows = [
        {"epoch": 1, "train_log_likelihood": -80.0, **log_z, "log_z_usable": 1},
        {"epoch": 2},
        {"epoch": 3, "train_log_likelihood": -70.0, **log_z, "log_z_low": None, "log_z_usable": 0},
    ]
    axes = plots.learning_curve(rows, "log_likelihood", "nats").axes[0]
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(1.0, -83.0), (1.0, -79.0), (3.0, -73.0), (3.0, -70.0)} <= corners
    assert axes.lines[1].get_xydata().tolist() == [[3, -70]] and axes.lines[1].get_markerfacecolor() == "white"
    assert axes.get_title() == (
        "learning curve\nshaded: three standard errors of log Z\nhollow: not usable, as a few chains carry log Z"
    )
    errors = plots.learning_curve([{"epoch": 1, "train_error_percent": 3.0}], "error_percent", "%").axes[0]
    assert errors.get_title() == "learning curve" and not errors.collections


def test_tiles_of_no_images_are_refused():
    assert tiles.tiles(np.zeros((3, 4)), (2, 2)).shape == (5, 5)
    with pytest.raises(InputError, match="no images to draw"):
        tiles.tiles(np.zeros((0, 4)), (2, 2))
