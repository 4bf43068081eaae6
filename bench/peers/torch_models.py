"""The models of bench/models.py written for PyTorch, with its own layers and channels-first images: what a PyTorch user would
write. Every function gives (module, x shape, whether x is token ids below that number, y shape, classes)."""
import torch
from torch import nn
from torch.nn import functional as F


def mlp():
    m = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return m, (784,), 0, (), 10


def cnn():
    m = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                      nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10))
    return m, (1, 28, 28), 0, (), 10


class Recurrent(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(20000, 128), cell(128, 128, batch_first=True), nn.Linear(128, 2)

    def forward(self, x):
        return self.head(self.cell(self.embedding(x))[0][:, -1])


def lstm():
    return Recurrent(nn.LSTM), (80,), 20000, (), 2


def gru():
    """The data has no padding, so that masking (which nn.GRU lacks) changes nothing: PyTorch does less work here."""
    return Recurrent(nn.GRU), (80,), 20000, (), 2


class Block(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(h.transpose(1, 2).reshape(n, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, steps=128, width=256, words=8192):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(steps, width)
        self.blocks = nn.Sequential(*[Block(width, 4, True) for _ in range(4)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

    def forward(self, x):
        h = self.words(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(h)))


def transformer():
    return Transformer(), (128,), 8192, (128,), 8192


def attention():
    blocks = [Block(256, 4, True) for _ in range(2)]
    return nn.Sequential(nn.Linear(64, 256), *blocks, nn.Linear(256, 16)), (4096, 64), 0, (4096,), 16


class ViT(nn.Module):
    def __init__(self, width=192):
        super().__init__()
        self.patches, self.places = nn.Conv2d(3, width, 16, 16), nn.Embedding(196, width)
        self.blocks = nn.Sequential(*[Block(width, 3, False) for _ in range(12)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x):
        h = self.patches(x).flatten(2).transpose(1, 2) + self.places.weight
        return self.head(self.norm(self.blocks(h)).mean(1))


def vit():
    return ViT(), (3, 224, 224), 0, (), 1000


class Bottleneck(nn.Module):
    def __init__(self, inner, width, stride):
        super().__init__()
        def conv(i, o, size, step):
            return nn.Sequential(nn.Conv2d(i, o, size, step, size // 2), nn.BatchNorm2d(o))
        self.shortcut = conv(inner, 4 * width, 1, stride) if stride > 1 or inner != 4 * width else nn.Identity()
        self.path = nn.Sequential(conv(inner, width, 1, stride), nn.ReLU(), conv(width, width, 3, 1), nn.ReLU(),
                                  conv(width, 4 * width, 1, 1))

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.path(x))


def resnet50():
    layers, inner = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(Bottleneck(inner, width, stride if i == 0 else 1))
            inner = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)]
    return nn.Sequential(*layers), (3, 224, 224), 0, (), 1000


class Inverted(nn.Module):
    def __init__(self, inner, outer, stride, factor):
        super().__init__()
        wide, layers = inner * factor, []
        if factor > 1:
            layers += [nn.Conv2d(inner, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
                   nn.Conv2d(wide, outer, 1, bias=False), nn.BatchNorm2d(outer)]
        self.path, self.add = nn.Sequential(*layers), stride == 1 and inner == outer

    def forward(self, x):
        return x + self.path(x) if self.add else self.path(x)


def mobilenetv2():
    layers, inner = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()], 32
    for factor, width, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                          (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(blocks):
            layers.append(Inverted(inner, width, stride if i == 0 else 1, factor))
            inner = width
    layers += [nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
               nn.Linear(1280, 1000)]
    return nn.Sequential(*layers), (3, 224, 224), 0, (), 1000


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        def two(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.ReLU())
        self.down = nn.ModuleList([two(3, 32), two(32, 64), two(64, 128)])
        self.middle = two(128, 256)
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * n, n, 2, 2) for n in (128, 64, 32)])
        self.join = nn.ModuleList([two(2 * n, n) for n in (128, 64, 32)])
        self.head = nn.Conv2d(32, 4, 1)

    def forward(self, x):
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


def unet():
    return UNet(), (3, 128, 128), 0, (128, 128), 4


MODELS = dict(mlp=mlp, mlp1=mlp, cnn=cnn, lstm=lstm, gru=gru, transformer=transformer, vit=vit, attention=attention, resnet50=resnet50,
              mobilenetv2=mobilenetv2, unet=unet)
