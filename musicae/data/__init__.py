"""Data sets: files read once into a memory-mapped store, or arrays in memory; split by item."""
