"""Running `resnet_trt`."""
