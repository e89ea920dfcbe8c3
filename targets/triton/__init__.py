"""NVIDIA Triton Inference Server."""
