"""What the GPU is told so that it converts, resizes and crops frames; NumPy alone, no CUDA."""
