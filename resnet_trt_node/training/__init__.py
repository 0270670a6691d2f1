"""What needs PyTorch: export, training and pruning of networks."""
