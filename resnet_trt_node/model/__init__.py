"""Offline work on models: networks, weights, export, grafting and inspection."""
