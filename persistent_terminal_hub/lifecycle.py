"""The life of a session as a pure state machine."""
