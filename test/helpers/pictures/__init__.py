"""Pictures and videos whose content is known."""
