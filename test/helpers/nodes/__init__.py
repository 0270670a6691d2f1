"""Nodes and launch files in processes of their own."""
