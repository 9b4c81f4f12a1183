"""What training lowers: cross-entropy and Dice, of separate channels or of exclusive classes."""

import torch
from torch import Tensor, nn


def bce_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus the soft Dice coefficient of the whole batch.

    Of two tensors (N, K, H, W); over several channels the mean of each one's loss.
    """
    losses = []
    for logit, target in zip(logits.split(1, dim=1), targets.split(1, dim=1), strict=True):
        likely = torch.sigmoid(logit)
        overlap = (likely * target).sum()
        dice = (2 * overlap + 1) / (likely.sum() + target.sum() + 1)
        losses.append(nn.functional.binary_cross_entropy_with_logits(logit, target) + 1 - dice)
    return torch.stack(losses).mean()


def ce_dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy plus one minus the soft Dice coefficient, mean over the classes.

    Of two tensors (N, K, H, W); exactly one of the K targets is 1 at a pixel.
    """
    likely = torch.softmax(logits, 1)
    overlap = (likely * targets).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (likely.sum((0, 2, 3)) + targets.sum((0, 2, 3)) + 1)
    return nn.functional.cross_entropy(logits, targets) + (1 - dice).mean()
