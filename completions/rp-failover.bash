# bash completion for rp-failover(8). It runs no program and evaluates nothing of the typed line.

_rp_failover() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
	# Readline splits --flag=value into three words.
	case $cur in
	=) cur='' ;;
	*) [[ $flag != = ]] || flag=${COMP_WORDS[COMP_CWORD-2]} ;;
	esac
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'status plan out in evict admit sync --version --help -h' -- "$cur")
		return
	fi
	case $flag in
	-c | --config | --metrics)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--insist)
		mapfile -t COMPREPLY < <(compgen -W 'last-node second-out standby replica flip-flop checks' -- "$cur")
		return
		;;
	-r | --reason | --by | --wait | --peer | --mailbox | --jobs) return ;; # only the admin knows
	esac
	local change='--yes --reason --by --insist --dry-run --json -y -r' flags=''
	case $verb in
	status) flags='--json' ;;
	plan) flags='--lost --json' ;;
	out) flags="--lost --wait --verbose -v $change" ;;
	in | evict) flags="--wait --verbose -v $change" ;;
	admit) flags=$change ;;
	sync) flags='--peer --lost --all --mailbox --jobs --metrics --wait --json --dry-run --verbose -v' ;;
	serve) ;;
	*) return ;;
	esac
	flags="$flags --config --version --help -c -h"
	if [[ $verb == plan && $cur != -* ]]; then
		case $flag in
		out | in) return ;; # and then a node, which only the admin knows
		esac
		flags="out in"
	elif [[ $cur != -* ]]; then
		[[ $verb == status || $verb == sync ]] || return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
}

complete -F _rp_failover rp-failover
