"""The training forward is the stock model, and dropping is attention without the dropped keys."""

import numpy as np
import torch
from torch.nn import functional as F

from sliminfer.demo_model.batches import Batch, Request, Rows
from sliminfer.demo_model.dropping import KEPT_SHARES, kept_positions, places_among
from sliminfer.demo_model.network import Shape, Trainee, _norm, _rotate, new_model, rotary_tables
from sliminfer.demo_model.rows import Kind
from tests.demo_model.test_training_text import CORPUS, TOKENIZER

SHAPE = Shape(layers=6, width=48, heads=6, kv_heads=3, hidden=64, retrieval_layers=2, vocabulary=400)
TOKENS = 1024


def trainee() -> Trainee:
    return Trainee(new_model(SHAPE, 0), SHAPE.retrieval_layers, torch.float32, compiled=False)


def batch(length: int, dropping: bool, dense: float = 0.0) -> Batch:
    rows = Rows(CORPUS, TOKENIZER, TOKENS)
    return rows[Request(length, dense, dropping, "a seed")].to(torch.device("cpu"))


def test_the_training_forward_is_the_stock_forward() -> None:
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 400, (2, 96)))
    mine = trainee()
    with torch.no_grad():
        _, last = mine.hidden(ids)
        stock = mine.model.model(ids).last_hidden_state.reshape(-1, SHAPE.width)
        torch.testing.assert_close(_norm(last, mine.model.model.norm.weight, 1e-6), stock, rtol=1e-4, atol=1e-4)


def masked_forward(mine: Trainee, ids: torch.Tensor, kept: tuple[np.ndarray, ...]) -> torch.Tensor:
    """The same layers over all positions, with a mask that hides the dropped keys; [tokens, width]."""
    rows, length = ids.shape
    cos, sin = rotary_tables(mine.config, rows, length, ids.device)
    eps = mine.config.rms_norm_eps
    x = F.embedding(ids.reshape(-1), mine.model.model.embed_tokens.weight)
    visible = torch.ones(rows, length, dtype=torch.bool)
    for index, layer in enumerate(mine.model.model.layers):
        if index and index % SHAPE.retrieval_layers == 0:
            visible = torch.zeros(rows * length, dtype=torch.bool)
            visible[torch.from_numpy(kept[index // SHAPE.retrieval_layers - 1])] = True
            visible = visible.view(rows, length)
        normed = _norm(x, layer.input_layernorm.weight, eps)
        q, k, v = (
            getattr(layer.self_attn, f"{name}_proj")(normed).unflatten(-1, (-1, SHAPE.width // SHAPE.heads))
            for name in "qkv"
        )
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        q, k, v = (each.unflatten(0, (rows, length)).transpose(1, 2) for each in (q, k, v))
        mask = torch.ones(length, length, dtype=torch.bool).tril() & visible[:, None, None, :]
        mask |= torch.eye(length, dtype=torch.bool)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        x = x + layer.self_attn.o_proj(mixed.transpose(1, 2).reshape(len(x), -1))
        x = x + layer.mlp(_norm(x, layer.post_attention_layernorm.weight, eps))
    return x


def test_dropping_is_attention_that_does_not_see_the_dropped_keys() -> None:
    given = batch(512, dropping=True)
    asked = np.zeros(given.inputs.numel(), dtype=bool)
    asked[given.places[given.kinds > Kind.PROSE]] = True
    kept = kept_positions(asked.reshape(given.inputs.shape), np.random.default_rng(1))
    indices = [torch.from_numpy(kept[0]), torch.from_numpy(places_among(kept[0], kept[1]))]
    mine = trainee()
    with torch.no_grad():
        _, last = mine.hidden(given.inputs, indices)
        expected = masked_forward(mine, given.inputs, kept)[torch.from_numpy(kept[1])]
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)


def test_a_batch_with_dropping_asks_only_where_something_is_left() -> None:
    for length in (256, 1024):
        given = batch(length, dropping=True, dense=0.3)
        positions = np.arange(given.inputs.numel())
        for each, share in zip(given.kept, KEPT_SHARES):
            positions = positions[each.numpy()]
            assert len(positions) == int(length * share) * (TOKENS // length)
        used = (given.kinds != Kind.NOTHING).numpy()
        assert used.any()
        assert not (given.kinds == Kind.PROSE).any()
        np.testing.assert_array_equal(positions[given.last_places.numpy()[used]], given.places.numpy()[used])
        # The target of a place is the next input, but at the end of a row, where the inputs stop one short.
        inside = used & ((given.places.numpy() + 1) % length != 0)
        following = given.inputs.reshape(-1).numpy()[given.places.numpy()[inside] + 1]
        np.testing.assert_array_equal(following, given.targets.numpy()[inside])


def test_without_dropping_the_last_places_are_the_places() -> None:
    given = batch(512, dropping=False)
    assert given.kept == ()
    assert torch.equal(given.places, given.last_places)


def test_the_loss_counts_every_kind_that_occurs() -> None:
    mine = trainee()
    for dropping in (False, True):
        given = batch(1024, dropping)
        losses = mine.losses(given, early_weight=0.5)
        losses.total.backward()
        assert torch.isfinite(losses.total)
        present = set(given.kinds.tolist())
        assert {int(kind) for kind in Kind if not torch.isnan(losses.loss[kind])} == present
