"""What the options of prepare and quantize may be; here, so that their help needs no library."""

ACTIVATIONS = ('auto', 'softmax', 'sigmoid', 'none')
CHANNEL_ORDERS = ('rgb', 'bgr')
STRETCH = 'stretch'
LAYOUTS = ('auto', 'nchw', 'nhwc')
METHODS = ('minmax', 'entropy', 'percentile')
#: Fewer leave the ranges to chance: the largest magnitude of most layers still grows by several
#: per cent from 16 to 32 pictures.
MIN_FRAMES = 32
