"""Published weights as ONNX models, read without the library that they were trained with."""
