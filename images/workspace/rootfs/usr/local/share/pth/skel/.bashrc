# Yours to change: it was copied here once, when the workspace was new.
case $- in *i*) ;; *) return ;; esac

# History of all sessions of this workspace in one file, written after each command: a session may
# live for weeks.
HISTCONTROL=ignoreboth
HISTSIZE=10000
HISTFILESIZE=50000
shopt -s histappend checkwinsize
PROMPT_COMMAND="history -a${PROMPT_COMMAND:+; $PROMPT_COMMAND}"

PS1='\[\e[32m\]\u@\h\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]\$ '
case ${TERM:-} in xterm* | screen* | tmux*) PS1="\[\e]0;\u@\h: \w\a\]$PS1" ;; esac

export EDITOR=${EDITOR:-vim} PAGER=${PAGER:-less} LESS=${LESS:--R}
if command -v dircolors >/dev/null; then eval "$(dircolors -b)"; fi
alias ls='ls --color=auto' grep='grep --color=auto' ll='ls -alF'

# `conda activate` where the image brings conda.
if [ -n "${CONDA_DIR:-}" ] && [ -f "$CONDA_DIR/etc/profile.d/conda.sh" ]; then . "$CONDA_DIR/etc/profile.d/conda.sh"; fi
