"""Image towers, built by timm and corrected where timm differs from the original."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.models.card import ImageEncoderConfig


def build_image_encoder(config: ImageEncoderConfig, embed_dim: int) -> nn.Module:
    """Return the tower (B, 3, H, W) → (B, embed_dim), features not normalised.

    The projection is timm's classifier head with `embed_dim` outputs, as open_clip builds it; with
    0 there is none.
    """
    import timm

    encoder = timm.create_model(config.timm_name, num_classes=embed_dim, **config.overrides)
    if config.stem_padding:
        first = encoder.get_submodule("patch_embed.backbone.0.conv")
        assert isinstance(first, nn.Conv2d)
        first.padding = (config.stem_padding, config.stem_padding)
    if config.layer_norm_eps is not None:
        _set_layer_norm_eps(encoder, config.layer_norm_eps)
    _subsample_before_pointwise(encoder)
    return encoder


def resize_image_encoder(encoder: nn.Module, image_size: int) -> None:
    """Make `encoder` accept `image_size` pixels a side, in place.

    Convolutional towers take any size. Transformers have their position embedding resampled
    (bicubic, as timm and open_clip do).
    """
    set_input_size: Any = getattr(encoder, "set_input_size", None)
    if set_input_size is not None:
        set_input_size(img_size=(image_size, image_size))


class SubsampledPointwise(nn.Conv2d):
    """A strided 1×1 convolution, computed as one without stride on the pixels that it reads.

    Parameters and values are those of the strided one. torch 2.15 has no fast kernel for that on
    the CPU, and in channels_last its backward pass with 3 or 4 input channels corrupts memory.
    """

    def __init__(self, strided: nn.Conv2d) -> None:
        assert strided.bias is None
        channels = strided.in_channels, strided.out_channels
        super().__init__(*channels, 1, groups=strided.groups, bias=False, device="meta")
        self.weight = strided.weight
        self.step = strided.stride

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = self.step
        return super().forward(input[:, :, ::rows, ::columns])


def _subsample_before_pointwise(encoder: nn.Module) -> None:
    """Replace the strided 1×1 convolutions, which are the scale branches of a stem, in place."""
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) != module.stride:
            encoder.set_submodule(name, SubsampledPointwise(module))


def _set_layer_norm_eps(encoder: nn.Module, eps: float) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
