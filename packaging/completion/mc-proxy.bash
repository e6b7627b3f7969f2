# Completion of mc-proxy's command line for bash; to be found as /usr/share/bash-completion/completions/mc-proxy, or sourced.
#
# Commands, actions and options are what --help says, so they are never out of date. Listener addresses, hostnames and firewall
# rules come from the running server, if the line already says which one (-c or --addr) and it answers within a second.

# The lines of a section of some help: _mc_proxy_section "Options:" <<<"$help"
_mc_proxy_section() {
    local line inside=
    while IFS= read -r line; do
        case $line in
        "$1") inside=yes ;;
        '') inside= ;;
        *) [[ $inside ]] && printf '%s\n' "$line" ;;
        esac
    done
}

# The first word of each line.
_mc_proxy_first_words() {
    local word rest
    while read -r word rest; do
        printf '%s\n' "$word"
    done
}

# From the lines of "Options:": each option, and behind it its argument's name if it has one, one option a line.
_mc_proxy_options() {
    local line
    local pattern='^ +(-([a-z]), )?--([a-z-]+)( ([A-Z]+))?  '
    while IFS= read -r line; do
        [[ $line =~ $pattern ]] || continue
        printf '%s %s\n' "--${BASH_REMATCH[3]}" "${BASH_REMATCH[5]}"
        [[ ${BASH_REMATCH[2]} ]] && printf '%s %s\n' "-${BASH_REMATCH[2]}" "${BASH_REMATCH[5]}"
    done
}

# Asks the server that the line names; silent if there is none.
_mc_proxy_ask() {
    [[ ${#connection[@]} -gt 0 ]] || return 0
    timeout 1 "$program" "$@" --timeout 500ms "${connection[@]}" 2>/dev/null </dev/null
}

_mc_proxy_listeners() {
    local addr rest
    _mc_proxy_ask listeners list | { read -r rest; while read -r addr rest; do printf '%s\n' "$addr"; done; }
}

# The hostnames of a listener; the second word of an exported line.
_mc_proxy_hostnames() {
    local addr name rest
    _mc_proxy_ask routes export "$1" | while read -r addr name rest; do printf '%s\n' "$name"; done
}

# The values of firewall rules of a type.
_mc_proxy_rules() {
    local type value
    _mc_proxy_ask firewall export | while read -r type value; do [[ $type == "$1" ]] && printf '%s\n' "$value"; done
}

# Words, one a line on standard input, that begin with what is typed. Not compgen -W: it would expand "*".
_mc_proxy_offer() {
    local word
    while IFS= read -r word; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done
    return 0
}

_mc_proxy_offer_files() {
    local prefix=$1 file
    while IFS= read -r file; do
        COMPREPLY+=("$prefix$file")
    done < <(compgen -f -- "${current#"$prefix"}")
    compopt -o filenames 2>/dev/null # fails where nothing is being completed
    return 0
}

# What may stand as the value of an option, by the name that the help gives it.
_mc_proxy_offer_value() {
    case $1 in
    FILE | OUT) _mc_proxy_offer_files '' ;;
    WHAT) _mc_proxy_offer <<<$'route\nclient\nreason\nlistener' ;;
    FORMAT) _mc_proxy_offer <<<$'text\ncsv\njson' ;;
    ADDR)
        if [[ $2 == --listener || $2 == -l ]]; then
            _mc_proxy_offer < <(_mc_proxy_listeners)
        elif [[ $current == unix:* ]]; then
            _mc_proxy_offer_files unix:
        else
            _mc_proxy_offer <<<unix:/
        fi
        ;;
    esac
}

# What may stand as an argument: _mc_proxy_offer_argument COMMAND ACTION ARGUMENTS...; those that are complete already.
_mc_proxy_offer_argument() {
    local command=$1 action=$2
    shift 2
    case "$command $action $#" in
    'routes list 0' | 'routes add 0' | 'routes remove 0' | 'routes export 0' | 'listeners set-max-connections 0')
        _mc_proxy_offer < <(_mc_proxy_listeners)
        ;;
    'routes add 1' | 'routes remove 1') _mc_proxy_offer < <(_mc_proxy_hostnames "$1") ;;
    'routes import 0' | 'firewall import 0') _mc_proxy_offer_files '' ;;
    'firewall add 0' | 'firewall remove 0') _mc_proxy_offer <<<$'ip\ncidr\ncountry' ;;
    'firewall remove 1') _mc_proxy_offer < <(_mc_proxy_rules "$1") ;;
    esac
}

# bash takes ':' for the end of a word: what it believes to be there already must not be offered again.
_mc_proxy_cut_colons() {
    local before i
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] || return 0
    before=${current%"${current##*:}"}
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=${COMPREPLY[i]#"$before"}
    done
}

_mc_proxy() {
    local program current help options line i
    local -a words arguments=() connection=()
    local -A takes=()

    COMPREPLY=()
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    current=${words[-1]}
    program=${words[0]/#\~/$HOME}

    if [[ ${#words[@]} -eq 2 ]]; then
        _mc_proxy_offer < <("$program" --help 2>/dev/null | _mc_proxy_section Commands: | _mc_proxy_first_words)
        [[ $current == -* ]] && _mc_proxy_offer <<<$'--help\n--version'
        return 0
    fi

    help=$("$program" "${words[1]}" --help 2>/dev/null) || return 0
    options=$(_mc_proxy_section Options: <<<"$help" | _mc_proxy_options)
    while read -r line i; do
        [[ $line ]] && takes[$line]=$i
    done <<<"$options"

    # What stands between the command and the word that is being typed.
    for ((i = 2; i < ${#words[@]} - 1; i++)); do
        if [[ ${words[i]} != -* || ${words[i]} == - ]]; then
            arguments+=("${words[i]}")
        elif [[ ${takes[${words[i]}]-} ]]; then
            if ((i + 1 == ${#words[@]} - 1)); then
                _mc_proxy_offer_value "${takes[${words[i]}]}" "${words[i]}"
                _mc_proxy_cut_colons
                return 0
            fi
            case ${words[i]} in
            -c | --config | -a | --addr | --ca | --cert | --key) connection+=("${words[i]}" "${words[i + 1]/#\~/$HOME}") ;;
            esac
            i=$((i + 1))
        fi
    done

    if [[ $current == -* ]]; then
        _mc_proxy_offer < <(_mc_proxy_first_words <<<"$options")
    elif [[ ${#arguments[@]} -eq 0 ]]; then
        _mc_proxy_offer < <(_mc_proxy_section Actions: <<<"$help" | _mc_proxy_first_words)
    else
        _mc_proxy_offer_argument "${words[1]}" "${arguments[@]}"
    fi
    _mc_proxy_cut_colons
}

complete -F _mc_proxy mc-proxy
