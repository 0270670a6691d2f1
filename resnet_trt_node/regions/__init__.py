"""Parts of a frame that a detector found: which are classified, cropped how, answered when."""
