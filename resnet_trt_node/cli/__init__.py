"""The command line `resnet_trt`: one module for each command."""
