"""Pure functions from results to drawings: HTML, Plotly figures, PNG bytes, tables. Never imports gradio.

For the page (all functions are pure; nothing here keeps state):

    theme.stylesheet() -> str                 CSS of all HTML figures, light and `.dark`: add it to launch(css=...)
    theme.script(name) -> str                 for gr.HTML(js_on_load=...): "kept", "document", "replay"

    run.RunView().after(event) -> RunView     fold every engine event; .full / .pruned are SideViews
    kept_map.KeptMap.from_side(side, config, evidence) -> KeptMap      also while the side still runs
    kept.kept_html(kept_map, key) -> str      whole figure; `key` comes back in the browser's calls
    kept.panel_html(kept_map, start, end, width) -> str     server function kept_panel({key,start,end,width})
    kept.cell(kept_map, prompt, layer, position) -> dict    server function kept_cell({key,layer,position})
    document.document_html(kept_map, prompt, layer=None, key="") -> str

    cards.cards_html(run) -> str              four figures of both sides; any time, fills as the run goes on
    compare.ttft_split(full_metrics, pruned_metrics) -> bars.BarChart        .html(), .table
    compare.memory_stack(full_metrics, pruned_metrics) -> bars.BarChart
    compare.promised(comparison) -> bars.BarChart           FLOP-ideal against measured
    compare.repeats([metrics, ...], [metrics, ...]) -> bars.BarChart         repeat-n, median and range
    compare.fidelity_html(comparison, full_metrics) -> str
    compare.compare_html(run) -> str          all of the above but cards and repeats, once both sides are done
    replay.replay_html(run) -> str            race replay; "" before both sides have a token

Use gr.HTML(..., apply_default_css=False). A server function gets one dict (gradio passes a single argument).
A click in the map or the document fires `slim-token` on window, which the other one hears; no wiring needed.
Each module also has a `..._table(...) -> table.Table` with .html(), .details() and .frame().
"""
