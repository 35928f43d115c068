"""JupyterHub's configuration: everything comes from the settings (PTH_CONFIG names their file)."""

from persistent_terminal_hub.hub.configure import configure, take_data_dir
from persistent_terminal_hub.settings import load_settings

settings = load_settings()
take_data_dir(settings)
configure(get_config(), settings)  # noqa: F821  (JupyterHub provides get_config)
