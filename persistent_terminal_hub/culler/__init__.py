"""The culler: gathers facts, asks policy, acts. An external service of the hub."""
