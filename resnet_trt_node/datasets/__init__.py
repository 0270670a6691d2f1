"""Pictures in folders and zip files, with or without their classes."""
