# bash completion for rp-archive-prune(8). It runs no program and evaluates nothing of the typed line.

_rp_archive_prune() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]}
	# Readline splits --flag=value into three words.
	case $cur in
	=) cur='' ;;
	*) [[ $flag != = ]] || flag=${COMP_WORDS[COMP_CWORD-2]} ;;
	esac
	COMPREPLY=()
	case $flag in
	-c | --config | --metrics)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--layout) mapfile -t COMPREPLY < <(compgen -W 'pipermail mlmmj mailman3 mhonarc' -- "$cur") && return ;;
	--undated) mapfile -t COMPREPLY < <(compgen -W 'keep received' -- "$cur") && return ;;
	--compress) mapfile -t COMPREPLY < <(compgen -W 'none gzip zstd' -- "$cur") && return ;;
	--keep-html | --keep-mbox | --trash-days) return ;; # only the admin knows
	esac
	[[ $cur == -* ]] || return # lists
	mapfile -t COMPREPLY < <(compgen -W '--config --apply --undo --rebuild --layout --keep-html --keep-mbox --undated
		--compress --scrub-addresses --trash-days --json --metrics --version --help -c -h' -- "$cur")
}

complete -F _rp_archive_prune rp-archive-prune
