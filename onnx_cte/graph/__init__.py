"""ONNX graphs as data: read and rewritten here, never run."""
