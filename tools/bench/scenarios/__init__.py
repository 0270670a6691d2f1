"""What is measured: one module for each scenario, each with a function that runs it."""
