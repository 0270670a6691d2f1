"""Text for people: escaped, fitted to a width, and suggestions for misspelt names."""
