"""The node's parameters: declared, checked, set while it runs, and read from files."""
