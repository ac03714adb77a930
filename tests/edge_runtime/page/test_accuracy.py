"""IoU tables and confusion matrices of pages: the figures of the counts they were made of."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edge_runtime.labels import LabelSet
from edge_runtime.metrics import ConfusionMatrix
from edge_runtime.page.accuracy import class_table, confusion
from edge_runtime.page.pictures import DIFFERENT, colours_of, marked, panels, swatches
from tests.html_page import Page

LABELS = LabelSet("toy", ("red", "<green>", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 9)))


@pytest.fixture
def matrix() -> ConfusionMatrix:
    found = ConfusionMatrix(LABELS)
    found.add(np.array([[60, 20, 0], [1, 999, 0], [0, 0, 0]]))
    return found


def cells(row: str) -> list[str]:
    return [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]


def test_rows_are_per_cent_of_their_own_pixels(matrix):
    page = confusion(LABELS.names, matrix.counts.tolist(), rows="labelled", columns="predicted")

    table = Page(page).source.partition("</table>")[0]
    rows = [cells(row) for row in table.split("<tr>")[2:]]
    # 999 of 1000 is not all, 1 of 1000 is below what is shown, and nothing is blue
    assert rows == [["75", "25", "", "7.4"], ["", "&gt;99", "", "92.6"], ["", "", "", "0.0"]]
    assert 'class="c m r" style="--s:0.75"' in table
    assert 'class="c h r" style="--s:1.00"' in table
    assert "&lt;green&gt;" in page
    assert "<green>" not in page


def test_most_frequent_errors_come_first(matrix):
    text = Page(confusion(LABELS.names, matrix.counts.tolist(), rows="a", columns="b")).texts

    place = text.index("Most frequent errors")
    assert text[place + 5 :] == ["red", "<green>", "25.0", "95.2", "<green>", "red", "0.1", "4.8"]


def test_a_matrix_without_errors_or_pixels_says_so():
    for counts in ([[5, 0], [0, 5]], [[0, 0], [0, 0]]):
        page = Page(confusion(("a", "b"), counts, rows="x", columns="y"))
        assert "No pixel is wrong." in page.texts


def test_classes_of_several_columns_gain_and_lose(matrix):
    better = {"miou": 0.9, "iou": {"red": 0.9, "<green>": 0.5, "blue": None}}

    page = Page(class_table({"one": matrix.scores().as_json(), "two": better, "three": None}))

    assert "86.01" in page.texts, "mIoU: 60 of 81 and 999 of 1020"
    assert page.texts.count("absent") == 2
    assert page.texts.count("not measured") == 4
    assert "+15.93" in page.texts
    assert '<span class="bad">-47.94</span>' in page.source
    widths = [float(w) for w in re.findall(r'class="bar" width="([\d.]+)"', page.source)]
    assert widths == pytest.approx([172.0, 148.1, 195.9, 0.0], abs=0.1)


def test_a_single_different_pixel_shows_in_a_small_picture():
    import base64

    import cv2

    image, where = np.full((400, 900, 3), 90, np.uint8), np.zeros((400, 900), bool)
    where[201, 333] = True

    content = base64.b64decode(marked(image, where).partition(",")[2])
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    assert found.shape == (142, 320, 3)
    assert (found == DIFFERENT).all(-1).sum() >= 1
    assert (found == 180).all(-1).sum() > 45_000


def test_names_of_pictures_and_colours_stay_text():
    html = panels("<x>", {'"><y>': "data:image/png;base64,AA=="}) + swatches(colours_of(LABELS))

    page = Page(html)
    assert page.loaded == []
    assert {"<x>", '"><y>', "<green>"} <= set(page.texts)
    assert "background:#00ff00" in html
