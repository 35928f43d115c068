"""record(): a durable outbox of what happened; the control service drains it into the chained log."""
