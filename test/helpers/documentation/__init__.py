"""Pages and schemas, read by the tests that hold them to the code."""
