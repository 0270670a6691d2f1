"""Commands that classify pictures and bags, and work on what was found in many."""
