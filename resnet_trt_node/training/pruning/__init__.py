"""2:4 sparsity: masks, and pruning of a checkpoint."""
