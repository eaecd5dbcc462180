"""The About tab: the method, what every number on the page means, the limits, what this runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import gradio as gr

from viz.figures.stored import timings
from viz.figures.words import count, escape, size
from viz.page.session import Visitor
from viz.page.site import Site
from viz.page.tab import Tab

_METHOD = """
<h2>What you are looking at</h2>
<p>A language model reads a prompt layer by layer, and every layer turns every token into a new hidden state. Early
layers spread what a sentence says to the tokens around it. Once that has happened, most hidden states are no longer
needed for the question at hand. SlimInfer drops them, between layers, without any training.</p>
<ol class="steps">
<li>{reads}<b>Preserve.</b> The first layers read the whole prompt, so that information can spread.</li>
<li>{scores}<b>Score.</b> At a prune layer the last tokens, the question among them, look back. A block counts as much
as the most attention that any of its tokens gets.</li>
<li>{keeps}<b>Keep.</b> Only the best blocks go on, at their original positions, with the first block, the last tokens
and the question always among them. A later prune layer may drop more.</li>
<li>{stores}<b>Store less.</b> Each layer keeps keys and values of its own survivors only, and while the answer is
written it can hold a part of them on the device and the rest on the host.</li>
</ol>
"""

_NUMBERS = (
    ("Time to first token (TTFT)", "Seconds from the prompt’s token ids on the device to the first answer token on the "
     "host, the device synchronised at both ends. Tokenising comes before this clock and is shown apart."),
    ("Tokens per second", "Answer tokens after the first, over the time they took."),
    ("Prompt’s KV cache", "Bytes of the keys and values of the prompt that the device holds after the prefill, summed "
     "over the layers from the tensors themselves."),
    ("Peak memory", "The most memory taken above the loaded model at any time of the run: the allocator’s peak on a "
     "GPU, the process’s high-water mark on a CPU."),
    ("Activations", "What the peak holds above the KV cache: hidden states and work space."),
    ("Speed-up by FLOPs", "Arithmetic of the full prefill over that of the pruned one: matrices and attention of every "
     "layer, the head, and the scoring. It is what pruning could bring if nothing else cost time."),
    ("Cannot be told", "Both prefills run on in turn until their median is sure or a few seconds are gone. Where pairs "
     "still differ too much, or exceed what the arithmetic allows, the time is noise: then FLOPs and KV lead."),
    ("Where was it lost", "What the full model’s own answer attends to in the prompt, layer by layer, and what pruning "
     "had dropped of that (the answer-informed oracle of arXiv 2602.16054)."),
    ("Efficiency", "The measured ratio of times to first token over the speed-up by FLOPs."),
    ("Score and prune", "The part of the time to first token that scoring blocks and gathering the survivors take. The "
     "first decode step, from the first token to the second, comes after that clock."),
    ("First-token KL", "How far the pruned model’s distribution of the first answer token is from the full model’s, in "
     "nats; 0 means identical."),
    ("Agreement", "Share of the full answer’s tokens that the pruned answer has at the same place."),
    ("Block score", "Softmax attention that the block’s best token gets from the last positions, averaged over "
     "them and all heads, in the layer just run or the one about to run; or the score of a block nearby, less half "
     "for every 8 tokens between them. The threshold is the lowest score that was kept for its score."),
    ("Layers survived", "How many layers ran over a token."),
    ("Deepest layer saw", "Share of the prompt that the layer with the fewest tokens ran over."),
    ("Working set", "The kept blocks that are on the device at a decode step. At every refresh, counted in steps, the "
     "newest query scores all kept blocks by the mean keys of their units, and the best are wanted."),
    ("Swap", "A change of the working set, made when less of it than gamma is still wanted. The new blocks are loaded "
     "while earlier layers compute."),
    ("Transfer beside the compute", "Of the time that the link between device and host was busy, the share for which "
     "no layer had to wait. On a CPU the link is simulated, with the bandwidth you choose."),
    ("Accuracy", "Mean share of right answers over the suites of a stored evaluation. Your run’s is 100 % or 0 %: its "
     "answer holds the expected words, or not."),
    ("Attention on the span", "Share of the attention of the last 16 positions, the question’s end, that falls on the "
     "passage: softmax over all they see, averaged over them and all heads, on entering each layer."),
    ("Log-probability of the answer", "Natural logarithm of the probability that the model gives the first tokens, at "
     "most eight, of the full model’s own answer; 0 is certainty. Removed from a layer on: the passage’s blocks are "
     "read by all layers below and by none from there on. Random blocks: as many others, drawn anew several times, "
     "each draw the same at every layer. From the input: the same tokens left out and the gap closed."),
    ("Where the span’s information is", "How far a position’s state is from the one it has in a run without the "
     "passage’s blocks, over the size of the state: 0 % where nothing of the passage has arrived, at most 100 %. "
     "Positions before the passage cannot see it."),
)  # fmt: skip

_LIMITS = """
<h2>Limits</h2>
<ul>
<li>A live run is one run of each side after a warm-up; other programs on the machine disturb it. Choose more runs in
the settings for a median and a spread, or use <code>sliminfer bench</code>.</li>
<li>The two sides never run at the same time. The replay starts both at once only on the screen.</li>
<li>One prompt at a time; batches are refused.</li>
<li>Pruning helps where the answer stands in a few places. Summaries and questions about the whole document need the
blocks that it drops.</li>
<li>The demo model is small: it finds planted facts and continues quotations, and knows nothing else.</li>
<li>Your text stays on this server, in memory, for an hour at most, and is sent nowhere.</li>
</ul>
<h2>Cite</h2>
<pre tabindex="0">SlimInfer: Accelerating Long-Context LLM Inference via Dynamic Token Pruning
arXiv:2508.06447, AAAI 2026</pre>
<p>This page and its engine are an independent implementation and not the work of the paper’s authors.</p>
"""


@dataclass(frozen=True)
class AboutTab(Tab):
    """Nothing on it changes."""

    id: ClassVar[str] = "about"
    label: ClassVar[str] = "About"

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        gr.HTML(html(site), elem_id="about", apply_default_css=False)
        return cls()


def html(site: Site) -> str:
    """The tab's content."""
    method = _METHOD.format(
        reads=_picture((1, 1, 1, 1, 1, 1, 1, 1)),
        scores=_picture((0.15, 0.1, 0.9, 0.2, 0.1, 0.7, 0.15, 1)),
        keeps=_picture((1, 0, 1, 0, 0, 1, 0, 1)),
        stores=_picture((1, 0, 0, 0, 0, 1, 0, 1)),
    )
    numbers = "".join(f"<dt>{name}</dt><dd>{meaning}</dd>" for name, meaning in _NUMBERS)
    return (
        f"<article>{method}<h2>Every number</h2><dl>{numbers}</dl>{_machine(site)}{_measured(site)}{_LIMITS}</article>"
    )


def _picture(shares: tuple[float, ...]) -> str:
    """Eight blocks of a prompt, as high as what the step gives or leaves them."""
    bars = "".join(f'<i class="on" style="--h:{100 * share:.0f}%"></i>' for share in shares)
    return f'<div class="stairs plan" aria-hidden="true">{bars}</div>'


def _measured(site: Site) -> str:
    """What `sliminfer bench` found on named machines; nothing where no results are kept."""
    figures = "".join(chart.html() for chart in timings(site.benchmarks))
    return f"<h2>Measured</h2>{figures}" if figures else ""


def _machine(site: Site) -> str:
    """Hardware, precision and backend in use."""
    loaded = site.shelf.any_loaded()
    if loaded is None:
        return ""
    shape = loaded.shape
    rows = (
        ("Model", f"{loaded.name}: {count(shape.params)} parameters, {shape.layers} layers, {shape.heads} query and "
         f"{shape.kv_heads} KV heads, {count(shape.context)} positions, weights {size(loaded.weights_bytes)}"),
        ("Device", loaded.device_name),
        ("Precision", loaded.dtype_name),
        ("Attention", loaded.attention),
    )  # fmt: skip
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<h2>In use here</h2><dl>{listed}</dl>"
