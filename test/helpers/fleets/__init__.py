"""Runs over many bags: what they read and what they write."""
