"""Networks as PyTorch modules and as ONNX graphs."""
