"""How pixels are resampled: where the crop lies, and the methods; `resize` chooses."""
