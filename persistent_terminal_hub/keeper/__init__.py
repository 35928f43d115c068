"""The process that owns the PTYs and the journals. Standard library only."""
