"""Pure functions from results to drawings: HTML, Plotly figures, PNG bytes, tables. Never imports gradio.

Every figure is described once and drawn in several ways: `grid.Grid` (maps of cells) and `bars.BarChart` have
`.html()`, `chart.Chart` (curves, points) goes through `plotly_chart.plotly_figure`, and `raster.figure_png`
draws any of them as PNG. Each has a `.table` (`table.Table`) with `.html()`, `.details()` and `.frame()`.

The look
    theme.stylesheet() -> str                 CSS of all HTML figures, light and `.dark`: add it to launch(css=...)
    theme.script(name) -> str                 for gr.HTML(js_on_load=...): "kept", "document", "replay", "copy"

A run
    run: sliminfer.engine.result.RunResult    what the engine's events add up to; .full / .pruned are its sides
    cards.cards_html(run) -> str              four figures of both sides; any time, fills as the run goes on
    compare.compare_html(run) -> str          times, memory, promise, fidelity; "" before both sides are done
    compare.ttft_split / memory_stack(full_metrics, pruned_metrics), promised(comparison) -> BarChart
    compare.repeats([full_metrics, ...], [pruned_metrics, ...]) -> BarChart         median and range
    compare.fidelity_html(comparison, full_metrics) -> str
    timing.timing_chart(timing) -> BarChart   both prefills in turn: median, range, and what is noise
    reading.blocks_read(metrics) -> BarChart  share of the blocks that each layer read; None where all read densely
    replay.replay_html(run) -> str            race replay; "" before both sides have a token

What was kept
    kept_map.KeptMap.from_side(side, config, evidence) -> KeptMap      also while the side still runs
    kept.kept_html(kept_map, key) -> str      whole figure; `key` comes back in the browser's calls
    kept.panel_html(kept_map, start, end, width) -> str     server function kept_panel({key,start,end,width})
    kept.cell(kept_map, prompt, layer, position) -> dict    server function kept_cell({key,layer,position})
    document.document_html(kept_map, prompt, layer=None, key="") -> str
    kept_grid.kept_grid(kept_map) -> Grid     the same map where nothing moves: PNG, report

Other tabs
    history.history_chart([Row, ...]) -> Chart       runs on one document: agreement against FLOPs
    overlap.overlap_grid(a, b, names) -> Grid         two kept maps over each other
    trace.overlap_chart(answer_overlap, steps) -> Chart, trace.losses_html(losses, text, changed) -> str
    diffusion.attention_chart / removal_chart(result) -> Chart, similarity_grid(result) -> Grid
    residency.residency_grid(timeline) -> Grid, bytes_chart(timeline) -> Chart, in_words(timeline) -> str
                                              timeline = cache.timeline.measured(side.cache, side.piece_at)
    methods.methods_grid({name: kept_map}) -> Grid, methods_table([MethodRun, ...]) -> Table
    methods.accuracy_chart([Outcome, ...], yours=None, join=None, cost=TTFT) -> Chart
    stored.studies(folder) -> (Study, ...)    evaluations kept as files; study.outcomes go into accuracy_chart
    stored.nearest((Study, ...), model, tokens) -> Study
    stored.timings(folder) -> (BarChart, ...) times of `bench` files, one figure a machine and shape
    plotly_chart.plotly_figure(chart) -> go.Figure   for gr.Plot(show_label=False, container=False); put
                                              chart.caption() above it and chart.table.details() below

Files
    export.run_files(run, config, model, evidence, extra) -> {name: bytes}   run.json, PNGs, CSVs;
    run_file.RunFile.read(Fields.of(data)) -> RunFile   the way back: a saved run as a RunResult
    stored.studies_of(data) -> (Study, ...)   somebody's file of `eval`, checked
    export.archive(files) -> bytes             one ZIP
    export.json_bytes(run.to_dict(model, config)), csv_bytes(table), png_bytes(figure) -> bytes
    report.report_html(run, config, model, question, evidence, extra) -> str   one self-contained page

Use gr.HTML(..., apply_default_css=False). A server function gets one dict (gradio passes a single argument).
A click in the map or the document fires `slim-token` on window, which the other one hears; no wiring needed.
Selecting text in the document triggers its component's `pick` event with {start, end}, a half-open range of
prompt tokens: `component.pick(fn)`, where fn takes a gr.EventData.
"""
