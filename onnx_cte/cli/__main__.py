"""``python -m onnx_cte.cli`` is ``onnx-cte``."""

from onnx_cte.cli import main

if __name__ == "__main__":
    main(prog_name="onnx-cte")
