"""Class names: what they must be, and the files that hold them."""
