"""What evaluate and calibrate share: running models on labelled pictures, and their results."""
