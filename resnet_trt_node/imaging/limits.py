"""How large a frame may be."""

#: Memory that a frame may take, decoding included, unless the user allows more: what decoding 89
#: million pixels in colour takes, or a raw image of 179 million.
MAX_IMAGE_BYTES = 512 * 2**20

#: Memory that a picture file may take, decoding included, unless the user allows more: four times
#: what a camera's frame may, since panoramas and scans are files.
MAX_FILE_IMAGE_BYTES = 2048 * 2**20

#: Sides that OpenCV's `warpAffine` can address.
MAX_WARP_SIDE = 32_766
