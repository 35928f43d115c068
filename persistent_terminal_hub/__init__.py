"""JupyterHub workspaces whose named terminals outlive browsers, networks and servers."""

__version__: str


def __getattr__(name: str) -> str:
    # Only when asked: importlib.metadata costs 6 MiB, and the keeper, which must stay small, needs none.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("persistent-terminal-hub")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
