"""The model: Eq. 13-15 and 17-19 by hand, widths, gradients, and what each variant may and may not see."""

import argparse
import dataclasses
import math
from dataclasses import replace

import pytest
import torch
from conftest import DIMS, VIEWS, make_workspace

from mmifn.cli.flags import add_training_arguments, chosen_config
from mmifn.core.errors import ArtefactError, UserError
from mmifn.fusion.afm import AFM, ConcatFusion, Head, ViewPool
from mmifn.fusion.config import VARIANTS, ModelConfig
from mmifn.fusion.gff import GFF, BiLSTM, GlobalLevel, head_count
from mmifn.fusion.inputs import Dimensions, Inputs, load_database, require_same_method
from mmifn.fusion.lff import LIT, AttentionLFF, ConcatLFF, VisionOnlyLFF
from mmifn.fusion.model import MMIFN, FusionOnly, GlobalBranch, ImageDropout, Standardise
from mmifn.training.configs import CONFIGS

SMALL = ModelConfig(level_widths=(8, 12, 16), lit_hidden=14, width=16, heads=4)
SIZES = Dimensions(DIMS["text"], DIMS["view"], DIMS["levels"], VIEWS)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_inputs(n=7, words=5, sizes=SIZES, cells=6):
    mask = torch.arange(words)[None] < torch.randint(2, words + 1, (n, 1))
    mask[0] = True
    return Inputs(
        torch.randn(n, words, sizes.text) * mask[..., None],
        mask,
        torch.randn(n, sizes.text),
        torch.randn(n, sizes.viewports, sizes.view),
        tuple(torch.randn(n, cells, c) for c in sizes.levels),
    )


def test_rows_of_inputs_keep_their_words_and_no_column_that_none_of_them_fills():
    """Words at 1 and 2 of the first row, at 0 and 4 of the second (as if words were hidden), none in the third."""
    inputs = make_inputs(n=3)
    mask = torch.tensor([[0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=torch.bool)
    inputs = replace(inputs, mask=mask)
    for rows, width in (([0], 3), ([1, 0], 5), ([2, 0], 3), ([2], 1)):
        some = inputs[rows]
        assert torch.equal(some.mask, mask[rows][:, :width]) and torch.equal(some.text, inputs.text[rows][:, :width])
        assert torch.equal(some.views, inputs.views[rows]) and len(some) == len(rows)


def model(variant="full", **change):
    torch.manual_seed(1)
    return MMIFN(replace(SMALL, variant=variant, **change), SIZES).eval()


# --- the equations ---------------------------------------------------------------------------------------------------


def mlp(softmaxed, layers):
    first, last = layers[0], layers[3]
    return torch.nn.functional.gelu(softmaxed @ first.weight.T + first.bias) @ last.weight.T + last.bias


def pointwise(tokens, conv):
    return tokens @ conv.conv.weight[:, :, 0].T + conv.conv.bias


def softmax_times_width(features):
    e = (features - features.amax(dim=-1, keepdim=True)).exp()
    return e / e.sum(dim=-1, keepdim=True) * features.shape[-1]


def norm(tokens, layer):
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias


def attention(query, memory, layer, mask=None):
    """Multi-head attention written out head by head."""
    width = query.shape[-1]
    w, b = layer.in_proj_weight, layer.in_proj_bias
    q, k, v = (
        x @ w[i * width : (i + 1) * width].T + b[i * width : (i + 1) * width] for i, x in enumerate((query, memory, memory))
    )
    parts = []
    for head in range(layer.num_heads):
        at = slice(head * width // layer.num_heads, (head + 1) * width // layer.num_heads)
        logits = q[..., at] @ k[..., at].transpose(1, 2) / (width // layer.num_heads) ** 0.5
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], -torch.inf)
        parts.append(logits.softmax(dim=-1) @ v[..., at])
    return torch.cat(parts, dim=-1) @ layer.out_proj.weight.T + layer.out_proj.bias


def test_lit_is_equations_13_to_15():
    lit = LIT(12, 10, 14, 0.1).eval()
    views, text = torch.randn(3, 20, 12), torch.randn(3, 10)
    wanted = torch.zeros(3, 20, 10)
    for i in range(20):  # viewport by viewport
        softmaxed = softmax_times_width(views[:, i])
        eq13 = text * mlp(softmaxed, lit.scale.layers)
        eq14 = eq13 + mlp(softmaxed, lit.shift.layers)
        wanted[:, i] = pointwise(eq14.clamp(min=0), lit.conv)  # Eq. 15
    torch.testing.assert_close(lit(views, text), wanted, atol=1e-5, rtol=1e-5)


def test_each_viewport_may_have_words_of_its_own():
    """By viewport as if it were alone with its words; the same words for all are those of the image."""
    views, words = torch.randn(3, 5, 12), torch.randn(3, 5, 10)
    for block in (LIT(12, 10, 14, 0.1, residual=True).eval(), ConcatLFF(12, 10)):
        alone = torch.cat([block(views[:, i:i + 1], words[:, i]) for i in range(5)], dim=1)
        torch.testing.assert_close(block(views, words), alone)
        torch.testing.assert_close(block(views, words[:, :1].expand(-1, 5, -1)), block(views, words[:, 0]))
    attention = AttentionLFF(12, 10, 2, 0.1).eval()
    assert attention(views, words).shape == attention(views, words[:, 0]).shape == (3, 5, 10)
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(attention(views[:, order], words[:, order]), attention(views, words)[:, order])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reads_words_of_viewports(variant):
    inputs = make_inputs()
    alike = replace(inputs, pooled=inputs.pooled[:, None].expand(-1, SIZES.viewports, -1))
    network = model(variant)
    whole = network(inputs)
    if variant != "w/o LIT":  # there the text is one token, or as many as viewports
        torch.testing.assert_close(network(alike), whole)
    apart = replace(inputs, pooled=torch.randn(len(inputs), SIZES.viewports, SIZES.text))
    assert network(apart).shape == whole.shape and torch.equal(network(apart), whole) == (variant == "w/o text")


def test_the_residual_of_lit_is_a_convolution_of_the_viewports():
    views, text = torch.randn(2, 5, 12), torch.randn(2, 10)
    for block in (LIT(12, 10, 14, 0.1, residual=True).eval(), VisionOnlyLFF(12, 10, 14, 0.1, residual=True).eval()):
        whole = block(views, text)
        past, block.past = block.past, None
        torch.testing.assert_close(whole - block(views, text), pointwise(views, past))


def test_the_panorama_is_hidden_from_gff_in_training_only():
    """Of two panoramas alike but for the levels, hidden levels leave no difference."""
    inputs = make_inputs()
    network = GlobalBranch(ModelConfig(level_widths=(8, 8, 8), dropout=0.0, global_dropout=0.999), inputs.dimensions)
    other = replace(inputs, levels=tuple(2 * level + 1 for level in inputs.levels))
    assert torch.equal(network.train()(inputs), network(other)) and not torch.equal(network.eval()(inputs), network(other))
    with pytest.raises(UserError, match="--global-dropout must be at least 0 and below 1, got 1"):
        ModelConfig(global_dropout=1.0)
    assert chosen("--config", "compact", "--global-dropout", "0.8").model.global_dropout == 0.8


def test_hidden_text_is_whole_texts_in_training_only():
    hide = ImageDropout(0.25)
    text = torch.ones(4000, 3, 2)
    hidden, twin = hide.train()(text, 3 * text)
    assert torch.equal(twin, 3 * hidden)  # all that is given of an image goes together
    assert set(hidden.mean(dim=(1, 2)).tolist()) == {0.0, 1.0}
    assert abs(float(hidden.mean()) - 0.75) < 0.03  # 4 SD of 4000 draws
    assert torch.equal(hide.eval()(text)[0], text) and torch.equal(ImageDropout(0.0).train()(text)[0], text)
    with pytest.raises(UserError, match="--text-dropout must be at least 0 and below 1, got 1"):
        ModelConfig(text_dropout=1.0)


@pytest.mark.parametrize("residual", [False, True])
def test_afm_is_equations_17_to_19(residual):
    afm = AFM(18, 10, 16, 4, 0.1, residual).eval()
    f_g3, f_l = torch.randn(3, 6, 18), torch.randn(3, 20, 10)
    memory = pointwise(norm(f_g3, afm.global_norm), afm.key_value)  # Eq. 17
    query = pointwise(norm(pointwise(f_l, afm.local_enter), afm.local_norm), afm.query)  # Eq. 18
    wanted = attention(query, memory, afm.attention)  # Eq. 19
    torch.testing.assert_close(afm(f_g3, f_l), wanted + query if residual else wanted, atol=1e-5, rtol=1e-5)


def torch_lstm(ours):
    """Torch's own bidirectional LSTM with the same weights."""
    whole = torch.nn.LSTM(ours.there.input_size, ours.there.hidden_size, batch_first=True, bidirectional=True)
    state = dict(ours.there.state_dict()) | {f"{name}_reverse": value for name, value in ours.back.state_dict().items()}
    whole.load_state_dict(state)
    return whole


def test_a_gff_level_by_hand():
    level = GlobalLevel(6, 8, 10, 4, 0.1).eval()
    inputs = make_inputs(3)
    visual = torch_lstm(level.visual_lstm)(inputs.levels[0] @ level.enter.weight.T + level.enter.bias)[0]
    visual = norm(visual + attention(visual, visual, level.self_attention), level.self_norm)
    words = torch.zeros(3, 5, 8)
    for i in range(3):  # one text at a time, without its padding
        n = int(inputs.mask[i].sum())
        text = inputs.text[i : i + 1, :n] @ level.project_text.weight.T + level.project_text.bias
        words[i, :n] = torch_lstm(level.text_lstm)(text)[0][0]
    wanted = norm(visual + attention(visual, words, level.cross_attention, inputs.mask), level.cross_norm)
    torch.testing.assert_close(level(inputs.levels[0], inputs.text, inputs.mask), wanted, atol=1e-5, rtol=1e-5)


def test_an_lstm_cell_by_hand():
    lstm = BiLSTM(4)
    x = torch.randn(1, 3, 4)
    for direction, part in ((1, lstm.there), (-1, lstm.back)):
        w, u, b, c = (getattr(part, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
        hidden, cell, out = torch.zeros(1, 2), torch.zeros(1, 2), []
        for token in list(x.transpose(0, 1))[::direction]:
            i, f, g, o = (token @ w.T + b + hidden @ u.T + c).chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            out.append(hidden)
        half = lstm(x)[0, :, :2] if direction == 1 else lstm(x)[0, :, 2:]
        torch.testing.assert_close(half, torch.cat(out[::direction]))
    with pytest.raises(ValueError, match="even width"):
        BiLSTM(5)


def test_gff_has_the_papers_widths():
    gff = GFF((192, 384, 768), (192, 384, 768), 768, 8, 0.0).eval()
    sizes = Dimensions(768, 768, (192, 384, 768), 20)
    inputs = make_inputs(2, sizes=sizes, cells=3)
    widths = [GFF.forward(_first(gff, k), list(inputs.levels[:k]), inputs.text, inputs.mask).shape[2] for k in (1, 2, 3)]
    assert widths == [192, 576, 1344] and gff.out_dim == 1344
    assert all(isinstance(level.enter, torch.nn.Identity) for level in gff.levels)
    paper = CONFIGS["paper"].model
    assert paper.level_widths is None and MMIFN(replace(paper, width=32, lit_hidden=8), sizes).global_branch.out_dim == 1344


def _first(gff, count):
    part = torch.nn.Module()
    part.levels = gff.levels[:count]
    return part


def test_each_gff_level_is_concatenated_to_those_before():
    gff = GFF((6, 8, 10), (8, 12, 16), 10, 4, 0.0).eval()
    inputs = make_inputs(2)
    fused = gff(list(inputs.levels), inputs.text, inputs.mask)
    for at, module, level in zip((slice(0, 8), slice(8, 20), slice(20, 36)), gff.levels, inputs.levels, strict=True):
        torch.testing.assert_close(fused[:, :, at], module(level, inputs.text, inputs.mask))


def test_the_other_blocks_by_hand():
    views, text, whole = torch.randn(2, 5, 12), torch.randn(2, 10), torch.randn(2, 6, 18)
    vision = VisionOnlyLFF(12, 10, 14, 0.1).eval()
    torch.testing.assert_close(
        vision(views, None), pointwise(mlp(softmax_times_width(views), vision.shift.layers).clamp(min=0), vision.conv)
    )
    mixer = AttentionLFF(12, 12, 4, 0.1).eval()
    words = torch.randn(2, 12)
    tokens = torch.cat([views @ mixer.enter.weight.T + mixer.enter.bias, words[:, None]], dim=1)
    torch.testing.assert_close(
        mixer(views, words), norm(tokens + attention(tokens, tokens, mixer.attention), mixer.norm)[:, :5], atol=1e-5, rtol=1e-5
    )
    assert torch.equal(ConcatLFF(12, 10)(views, text)[1, 3], torch.cat([views[1, 3], text[1]]))
    torch.testing.assert_close(ConcatFusion(18, 12)(whole, views)[1, 3], torch.cat([views[1, 3], whole[1].mean(dim=0)]))
    head = Head(12, 6, 0.1).eval()
    _, first, _, _, last = head.layers
    hidden = torch.nn.functional.gelu(norm(views, head.layers[0]) @ first.weight.T + first.bias)
    torch.testing.assert_close(head(views), (hidden @ last.weight.T + last.bias)[..., 0])


def test_head_counts_divide():
    assert [head_count(width, 8) for width in (64, 12, 7, 5, 192)] == [8, 6, 7, 5, 8]


def test_features_are_standardised_by_the_images_they_were_fitted_on():
    module, features = Standardise(3), torch.randn(50, 4, 3) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor([2.0, -3.0, 0.25])
    assert torch.equal(module(features / 9), features / 9)  # identity until fitted
    module.fit(features)
    out = module(features)[..., :2].reshape(-1, 2)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=0), torch.ones(2), atol=1e-4, rtol=0)
    large = module(torch.full((1, 3), 1e9))[0]
    assert large[:2].tolist() == [8, 8] and large[2] == 0  # what never differed says nothing, whatever it is on a new image


# --- the whole model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant, residual):
    network = model(variant, afm_residual=residual)
    inputs = make_inputs()
    network.fit_inputs(inputs)
    (network(inputs).mean(dim=1) - torch.randn(7)).square().mean().backward()
    dead = [name for name, value in network.named_parameters() if value.grad is None or float(value.grad.abs().max()) < 1e-12]
    assert not dead


def test_the_worst_views_count_more_by_a_parameter_that_learns():
    """Scores 0 and -log 2 at favour 1: weights 1 and 2, so two thirds of -log 2."""
    scores = torch.tensor([[0.0, -math.log(2)], [1.0, 1.0]])
    assert torch.equal(ViewPool(worst=False)(scores), scores.mean(dim=1))
    pool = ViewPool(worst=True)
    torch.testing.assert_close(pool(scores), scores.mean(dim=1))
    pool(scores).sum().backward()
    assert float(pool.favour.grad) == pytest.approx(-math.log(2) ** 2 / 4)  # minus the variance of the first row
    with torch.no_grad():
        pool.favour.fill_(1.0)
    torch.testing.assert_close(pool(scores), torch.tensor([-2 / 3 * math.log(2), 1.0]))
    assert chosen("--config", "compact", "--worst-views").model.worst_views


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_score_for_every_viewport_whatever_the_batch(variant):
    network, inputs = model(variant), make_inputs()
    scores = network(inputs)
    assert scores.shape == (7, VIEWS)
    one_by_one = torch.cat([network(inputs[[i]]) for i in range(7)])
    torch.testing.assert_close(one_by_one, scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(inputs[[4, 1]]), scores[[4, 1]], atol=1e-5, rtol=1e-5)
    assert float(scores.detach().std(dim=1).min()) > 1e-6  # viewports have scores of their own


def test_variants_differ_in_more_than_their_name():
    inputs = make_inputs()
    scores = {variant: model(variant)(inputs) for variant in VARIANTS}
    assert len({tuple(score.flatten().tolist()) for score in scores.values()}) == 6
    assert VARIANTS == {"full": 1, "w/o text": 3, "w/o GFF": 4, "w/o LFF": 5, "w/o AFM": 6, "w/o LIT": 7}
    kinds = {
        variant: (type(net.local_branch.lff), type(net.fusion), hasattr(net.global_branch, "gff"))
        for variant in VARIANTS
        for net in [model(variant)]
    }
    assert kinds == {
        "full": (LIT, AFM, True),
        "w/o text": (VisionOnlyLFF, AFM, True),
        "w/o GFF": (LIT, AFM, False),
        "w/o LFF": (ConcatLFF, AFM, True),
        "w/o AFM": (LIT, ConcatFusion, True),
        "w/o LIT": (AttentionLFF, AFM, True),
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_each_variant_sees(variant):
    network, inputs = model(variant), make_inputs()
    before = network(inputs)

    def moves(**change):
        return not torch.equal(network(replace(inputs, **change)), before)

    texts = {"pooled": inputs.pooled.flip(0), "text": inputs.text.flip(0), "mask": inputs.mask.flip(0)}
    assert moves(**texts) == (variant != "w/o text")
    assert moves(views=inputs.views.flip(0))
    for k in range(3):
        assert moves(levels=tuple(level.flip(0) if i == k else level for i, level in enumerate(inputs.levels)))


def test_tokens_and_pooled_text_each_matter_in_the_full_model():
    network, inputs = model(), make_inputs()
    before = network(inputs)
    assert not torch.equal(network(replace(inputs, text=inputs.text.roll(1, dims=2))), before)
    assert not torch.equal(network(replace(inputs, pooled=inputs.pooled.flip(1))), before)


@pytest.mark.parametrize("variant", ["full", "w/o LIT"])
def test_padding_of_the_text_does_not_matter(variant):
    network, inputs = model(variant), make_inputs()
    before = network(inputs)
    dirty = torch.where(inputs.mask[..., None], inputs.text, torch.tensor(99.0))
    torch.testing.assert_close(network(replace(inputs, text=dirty)), before, atol=1e-6, rtol=0)
    longer = replace(
        inputs,
        text=torch.cat([inputs.text, torch.randn(7, 3, 10)], dim=1),
        mask=torch.cat([inputs.mask, torch.zeros(7, 3, dtype=bool)], dim=1),
    )
    torch.testing.assert_close(network(longer), before, atol=1e-6, rtol=0)
    assert longer[[0, 1]].text.shape[1] == 5  # a batch is cut to its longest text


def test_without_gff_the_fused_features_are_the_levels_and_the_text():
    network, inputs = model("w/o GFF"), make_inputs()
    fused = network.global_branch(inputs)
    assert torch.equal(fused[3, 2], torch.cat([*(level[3, 2] for level in inputs.levels), inputs.pooled[3]]))


@pytest.mark.parametrize(
    "change",
    [
        {"afm_residual": False},
        {"level_widths": (8, 12, 8)},
        {"level_widths": None},
        {"lit_hidden": 15},
        {"width": 24},
        {"heads": 2},
    ],
)
def test_every_model_option_changes_the_scores(change):
    inputs = make_inputs()
    assert not torch.equal(model(**change)(inputs), model()(inputs))


def test_dropout_is_for_training_only():
    inputs = make_inputs()
    network = model(dropout=0.5).train()
    assert not torch.equal(network(inputs), network(inputs))
    assert torch.equal(network.eval()(inputs), model(dropout=0.0)(inputs))
    quiet = model(dropout=0.0).train()
    assert torch.equal(quiet(inputs), quiet(inputs))


def test_options_are_checked():
    with pytest.raises(ValueError, match="variant"):
        ModelConfig(variant="w/o all")
    for bad in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="--dropout"):
            ModelConfig(dropout=bad)


def test_afm_and_head_alone_are_those_of_the_model():
    network, inputs = model(), make_inputs()
    from mmifn.fusion.inputs import FusedInputs

    fused = FusedInputs(network.global_branch(inputs), network.local_branch(inputs))
    assert torch.equal(FusionOnly(network)(fused), network(inputs))
    assert len(fused[[0, 2]]) == 2 and torch.equal(fused[[2]].fused_local, fused.fused_local[2:3])


# --- configurations and flags ----------------------------------------------------------------------------------------


def chosen(*argv, share=1.0):
    parser = argparse.ArgumentParser()
    add_training_arguments(parser)
    return chosen_config(parser.parse_args(argv), share)


def test_the_default_is_the_papers():
    config = chosen()
    assert config == CONFIGS["paper"] and not config.model.afm_residual
    train = config.train
    assert (train.epochs, train.learning_rate, train.loss, train.freeze_branches) == (100, 1e-3, "mse", False)
    assert chosen(share=0.5).train.epochs == 50  # cross-database and ablation runs
    assert chosen("--epochs", "7", share=0.5).train.epochs == 7


@pytest.mark.parametrize(
    ("argv", "part", "field", "value"),
    [
        (["--epochs", "3"], "train", "epochs", 3),
        (["--branch-epochs", "4"], "train", "branch_epochs", 4),
        (["--from-scratch"], "train", "branch_epochs", 0),
        (["--freeze-branches"], "train", "freeze_branches", True),
        (["--learning-rate", ".01"], "train", "learning_rate", 0.01),
        (["--weight-decay", ".1"], "train", "weight_decay", 0.1),
        (["--batch-size", "5"], "train", "batch_size", 5),
        (["--dropout", "0"], "model", "dropout", 0.0),
        (["--loss", "mse+plcc"], "train", "loss", "mse+plcc"),
        (["--schedule", "cosine"], "train", "schedule", "cosine"),
    ],
)
def test_each_flag_sets_its_field_and_no_other(argv, part, field, value):
    config = chosen(*argv)
    base = CONFIGS["paper"]
    assert getattr(getattr(config, part), field) == value
    assert config == replace(base, **{part: replace(getattr(base, part), **{field: value})})
    assert dataclasses.asdict(config) != dataclasses.asdict(base)


# --- joining the caches ----------------------------------------------------------------------------------------------


def test_rows_are_joined_by_name(space, database):
    manifest = space.manifest("OIQA")
    header, *rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *rows[::-1][:20]]) + "\n")
    turned = load_database(space, "OIQA")
    assert turned.manifest.names == database.manifest.names[::-1][:20]
    for name in ("pooled", "views"):
        assert torch.equal(getattr(turned.inputs, name), getattr(database.inputs, name).flip(0)[:20])
    assert torch.equal(turned.inputs.levels[2], database.inputs.levels[2].flip(0)[:20])
    assert turned.digest != database.digest and turned.method == database.method


def test_the_digest_sees_scores_and_features(space, database):
    assert load_database(space, "OIQA").digest == database.digest
    manifest = space.manifest("OIQA")
    manifest.write_text(manifest.read_text().replace("JPEG,s0,1", "GN,s0,1"))
    assert load_database(space, "OIQA").digest != database.digest


def test_each_missing_cache_names_its_stage(space):
    for name, stage in (
        ("text_features", "text_encoder.py"),
        ("viewport_features", "viewport_encoder.py"),
        ("global_features", "global_feature_extractor.py"),
    ):
        path = space.features("OIQA", name)
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ArtefactError, match=rf"{name}.pt does not exist\nRebuild it: python {stage} --dataset OIQA"):
            load_database(space, "OIQA")
        path.write_bytes(content)


def test_images_without_features_are_listed(space):
    manifest = space.manifest("OIQA")
    manifest.write_text(manifest.read_text() + "new.png,50,GN,s0,1\n")
    with pytest.raises(ArtefactError, match=r"lacks 1 of 37 images of OIQA:\n  new.png"):
        load_database(space, "OIQA")


def test_views_and_panoramas_of_different_pixels_are_refused(space):
    from mmifn.core.artefact import load, save
    from mmifn.data.features import GlobalFeatures

    path = space.features("OIQA", "global_features")
    cache = load(path, GlobalFeatures)
    cache.made_by.inputs["s2_GN_1.png"] = "0" * 64
    save(cache, path)
    with pytest.raises(ArtefactError, match=r"1 images changed between .* first s2_GN_1\.png"):
        load_database(space, "OIQA")


def test_databases_of_other_encoders_do_not_mix(tmp_path, database):
    other = load_database(make_workspace(tmp_path, "CVIQ", encoder="another"), "CVIQ")
    with pytest.raises(
        ArtefactError, match="OIQA and CVIQ were encoded differently \\(text_features, viewport_features, global_features\\)"
    ):
        require_same_method(database, other)
    require_same_method(database, load_database(make_workspace(tmp_path, "CVIQ", seed=3), "CVIQ"))


def test_text_of_other_images_can_be_given_as_a_control(database):
    rows = list(range(len(database.manifest)))[::-1]
    control = database.with_text(rows, "reversed")
    assert torch.equal(control.inputs.pooled, database.inputs.pooled.flip(0)) and torch.equal(
        control.inputs.text, database.inputs.text.flip(0)
    )
    assert torch.equal(control.inputs.mask, database.inputs.mask.flip(0)) and torch.equal(
        control.inputs.views, database.inputs.views
    )
    assert control.digest not in (database.digest, database.with_text(rows, "other").digest)
