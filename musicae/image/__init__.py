"""Pictures: the media object, sets and labels, corruptions, tiles, and the domain. Knows no networks."""
