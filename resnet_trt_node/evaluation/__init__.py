"""Figures that tell how good a classifier is; numbers only."""
