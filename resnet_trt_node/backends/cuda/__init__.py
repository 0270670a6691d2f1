"""Device, memory, streams and graphs of CUDA; with `tensorrt` the only user of CUDA."""
