"""One network in four frameworks: MONAI's BasicUNet, written again in Keras and in Flax.

Each framework is imported when it is asked for. The weights are MONAI's; layouts differ: a
convolution's kernel is (out, in, y, x) in PyTorch and (y, x, in, out) in Keras and Flax, that of a
transposed one (in, out, y, x), (y, x, out, in) and, turned round, (y, x, in, out).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnx_cte.simulation import simulate_images

FEATURES = (8, 8, 16, 16, 32, 8)
WIDTHS = (8, 8, 16, 16, 32)
"""Of the levels; BasicUNet's last entry is that of the last level again."""
EPSILON = 1e-5
Weights = Mapping[str, NDArray[np.float32]]
ARGUMENTS = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 1,
    "features": FEATURES,
    "act": "relu",
    "norm": "batch",
}


def basic():
    """MONAI's network, untrained."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(**ARGUMENTS)


def trained(steps=60):
    """MONAI's network after a few steps on simulated nuclei, scaled as onnx_cte scales."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = basic().train()
    seen = list(simulate_images(8, seed=1))
    images = np.stack([image for _, image, _ in seen]).astype(np.float32)[:, None]
    low, high = np.percentile(images, (1, 99.8), axis=(2, 3), keepdims=True)
    images = torch.from_numpy((images - low) / (high - low)).float()
    truth = torch.from_numpy(np.stack([labels > 0 for _, _, labels in seen])[:, None]).float()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        y, x = rng.integers(0, images.shape[-1] - 64, 2)
        crop = (slice(None), slice(None), slice(y, y + 64), slice(x, x + 64))
        loss = nn.functional.binary_cross_entropy_with_logits(network(images[crop]), truth[crop])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def blocks(weights: Weights):
    """Kernel, bias and normalisation of each convolution, first to last, and of each widening."""
    ends = [f"conv_0.conv_{n}" for n in (0, 1)]
    ends += [f"down_{level}.convs.conv_{n}" for level in (1, 2, 3, 4) for n in (0, 1)]
    ends += [f"upcat_{level}.convs.conv_{n}" for level in (4, 3, 2, 1) for n in (0, 1)]
    convolutions = [
        (
            weights[f"{end}.conv.weight"],
            weights[f"{end}.conv.bias"],
            *(weights[f"{end}.adn.N.{part}"] for part in ("weight", "bias")),
            *(weights[f"{end}.adn.N.{part}"] for part in ("running_mean", "running_var")),
        )
        for end in ends
    ]
    widenings = [
        (weights[f"upcat_{n}.upsample.deconv.weight"], weights[f"upcat_{n}.upsample.deconv.bias"])
        for n in (4, 3, 2, 1)
    ]
    return convolutions, widenings


def in_keras(weights: Weights):
    """The same network in Keras."""
    import keras

    layers = keras.layers
    convolutions, widenings = map(iter, blocks(weights))
    given = []

    def twice(x, size):
        for _ in range(2):
            kernel, bias, *norm = next(convolutions)
            conv = layers.Conv2D(size, 3, padding="same")
            normalise = layers.BatchNormalization(epsilon=EPSILON)
            x = layers.Activation("relu")(normalise(conv(x)))
            given.append((conv, [kernel.transpose(2, 3, 1, 0), bias]))
            given.append((normalise, norm))
        return x

    image = keras.Input((None, None, 1))
    x, skips = twice(image, WIDTHS[0]), []
    for size in WIDTHS[1:]:
        skips.append(x)
        x = twice(layers.MaxPooling2D()(x), size)
    for skip in skips[::-1]:
        kernel, bias = next(widenings)
        widen = layers.Conv2DTranspose(kernel.shape[1], 2, strides=2)
        given.append((widen, [kernel.transpose(2, 3, 1, 0), bias]))
        x = twice(layers.Concatenate()([skip, widen(x)]), skip.shape[-1])
    last = layers.Conv2D(1, 1)
    given.append((last, [weights["final_conv.weight"].transpose(2, 3, 1, 0)]))
    given[-1][1].append(weights["final_conv.bias"])
    model = keras.Model(image, last(x))
    for layer, values in given:
        layer.set_weights(values)
    return model


FLAX = '''
"""The same network in Flax."""

import jax.numpy as jnp
from flax import linen as nn

WIDTHS = (8, 8, 16, 16, 32)
WIDENED = (16, 8, 8, 8)


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        def twice(x, size):
            for _ in range(2):
                x = nn.Conv(size, (3, 3))(x)
                x = nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-5)(x))
            return x

        x, skips = twice(x, WIDTHS[0]), []
        for size in WIDTHS[1:]:
            skips.append(x)
            x = twice(nn.max_pool(x, window_shape=(2, 2), strides=(2, 2)), size)
        for skip, size in zip(skips[::-1], WIDENED):
            x = nn.ConvTranspose(size, (2, 2), strides=(2, 2))(x)
            x = twice(jnp.concatenate([skip, x], axis=-1), skip.shape[-1])
        return nn.Conv(1, (1, 1))(x)
'''

OTHER_FLAX = '''
"""A flax.nnx module, and a function whose graph depends on the size of the image."""

import jax
import jax.numpy as jnp
from flax import nnx


class Net(nnx.Module):
    def __init__(self, rngs):
        self.above = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.below = nnx.Conv(8, 16, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.widen = nnx.ConvTranspose(16, 8, (2, 2), strides=(2, 2), rngs=rngs)
        self.last = nnx.Conv(16, 1, (1, 1), rngs=rngs)

    def __call__(self, x):
        skip = nnx.relu(self.norm(self.above(x)))
        x = nnx.max_pool(skip, window_shape=(2, 2), strides=(2, 2))
        x = self.widen(self.drop(nnx.relu(self.below(x))))
        return self.last(jnp.concatenate([skip, x], axis=-1))


def net():
    return Net(nnx.Rngs(0))


def resized():
    def apply(x):
        half = x[:, ::2, ::2]
        return jax.image.resize(half, x.shape, "bilinear", antialias=False)

    return apply
'''


def for_flax(weights: Weights):
    """Variables of the network in Flax."""
    convolutions, widenings = blocks(weights)
    params, stats = {}, {}
    for place, (kernel, bias, scale, shift, mean, variance) in enumerate(convolutions):
        params[f"Conv_{place}"] = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
        params[f"BatchNorm_{place}"] = {"scale": scale, "bias": shift}
        stats[f"BatchNorm_{place}"] = {"mean": mean, "var": variance}
    for place, (kernel, bias) in enumerate(widenings):
        turned = kernel[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
        params[f"ConvTranspose_{place}"] = {"kernel": np.ascontiguousarray(turned), "bias": bias}
    params[f"Conv_{len(convolutions)}"] = {
        "kernel": weights["final_conv.weight"].transpose(2, 3, 1, 0),
        "bias": weights["final_conv.bias"],
    }
    return {"params": params, "batch_stats": stats}
