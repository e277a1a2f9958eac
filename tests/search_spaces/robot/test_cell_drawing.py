"""Cells are drawn with their operations; text that is no cell is not."""

from __future__ import annotations

from xml.etree import ElementTree

from search_spaces.robot.cell_drawing import Edge, cell_svg, edges_of

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|"


def test_edges_are_read_from_the_benchmarks_string():
    assert edges_of(CELL) == [Edge(0, 1, "nor_conv_3x3"), Edge(1, 2, "skip_connect"), Edge(0, 3, "avg_pool_3x3")]


def test_every_operation_is_drawn_and_what_leads_nowhere_is_pale():
    drawn = ElementTree.fromstring(cell_svg(CELL))
    groups = [group for group in drawn if group.tag == "g"]
    words = {group.find("text").text: group.get("opacity") for group in groups}
    assert words == {"conv 3x3": "0.3", "skip": "0.3", "avg pool 3x3": None}


def test_other_texts_are_no_cells():
    for text in ("", "3 then 4 @17", "|a~0|+|b~2|", "(2, 0, 3)"):
        assert cell_svg(text) is None
