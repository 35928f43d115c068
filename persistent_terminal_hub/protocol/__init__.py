"""The stream protocol pth.v1 without sockets: messages and both state machines."""
