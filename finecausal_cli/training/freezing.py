"""Hold parts of a network still while the rest learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training.options import TrainOptions


def trunks(model: FineCausal) -> Iterator[nn.Module]:
    """Yield what comes pretrained: the trunks (the paper's I3D), and the ResNet of the static branch."""
    yield model.video_trunk
    if model.parser.trunk is not None:
        yield model.parser.trunk
    if model.static is not None:
        yield model.static.resnet


def freeze(model: FineCausal, options: TrainOptions) -> None:
    """Take the gradient from what shall stay as it is: trunks, and scale and shift of frozen normalisations."""
    still = [*_frozen_norms(model, options), *(trunks(model) if options.freeze_backbone else ())]
    if options.views:
        still.append(model.parser.heads)  # they read the trunk's maps, which are not kept
    for module in still:
        module.requires_grad_(requires_grad=False)


def set_training(model: FineCausal, options: TrainOptions) -> None:
    """Switch to training mode, except what is frozen: that keeps its running statistics and normalises by them."""
    model.train()
    for module in (*_frozen_norms(model, options), *(trunks(model) if options.freeze_backbone else ())):
        module.eval()
    if options.views:
        model.parser.heads.eval()


def _frozen_norms(model: FineCausal, options: TrainOptions) -> Iterator[nn.Module]:
    places: dict[str, list[nn.Module]] = {"none": [], "trunks": [*trunks(model)], "all": [model]}
    for place in places[options.freeze_batchnorm]:
        yield from (module for module in place.modules() if isinstance(module, _BatchNorm))
