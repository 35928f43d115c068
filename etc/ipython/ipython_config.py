"""Read by every IPython of this environment, kernels included: the magics `%terminal` and `%%terminal`."""

c = get_config()  # noqa: F821  (IPython gives it)
c.InteractiveShellApp.extensions.append("persistent_terminal_hub.client.notebook")
