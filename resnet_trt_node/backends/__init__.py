"""Runtimes that execute a deployable model, one folder or module for each."""
