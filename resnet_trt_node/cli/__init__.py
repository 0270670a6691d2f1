"""The command line `resnet_trt`: one thin module per command."""
