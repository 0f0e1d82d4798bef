# bash completion for rp-unlock(8). It runs no program and evaluates nothing of the typed line.

_rp_unlock() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]}
	# Readline splits --flag=value into three words.
	case $cur in
	=) cur='' ;;
	*) [[ $flag != = ]] || flag=${COMP_WORDS[COMP_CWORD-2]} ;;
	esac
	COMPREPLY=()
	case $flag in
	-c | --config | --key | -i | --identity)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--store)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--as | --for | --override) return ;; # only the admin knows
	esac
	[[ $cur == -* ]] || return # a node, and why
	mapfile -t COMPREPLY < <(compgen -W '--all --check --enrol --planned --for --override --yes --dry-run --json
		--config --store --as --key --identity --version --help -y -c -i -h' -- "$cur")
}

complete -F _rp_unlock rp-unlock
