"""JupyterHub workspaces whose named terminals outlive browsers, networks and servers."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("persistent-terminal-hub")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
