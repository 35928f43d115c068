# Marks of prompts and commands (OSC 133) for the pages of this workspace: by them they say when a long command has
# ended, and how. Every interactive bash reads this by /etc/bash.bashrc, before the user's own files.
# Without them: `PTH_SHELL_MARKS=0` in ~/.bashrc, or in the environment.

if [[ $- == *i* && ${PTH_SHELL_MARKS:-1} != 0 && -n ${PTH_SESSION_ID:-} && ${TERM:-dumb} != @(dumb|linux) ]] &&
    ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)); then
    # Runs before each prompt, after what the user has in PROMPT_COMMAND: a program may make PS1 anew there.
    __pth_marks() {
        local status=$? prompt=${PS1-} before=${PS0-}
        prompt=${prompt//"$__pth_before"/}
        prompt=${prompt//"$__pth_behind"/}
        before=${before//"$__pth_output"/}
        # Not wanted, or somebody else's (a prompt's, another terminal's): two marks of each kind would be wrong.
        if [[ ${PTH_SHELL_MARKS:-1} == 0 || $prompt$before == *']133;'* ]]; then
            PS1=$prompt PS0=$before
            unset 'PROMPT_COMMAND[100]'
            return $status
        fi
        [[ ${__pth_prompts-} ]] && printf '\e]133;D;%d\a' "$status"
        __pth_prompts=1
        # Each time: a virtual environment changes the prompt, and some make it anew.
        PS1=$__pth_before$prompt$__pth_behind
        PS0=$before$__pth_output
        return $status
    }
    __pth_before='\[\e]133;A\a\]'
    __pth_behind='\[\e]133;B\a\]'
    __pth_output='\e]133;C\a'
    # An element of its own: `PROMPT_COMMAND=...` in the user's files changes the first one only.
    PROMPT_COMMAND[100]=__pth_marks
fi
