"""The keeper: the container's main process, which owns every terminal and outlives the Jupyter server.

Standard library only, and nothing of ours from outside this package.
"""
