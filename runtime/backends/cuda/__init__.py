"""The GPU: one small seam around CUDA, and what the runtime keeps in its memory.

- `device`: what the runtime needs of a GPU, as a protocol; tests have another one.
- `cuda_device`: that by the `cuda-bindings` and `cuda-core` packages.
- `memory`: blocks that are used again, tensors in them, arrays of other libraries taken without a copy.
"""
