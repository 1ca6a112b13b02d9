"""Pictures: files, damage, and pictures of any size. Knows no domains and no networks."""
