"""The control service: workspaces, sessions, secrets, usage and the audit log, over HTTP."""
