"""A `Chart` as a Plotly figure: transparent, so that it sits on a light or dark page.

Text and grid take a grey that can be read on both; on the page `figures.css` replaces it by the theme's own.
"""

from __future__ import annotations

import html
from math import log10

import numpy as np
import plotly.graph_objects as go

from viz.figures.chart import Axis, Band, Chart, Line, Mark, Points, Rule
from viz.figures.theme import FONT, LIGHT, Palette, rgb

HEIGHT = 340
_SYMBOLS = {"cross": "x", "triangle": "triangle-up"}
_GREY = "#767f88"  # contrast above 4 on white and on the dark page


def plotly_figure(chart: Chart, palette: Palette = LIGHT) -> go.Figure:
    """The chart with hover, zoom and legend; its title is left to the caption beside it."""
    figure = go.Figure()
    for mark in chart.marks:
        _add(figure, mark, palette)
    named = sum(not isinstance(mark, Rule) for mark in chart.marks)
    (x_low, x_high), (y_low, y_high) = chart.limits()
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 64, "r": 16, "t": 36 if named > 1 else 12, "b": 48},
        showlegend=named > 1,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 12, "color": _GREY},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        hovermode="closest",
        hoverlabel={"font": {"family": FONT, "size": 12}},
        dragmode=False,
        modebar={"remove": ["select2d", "lasso2d", "autoScale2d"], "bgcolor": "rgba(0,0,0,0)", "color": _GREY},
    )
    figure.update_xaxes(**_axis(chart.x, x_low, x_high))
    figure.update_yaxes(**_axis(chart.y, y_low, y_high))
    return figure


def _axis(axis: Axis, low: float, high: float) -> dict[str, object]:
    grid = {"gridcolor": "rgba(128,136,145,0.22)", "zeroline": False, "linecolor": _GREY, "ticks": "outside"}
    if axis.log:
        return {"title": axis.title, "type": "log", "range": [log10(low), log10(high)], **grid}
    shown = {"tickformat": ".0%"} if axis.percent else {}
    return {"title": axis.title, "range": [low, high], **shown, **grid}


def _add(figure: go.Figure, mark: Mark, palette: Palette) -> None:
    # Ink would vanish on a dark page, and the figure cannot know which one it is on.
    colour = _GREY if mark.role in ("ink", "muted") else getattr(palette, mark.role)
    name = _plain(mark.name)
    match mark:
        case Line():
            figure.add_scatter(
                x=mark.x,
                y=mark.y,
                name=name,
                mode="lines+markers" if mark.markers else "lines",
                line={"color": colour, "width": 2, "dash": mark.dash, "shape": "hv" if mark.steps else "linear"},
                marker={"size": 6},
            )
        case Band():
            red, green, blue = rgb(colour)
            known = np.isfinite(mark.low) & np.isfinite(mark.high)
            x, low, high = mark.x[known], mark.low[known], mark.high[known]
            figure.add_scatter(
                x=[*x, *x[::-1]],
                y=[*high, *low[::-1]],
                name=name,
                mode="lines",
                fill="toself",
                fillcolor=f"rgba({red},{green},{blue},0.2)",
                line={"width": 0},
                hoverinfo="skip",
            )
        case Points():
            parts = ["lines"] * mark.joined + ["markers"] + ["text"] * any(mark.labels)
            figure.add_scatter(
                x=mark.x,
                y=mark.y,
                name=name,
                text=list(map(_plain, mark.labels)),
                hovertext=list(map(_plain, mark.hints or mark.labels)),
                mode="+".join(parts),
                textposition="top center",
                line={"color": colour, "width": 1},
                marker={"color": colour, "size": 11, "symbol": _SYMBOLS.get(mark.symbol, mark.symbol)},
                cliponaxis=False,
            )
        case Rule():
            add = figure.add_vline if mark.vertical else figure.add_hline
            # Inside of the plot: above it stands the legend.
            inside = {"yanchor": "top", "xanchor": "left", "y": 1} if mark.vertical else {}
            add(
                mark.value,
                line={"color": colour, "width": 1.5, "dash": "dash"},
                annotation={"text": name, "font": {"size": 11}, **inside},
            )


def _plain(text: str) -> str:
    """`text` as Plotly, which takes some tags for markup, shows it letter by letter."""
    return html.escape(text, quote=False)
