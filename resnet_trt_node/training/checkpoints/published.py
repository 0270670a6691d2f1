"""Which weights are published, without PyTorch."""

from __future__ import annotations

#: Recipe and architecture to the sha256 of what torchvision publishes; its name begins as that.
PUBLISHED = {
    'imagenet1k_v1': {
        'resnet18': 'f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',
        'resnet34': 'b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f',
        'resnet50': '0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a',
        'resnet101': '63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a',
        'resnet152': '394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58',
    },
    'imagenet1k_v2': {
        'resnet50': '11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca',
        'resnet101': 'cd907fc2a0de2292b2ba2b27d2216bc672d84632d1cf20058d01c0c03b5e020e',
    },
}
RECIPES = tuple(PUBLISHED)
