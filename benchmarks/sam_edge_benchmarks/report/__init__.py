"""Records to read: Markdown, and one HTML page that needs nothing beside it."""
