"""Pictures of what changed, of the waves and of neighbours: what lies where is checked by its coordinates."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from synalign_jax.core.checks import InputError
from synalign_jax.evaluation.figures import (
    NoPicture,
    Shares,
    course_figure,
    distance_figure,
    length_figure,
    neighbor_figures,
    shares_figure,
)
from synalign_jax.evaluation.report.maps import maps_of


def _told(picture: str) -> str:
    return ET.fromstring(picture).attrib["aria-label"]


def _places(picture: str, kind: str) -> np.ndarray:
    """(points, 2)"""
    pattern = rf'<path d="([^"]*)" class="{kind}"'
    paths = re.findall(pattern, picture)
    return np.array([[float(v) for v in pair] for p in paths for pair in re.findall(r"M(\S+) (\S+?)h0", p)])


def test_shares_lie_in_proportion_and_are_told() -> None:
    picture = shares_figure([Shares("a", 0.1, 0.2, 0.4), Shares("b", 0.9, 0.8, 0.6)])
    dots = _places(picture, "dot small synthetic")[-2:, 0]  # the first is the legend's
    rings = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', picture)][-2:]
    bars = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*class="bar-mark real"', picture)][-2:]
    origin = rings[0] - (rings[1] - rings[0]) / 3
    unit = (rings[1] - rings[0]) / 0.6
    placed = origin + unit * np.array([0.4, 0.6, 0.1, 0.9])
    np.testing.assert_allclose([*dots, *bars], placed, atol=0.3)
    assert "a: real 10.0%, as generated 20.0%, weighted 40.0%" in _told(picture)
    with pytest.raises(InputError):
        shares_figure([])


def test_lengths_are_shares_with_weighted_means() -> None:
    pool = ["one"] * 5 + ["one two three"] * 5
    picture = length_figure(["one two"], pool, np.r_[np.zeros(5), np.ones(5)])
    assert "real 2, as generated 2, weighted 3" in _told(picture)
    assert picture.count('class="step') == 6  # three curves and their keys
    ET.fromstring(length_figure(None, ["", "word " * 5_000]))
    with pytest.raises(InputError):
        length_figure(None, [])


def test_waves_fall_from_left_to_right() -> None:
    picture = course_figure([10, 20, 40], [0.4, 0.2, 0.1], [0.05] * 3, [None, 0.5, 0.2], unit="rows")
    places = _places(picture, "dot small synthetic")
    assert (np.diff(places[:, 0]) > 0).all()
    assert (np.diff(places[:, 1]) > 0).all()  # downwards
    assert "−50%" in picture
    assert "−20%" in picture
    assert "40 rows; another wave was last expected to take away 20% of it" in _told(picture)
    ET.fromstring(course_figure([1.0], [0.0], [None], [None], unit="cost"))
    with pytest.raises(InputError):
        course_figure([], [], [], [], unit="rows")


def test_the_line_of_distances_is_linear_in_the_unit_of_the_numbers() -> None:
    picture = distance_figure(0.4, 0.1, (0.0, 0.2))
    (before,), (after,) = _places(picture, "dot before"), _places(picture, "dot after")
    assert (before[0] - 10) / (after[0] - 10) == pytest.approx(4.0, rel=0.01)
    ET.fromstring(distance_figure(0.4, None, (0.0, 0.2)))


def test_neighbours_stay_together_and_the_legend_lies_off_the_points() -> None:
    rng = np.random.default_rng(0)
    apart = np.repeat(np.eye(2)[:, :1] * 30, 60, axis=0) * np.ones(8)
    rows = apart + rng.normal(size=(120, 8))
    before, after = neighbor_figures(rows[::2], rows[1::2], rows[1::2])
    points = _places(before, "point real")
    groups = points[:30], points[30:]
    middle = [group.mean(axis=0) for group in groups]
    spread = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in groups)
    assert np.linalg.norm(middle[0] - middle[1]) > spread
    np.testing.assert_array_equal(points, _places(after, "point real"))
    everything = np.concatenate([points, _places(before, "point synthetic")])
    legend = [float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)"', before)]
    assert everything[:, 1].min() > max(legend)


def test_a_missing_picture_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4))
    figures, note = maps_of(rows, rows + 1, np.ones(20))
    assert [figure.title for figure in figures] == ["In the two directions of most variance"]
    assert "too few" in note

    def absent(name: str, *rest: Any) -> None:
        assert name == "sklearn"

    monkeypatch.setattr("importlib.util.find_spec", absent)
    with pytest.raises(NoPicture, match=r"pip install 'synalign-jax\[report\]'"):
        neighbor_figures(rows, rows, rows)
