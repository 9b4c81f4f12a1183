"""ONNX graphs as data: read and (later) rewritten here, never run."""
