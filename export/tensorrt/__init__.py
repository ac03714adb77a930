"""Building engines with TensorRT 10, 11 or TensorRT-RTX through one adapter."""
