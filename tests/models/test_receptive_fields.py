"""How far every part of `paper` sees, computed from gradients: what streaming has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

torch = pytest.importorskip("torch", reason="needs the training extra")

from torch import Tensor, nn  # noqa: E402

from daetalker.models.conformer import Attention, ConformerBlock, Convolution  # noqa: E402
from daetalker.models.paper_unet import (  # noqa: E402
    Middle,
    PaperUNet,
    PaperUNetConfig,
    SemanticEncoder,
    Stage,
)
from daetalker.models.pose import PosePredictor  # noqa: E402
from daetalker.models.speech2latent import Speech2Latent, Speech2LatentConfig  # noqa: E402

CFG = Speech2LatentConfig.paper(features=6)
_M = TypeVar("_M", bound=nn.Module)
FRAMES = 41
MIDDLE = FRAMES // 2


def stir(module: _M) -> _M:
    """Random weights everywhere: layers that start at zero would hide what they see."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def seen(network: Callable[[Tensor], Tensor], x: Tensor, row: int) -> list[int]:
    """Rows of ``x`` ``[1, T, C]`` that output row ``row`` depends on."""
    x = x.requires_grad_(True)
    network(x)[:, row].sum().backward()
    assert x.grad is not None
    return [int(i) for i in torch.nonzero(x.grad[0].abs().sum(-1))[:, 0]]


def frames(width: int, count: int = FRAMES) -> Tensor:
    made: Tensor = torch.randn(1, count, width, generator=torch.Generator().manual_seed(1))
    return made


def test_the_first_convolution_halves_the_rate_and_sees_five_features() -> None:
    model = stir(Speech2Latent(CFG))

    def down(x: Tensor) -> Tensor:
        out: Tensor = model.down(x.transpose(1, 2)).transpose(1, 2)
        return out

    assert down(frames(6, 2 * FRAMES)).shape[1] == FRAMES
    first = 2 * MIDDLE - 2
    assert seen(down, frames(6, 2 * FRAMES), MIDDLE) == list(range(first, first + 5))


def test_a_conformer_convolution_sees_six_frames_to_either_side() -> None:
    network = stir(Convolution(CFG.width, CFG.kernel, 0.0))
    assert seen(network, frames(CFG.width), MIDDLE) == list(range(MIDDLE - 6, MIDDLE + 7))


def test_attention_sees_the_whole_sentence() -> None:
    assert seen(stir(Attention(CFG.width, CFG.heads, 0.0)), frames(CFG.width), MIDDLE) == list(
        range(FRAMES)
    )
    block = stir(ConformerBlock(CFG.width, CFG.heads, CFG.kernel))
    assert seen(block, frames(CFG.width), 0) == list(range(FRAMES))


def test_the_pose_predictor_sees_two_frames_to_either_side() -> None:
    network = stir(PosePredictor(CFG.width, CFG.pose_channels))
    assert seen(network, frames(CFG.width), MIDDLE) == list(range(MIDDLE - 2, MIDDLE + 3))


def test_attention_of_the_full_unet_stands_on_the_16_grid_and_in_the_middle() -> None:
    with torch.device("meta"):
        decoder, encoder = PaperUNet(PaperUNetConfig()), SemanticEncoder(PaperUNetConfig())

    def grids(network: nn.Module) -> list[int]:
        found: list[int] = []

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.append(output.shape[-1])

        for module in network.modules():
            if isinstance(module, Stage | Middle) and module.attention is not None:
                module.attention.register_forward_hook(note)
        with torch.device("meta"):
            image = torch.empty(1, 3, 256, 256)
            if isinstance(network, PaperUNet):
                network(image, torch.empty(1, dtype=torch.long), torch.empty(1, 512))
            else:
                network(image)
        return found

    assert grids(decoder) == [16, 16, 8, 16, 16, 16]
    assert grids(encoder) == [16, 16, 4]


@pytest.mark.parametrize(("attention", "everything"), [((32,), True), ((), False)])
def test_with_attention_a_pixel_sees_the_whole_picture(
    attention: tuple[int, ...], everything: bool
) -> None:
    cfg = PaperUNetConfig(
        size=64, base=32, multipliers=(1, 1), encoder_multipliers=(1, 1),
        attention=attention, blocks=1, latent=8, embedding=8, dropout=0.0,
    )  # fmt: skip
    network = PaperUNet(cfg)
    if not attention:  # the middle block attends whatever the configuration says
        network.middle.attention = nn.Identity()  # type: ignore[assignment]
    # Group norm joins all pixels through its statistics; without it only the paths count.
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    stir(network)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    out = network(x * 1e-3, torch.zeros(1, dtype=torch.long), torch.zeros(1, 8))
    out[..., 0, 0].sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(1) > 0).all()) is everything
