"""The history of a visitor's runs as a chart: what was asked stands there as it was typed."""

from __future__ import annotations

import html

from viz.figures.history import Row, history_chart
from viz.figures.plotly_chart import plotly_figure


def test_what_was_asked_is_no_markup_under_the_pointer() -> None:
    asked = 'Is a<b <a href="https://example.org">here</a>? ' * 9
    figure = plotly_figure(history_chart([Row(1, asked, "no prune step", 1.0, 1.0, 1.0, "Yes.")]))
    [hint] = figure.data[0].hovertext
    assert "<" not in hint
    assert html.unescape(hint).startswith('Is a<b <a href="https://example.org">here</a>?')
    assert len(hint) < 300
