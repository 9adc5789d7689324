"""What runs a bundle's graphs: one protocol (`backend`), three libraries behind it, and the session that uses them.

- `onnxruntime`: any of ONNX Runtime's execution providers;
- `openvino`: OpenVINO on the CPU, in float32 or bfloat16;
- `tensorrt`: engines that are built for the GPU, with `cuda` for its memory;
- `session`: chooses one of the three and wires the graphs by the names of their tensors.
"""
