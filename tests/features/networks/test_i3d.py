"""The two I3D networks against the code their checkpoints were published with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clap_vad.features.networks import i3d_inception, i3d_r50
from clap_vad.features.networks.checkpoint import load_network

NETWORKS = {
    "i3d_r50": (i3d_r50.I3DResNet50, i3d_r50.UNUSED),
    "i3d_inception": (i3d_inception.I3DInception, i3d_inception.UNUSED),
}

# First six features, sum and sum of squares of the clip below, by running the public code itself on the weights of
# conftest.py: models/resnet.py of Tushar-N/pytorch-resnet3d at 8d3e1da, pytorch_i3d.py of piergiaj/pytorch-i3d at
# 05783d1 (the mean of Mixed_5c; its own pool of 2 x 7 x 7 is that mean for 16 x 224 x 224).
PUBLISHED = {
    "i3d_r50": (
        [574.7147216796875, 723.7362060546875, 195.00660705566406, 166.56971740722656, 1819.0338134765625, 59.385601],
        1787891.251642488,
        2872153668.0928693,
    ),
    "i3d_inception": (
        [0.0, 0.0, 6.408056259155273, 3.3849802017211914, 0.0, 0.3178940713405609],
        3782.401314287039,
        43863.691140903415,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_those_of_the_public_checkpoint(name, layout):
    make, unused = NETWORKS[name]
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in make().state_dict().items()}
    own = {key: shape for key, shape in own.items() if not key.endswith("num_batches_tracked")}
    public = layout(name)
    assert len(public) in (267, 287)
    assert own == {key: shape for key, shape in public.items() if not key.startswith(unused)}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_those_of_the_public_code(name, checkpoint):
    make, unused = NETWORKS[name]
    network = load_network(make, checkpoint(name), unused)
    clip = np.random.default_rng(7).uniform(-1, 1, (1, 3, 16, 72, 90)).astype(np.float32)  # sizes that need padding
    with torch.inference_mode():
        features = network(torch.from_numpy(clip)).double().numpy()[0]
    first, total, squares = PUBLISHED[name]
    np.testing.assert_allclose(features[:6], first, rtol=1e-4, atol=1e-4)
    assert features.sum() == pytest.approx(total, rel=1e-5)
    assert (features**2).sum() == pytest.approx(squares, rel=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(5, 3, 1), (7, 3, 2), (8, 3, 2), (9, 7, 2), (4, 2, 2), (5, 1, 3)]
)
def test_a_padded_convolution_is_the_slow_sum_over_neighbours(size, kernel, stride):
    """TensorFlow's "same": output place i covers the inputs from i * stride - before on, zeros where there is none."""
    rng = np.random.default_rng(size * kernel)
    values, weights = rng.normal(size=size), rng.normal(size=kernel)
    places = -(-size // stride)
    before = max((places - 1) * stride + kernel - size, 0) // 2
    slow = [
        sum(weights[k] * values[at] for k in range(kernel) if 0 <= (at := i * stride - before + k) < size)
        for i in range(places)
    ]
    unit = i3d_inception._Unit(1, 1, (kernel, 1, 1), (stride, 1, 1)).double().eval()
    unit.conv3d.weight.data = torch.from_numpy(weights).view(1, 1, kernel, 1, 1)
    fast = unit(torch.from_numpy(values).view(1, 1, size, 1, 1)).detach().numpy().ravel()
    np.testing.assert_allclose(fast, np.maximum(slow, 0) / np.sqrt(1 + 1e-3), rtol=1e-12)
