"""ONNX Runtime: its execution providers, and a bundle's graphs on one of them."""
