"""The GPU: a small interface around CUDA, and what the runtime keeps in its memory.

- `device`: what the runtime needs of a GPU, as a protocol; the tests bring one of main memory.
- `cuda_device`: that protocol on the `cuda-bindings` and `cuda-core` packages.
- `memory`: a caching allocator, tensors in its blocks, arrays of other libraries used without a copy.
"""
