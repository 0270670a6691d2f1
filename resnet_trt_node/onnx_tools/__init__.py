"""Work on ONNX models: prepare, simplify, inspect, quantise; no PyTorch."""
