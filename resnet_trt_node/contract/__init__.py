"""The deployable model: what it declares, its file, and ONNX graphs in general."""
