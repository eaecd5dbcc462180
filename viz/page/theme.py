"""Fonts, colours and style sheets of the page. System fonts only: the page makes no request elsewhere."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils.colors import Color

from sliminfer.assets import ASSETS
from viz.figures import theme as figures

PAGE_CSS = ASSETS / "css" / "page.css"
SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

BLUE = Color(
    name="slim-blue", c50="#eef6fb", c100="#d7eaf5", c200="#aed4ea", c300="#7fbadb", c400="#46a7dd", c500="#0072B2",
    c600="#00669f", c700="#00547f", c800="#003f5f", c900="#002b42", c950="#001a29",
)  # fmt: skip
GREY = Color(
    name="slim-grey", c50="#f7f8f9", c100="#eef0f2", c200="#d9dee4", c300="#bcc4cd", c400="#8d99a6", c500="#59646f",
    c600="#46515c", c700="#323b45", c800="#1f262e", c900="#15191f", c950="#0e1116",
)  # fmt: skip


def build() -> gr.themes.Base:
    """The Gradio theme: one accent, flat surfaces, thin rules."""
    return gr.themes.Base(
        primary_hue=BLUE,
        secondary_hue=BLUE,
        neutral_hue=GREY,
        radius_size=gr.themes.sizes.radius_sm,
        text_size=gr.themes.sizes.text_md,
        font=list(SYSTEM),
        font_mono=list(MONOSPACE),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#1f2933",
        body_text_color_dark="#e7ebf0",
        body_text_color_subdued="#59646f",
        body_text_color_subdued_dark="#a2adb9",
        background_fill_primary="white",
        background_fill_primary_dark="*neutral_900",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_label_text_color="#46515c",
        block_label_text_color_dark="#c3ccd6",
        block_title_text_color="#46515c",
        block_title_text_color_dark="#c3ccd6",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_info_text_color="#59646f",
        block_info_text_color_dark="#a2adb9",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#39424d",
        input_background_fill="white",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_300",
        input_border_color_dark="#46515c",
        input_border_width="1px",
        input_shadow="none",
        button_primary_background_fill="*primary_500",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        slider_color="*primary_500",
        slider_color_dark="*primary_400",
        color_accent="*primary_500",
    )


def css() -> str:
    """The figures' and the page's style sheets."""
    return figures.stylesheet() + PAGE_CSS.read_text(encoding="utf-8")
