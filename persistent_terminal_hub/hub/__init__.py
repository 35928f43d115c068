"""What runs in the hub: configuration, authenticators, spawners."""
