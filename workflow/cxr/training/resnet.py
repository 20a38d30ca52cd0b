"""ResNets with torchvision's layer names, order and initial weights, without the seconds its import takes.

Source: He et al., Deep Residual Learning for Image Recognition (2016); the stride of a bottleneck lies in its 3 × 3
convolution, as in torchvision ("ResNet v1.5"), so its checkpoints fit.
"""

import torch
from torch import nn

STAGES = {"resnet50": (3, 4, 6, 3), "resnet18": (2, 2, 2, 2), "resnet10": (1, 1, 1, 1)}
NARROW = 24  # channels of resnet10's first stage; the others have 64


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shortcut = hidden if self.downsample is None else self.downsample(hidden)
        hidden = self.relu(self.bn1(self.conv1(hidden)))
        hidden = self.bn2(self.conv2(hidden))
        hidden += shortcut
        return self.relu(hidden)


class Bottleneck(nn.Module):
    """A 1 × 1, a 3 × 3 and a 1 × 1 convolution around a shortcut."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shortcut = hidden if self.downsample is None else self.downsample(hidden)
        hidden = self.relu(self.bn1(self.conv1(hidden)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        hidden = self.bn3(self.conv3(hidden))
        hidden += shortcut
        return self.relu(hidden)


class ResNet(nn.Module):
    """images (N, 3, H, W) → (N, outputs), through `pooled` features and one fully connected layer."""

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], stages: tuple[int, ...], width: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.before = width
        for number, blocks in enumerate(stages):
            setattr(self, f"layer{number + 1}", self._stage(block, width << number, blocks, 1 if number == 0 else 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(self.before, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, block: type[BasicBlock] | type[Bottleneck], width: int, blocks: int, stride: int) -> nn.Sequential:
        layers = []
        for number in range(blocks):
            step = stride if number == 0 else 1
            after = width * block.expansion
            downsample = None
            if step != 1 or self.before != after:
                downsample = nn.Sequential(
                    nn.Conv2d(self.before, after, 1, stride=step, bias=False), nn.BatchNorm2d(after)
                )
            layers.append(block(self.before, width, step, downsample))
            self.before = after
        return nn.Sequential(*layers)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features (N, F) before the fully connected layer."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return self.avgpool(hidden).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pooled(images))


def resnet(name: str, outputs: int) -> ResNet:
    """Return the named ResNet with random weights: resnet50, resnet18, or resnet10, a narrow one for CPUs.

    resnet10 has four single basic blocks of 24 to 192 channels.
    """
    block = Bottleneck if name == "resnet50" else BasicBlock
    return ResNet(block, STAGES[name], NARROW if name == "resnet10" else 64, outputs)
