"""The same network on torch, ONNX Runtime and OpenVINO: run, export, check."""
