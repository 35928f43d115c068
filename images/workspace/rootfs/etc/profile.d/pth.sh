# The environment of a workspace, in plain sh. pth-start reads it before the server starts; every login
# shell reads it again, because Debian's /etc/profile has reset PATH by then.

# Move a directory to the front of PATH.
pth_first() {
    pth_rest=":$PATH:"
    while :; do
        case $pth_rest in
            *":$1:"*) pth_rest="${pth_rest%%":$1:"*}:${pth_rest#*":$1:"}" ;;
            *) break ;;
        esac
    done
    pth_rest=${pth_rest#:}
    PATH=$1:${pth_rest%:}
    unset pth_rest
}

# A base image that brings conda: its root is read-only like everything, so new environments and
# packages go to the volume.
if [ -z "${CONDA_DIR:-}" ] && [ -x /opt/conda/bin/python ]; then CONDA_DIR=/opt/conda; fi
if [ -n "${CONDA_DIR:-}" ] && [ -x "$CONDA_DIR/bin/python" ]; then
    export CONDA_DIR CONDA_ENVS_PATH=/workspace/.conda/envs CONDA_PKGS_DIRS=/workspace/.conda/pkgs
else
    unset CONDA_DIR
fi

if [ -n "${PTH_PATH:-}" ]; then
    PATH=$PTH_PATH
else
    [ -z "${CONDA_DIR:-}" ] || pth_first "$CONDA_DIR/bin"
    pth_first /workspace/.local/bin
    pth_first /workspace/.npm-global/bin
    pth_first /workspace/.venv/bin
    export PTH_PATH=$PATH
fi
export PATH
unset -f pth_first

# What tools write by themselves goes to the volume too.
export NPM_CONFIG_PREFIX=/workspace/.npm-global NPM_CONFIG_CACHE=/workspace/.cache/npm
export NPM_CONFIG_UPDATE_NOTIFIER=false
export PIP_CACHE_DIR=/workspace/.cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
