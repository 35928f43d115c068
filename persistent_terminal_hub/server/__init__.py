"""The Jupyter Server extension of a workspace."""
