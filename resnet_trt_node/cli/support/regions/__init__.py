"""Regions offline: of the images of a bag, and of labelled pictures."""
