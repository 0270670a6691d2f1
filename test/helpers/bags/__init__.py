"""Bags and messages as tests need them, written without the code under test."""
