"""Skipped blocks: what they give, for each sample of a batch; hooks come off."""

from __future__ import annotations

import pytest
import torch

from evo.errors import ConfigError
from search_spaces.autodiffusion.sampling.masks import Skipping, blocks_of, kind_of
from tests.search_spaces.autodiffusion.tiny import tiny

diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def unet():
    return tiny().unet


def inputs(n=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) * 200


def test_blocks_are_resnets_and_attentions_by_name(unet):
    blocks = blocks_of(unet)
    assert len(blocks) == 12
    assert "down_blocks.0.resnets.0" in blocks
    assert {kind_of(unet, block) for block in blocks} == {"resnet", "attention"}


@pytest.mark.parametrize("block", ["down_blocks.1.resnets.0", "mid_block.attentions.0", "up_blocks.0.resnets.1"])
def test_a_skipped_block_gives_its_shortcut(unet, block):
    x, t = inputs()
    module, seen = unet.get_submodule(block), []
    following = module.register_forward_hook(lambda m, given, out: seen.append((given[0], out)))
    with torch.inference_mode(), Skipping(unet, [block]) as skipping:
        skipping.set(torch.ones(4, 1, dtype=torch.bool))
        unet(x, t)
    following.remove()
    entered, left = seen[0]
    shortcut = getattr(module, "conv_shortcut", None)
    assert torch.equal(left, entered if shortcut is None else shortcut(entered))


def test_a_mask_of_each_sample_equals_skipping_for_all_of_them(unet):
    x, t = inputs()
    blocks = blocks_of(unet)
    mask = torch.zeros(4, 12, dtype=torch.bool)
    mask[1, 3], mask[2, [0, 5]], mask[3, 3] = True, True, True
    with torch.inference_mode(), Skipping(unet, blocks) as skipping:
        skipping.set(mask)
        mixed = unet(x, t).sample
        for row in range(4):
            skipping.set(mask[row].expand(4, 12))
            torch.testing.assert_close(unet(x, t).sample[row], mixed[row], atol=1e-6, rtol=1e-5)


def test_resampling_inside_a_resnet_is_not_skipped():
    from diffusers.models.resnet import ResnetBlock2D

    for given in ({"up": True}, {"down": True}):
        block = ResnetBlock2D(
            in_channels=4, out_channels=4, temb_channels=8, groups=2, output_scale_factor=2.0, **given
        )
        net = torch.nn.ModuleDict({"block": block})
        x, emb = torch.randn(2, 4, 8, 8), torch.randn(2, 8)
        with torch.inference_mode(), Skipping(net, ["block"]) as skipping:
            full = block(x, emb)
            skipping.set(torch.ones(2, 1, dtype=torch.bool))
            skipped = block(x, emb)
        assert skipped.shape == full.shape
        assert torch.equal(skipped, (block.upsample or block.downsample)(x) / 2)


def test_a_transformer_block_gives_what_it_was_given():
    net = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=4, in_channels=1, num_layers=2, sample_size=4, patch_size=2,
        num_embeds_ada_norm=10, norm_num_groups=1,
    ).eval()  # fmt: skip
    assert blocks_of(net) == ["transformer_blocks.0", "transformer_blocks.1"]
    assert kind_of(net, "transformer_blocks.0") == "transformer"
    x, t, labels = torch.randn(2, 1, 4, 4), torch.tensor([3, 4]), torch.tensor([1, 2])
    with torch.inference_mode(), Skipping(net, blocks_of(net)) as skipping:
        full = net(x, t, labels).sample
        skipping.set(torch.tensor([[False, True], [False, False]]))
        part = net(x, t, labels).sample
    assert torch.equal(part[1], full[1])
    assert not torch.equal(part[0], full[0])


def test_hooks_come_off(unet):
    x, t = inputs(2)
    with torch.inference_mode():
        before = unet(x, t).sample
        with Skipping(unet, blocks_of(unet)) as skipping:
            skipping.set(torch.ones(2, 12, dtype=torch.bool))
            assert not torch.equal(unet(x, t).sample, before)
        assert torch.equal(unet(x, t).sample, before)
    assert all("forward" not in module.__dict__ for module in unet.modules())


def test_names_and_masks_that_do_not_fit_are_refused(unet):
    with pytest.raises(ConfigError, match="nowhere"):
        Skipping(unet, ["nowhere"])
    with pytest.raises(ConfigError, match="Conv2d"):
        Skipping(unet, ["conv_in"])
    with Skipping(unet, blocks_of(unet)) as skipping, pytest.raises(ConfigError, match="12 blocks"):
        skipping.set(torch.ones(2, 3, dtype=torch.bool))
