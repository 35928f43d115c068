"""The culler: an external service of the hub that stops workspaces nobody uses, and never one that works.

Each cycle: ask the hub which workspaces run (`hub_api`), ask each workspace how it is (`workspaces`), let
`policy.decide` judge, do what it says (`cycle`), write a line about it (`log`). The culler remembers nothing
that a restart could lose: which warnings were shown, and how long ago, are facts of the workspace.
"""
