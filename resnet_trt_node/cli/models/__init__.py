"""Commands that make models, convert them and show what they are."""
