"""Work on ONNX graphs: prepare, simplify, inspect, verify; no PyTorch."""
