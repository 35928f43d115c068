"""JupyterHub's configuration: everything comes from the settings (PTH_CONFIG names their file)."""

from persistent_terminal_hub.hub.configure import configure_from_file

configure_from_file(get_config())  # noqa: F821  (JupyterHub provides get_config)
