"""A bundle as a model repository of NVIDIA's Triton Inference Server; see `rsvl.runtime.triton.repository`."""
