"""Image classification for ROS 2 on TensorRT, with ONNX Runtime where there is no GPU."""

__version__ = '0.2.0'
