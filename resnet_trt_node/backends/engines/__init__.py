"""The cache of compiled engines: keys, files, locks and trust."""
