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
#: How timm prepares pictures, by the kind of training: interpolation; image size and its share of
#: the short side; the same of its tests with larger pictures.
TIMM_RULES = {
    'rsb': ('bicubic', 224, 0.95, 288, 1.0),
    'rsb_160': ('bicubic', 160, 0.95, 224, 0.95),
    'rsb_176': ('bicubic', 176, 0.9, 224, 1.0),
    'timm': ('bicubic', 224, 0.875, 288, 0.95),
    'timm_224': ('bicubic', 224, 0.875, 224, 0.875),
    'timm_256': ('bicubic', 256, 0.95, 320, 1.0),
    'usual': ('bilinear', 224, 0.875, 224, 0.875),
}
#: First eight digits of the sha256 of a published file, which are in its name, to timm's name of
#: its weights and the rule; all are normalised as ImageNet usually is.
TIMM_FILES = {
    digits: (f'{arch}.{tag}', rule) for arch, tag, digits, rule in (
        ('resnet18', 'a1_in1k', 'd63eafa0', 'rsb'),
        ('resnet18', 'a2_in1k', 'b61bd467', 'rsb'),
        ('resnet18', 'a3_in1k', '40c531c8', 'rsb_160'),
        ('resnet18', 'fb_ssl_yfcc100m_ft_in1k', 'd92f0530', 'usual'),
        ('resnet18', 'fb_swsl_ig1b_ft_in1k', '118f1556', 'usual'),
        ('resnet34', 'a1_in1k', '46f8f793', 'rsb'),
        ('resnet34', 'a2_in1k', '82d47d71', 'rsb'),
        ('resnet34', 'a3_in1k', 'a20cabb6', 'rsb_160'),
        ('resnet34', 'bt_in1k', '43635321', 'timm'),
        ('resnet50', 'a1_in1k', '14fe96d1', 'rsb'),
        ('resnet50', 'a1h_in1k', '001a1197', 'rsb_176'),
        ('resnet50', 'a2_in1k', 'a2746f79', 'rsb'),
        ('resnet50', 'a3_in1k', '59cae1ef', 'rsb_160'),
        ('resnet50', 'b1k_in1k', '532a802a', 'rsb'),
        ('resnet50', 'b2k_in1k', '1ba180c1', 'rsb'),
        ('resnet50', 'c1_in1k', '5ba5e060', 'rsb'),
        ('resnet50', 'c2_in1k', 'd01e05b2', 'rsb'),
        ('resnet50', 'd_in1k', 'f39db8af', 'rsb'),
        ('resnet50', 'ram_in1k', 'a26f946b', 'timm'),
        ('resnet50', 'am_in1k', '6c502b37', 'timm_224'),
        ('resnet50', 'ra_in1k', '85ebb6e5', 'timm'),
        ('resnet50', 'bt_in1k', '86acaeed', 'timm'),
        ('resnet50', 'fb_ssl_yfcc100m_ft_in1k', '08389792', 'usual'),
        ('resnet50', 'fb_swsl_ig1b_ft_in1k', '16a12f1b', 'usual'),
        ('resnet18d', 'ra2_in1k', '48a79e06', 'timm'),
        ('resnet34d', 'ra2_in1k', 'f8dcfcaf', 'timm'),
        ('resnet50d', 'a1_in1k', 'e20cff14', 'rsb'),
        ('resnet50d', 'a2_in1k', 'a3adc64d', 'rsb'),
        ('resnet50d', 'a3_in1k', '403fdfad', 'rsb_160'),
        ('resnet50d', 'ra2_in1k', '464e36ba', 'timm'),
        ('resnet101d', 'ra2_in1k', '2803ffab', 'timm_256'),
        ('resnet152d', 'ra2_in1k', '5cac0439', 'timm_256'),
        ('resnet101', 'a1_in1k', 'cdcb52a9', 'rsb'),
        ('resnet101', 'a1h_in1k', '36d3f2aa', 'rsb'),
        ('resnet101', 'a2_in1k', '6edb36c7', 'rsb'),
        ('resnet101', 'a3_in1k', '1db14157', 'rsb_160'),
        ('resnet152', 'a1_in1k', '2eee8a7a', 'rsb'),
        ('resnet152', 'a1h_in1k', 'dc400468', 'rsb'),
        ('resnet152', 'a2_in1k', 'b4c6978f', 'rsb'),
        ('resnet152', 'a3_in1k', '134d4688', 'rsb_160'),
    )}
