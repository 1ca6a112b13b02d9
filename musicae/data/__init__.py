"""Files read once into a memory-mapped store, in one process or many, and split by item."""
