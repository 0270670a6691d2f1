"""Small models, networks and engines, and where they come from."""
