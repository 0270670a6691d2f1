"""Quantisation of ONNX graphs to int8 by Q/DQ nodes."""
