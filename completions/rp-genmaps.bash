# bash completion for rp-genmaps(8). It runs no program and evaluates nothing of the typed line.

_rp_genmaps() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]}
	# Readline splits --flag=value and ldif:FILE into three words each.
	case $cur in
	=) cur='' ;;
	:) cur='' flag=$flag: ;;
	*) case $flag in
		=) flag=${COMP_WORDS[COMP_CWORD-2]} ;;
		:) flag=${COMP_WORDS[COMP_CWORD-2]}: ;;
		esac ;;
	esac
	COMPREPLY=()
	case $flag in
	-c | --config | ldif:)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	-o | --output)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	--only)
		mapfile -t COMPREPLY < <(compgen -W 'ssh postfix dovecot apache dns' -- "$cur")
		;;
	--directory)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W 'ldapi:/// ldap:// ldaps:// ldif:' -- "$cur")
		;;
	-n | --node | --explain | --wait) ;; # only the admin knows
	*)
		mapfile -t COMPREPLY < <(compgen -W '--config --directory --node --only --states --output --dry-run --diff
			--explain --json --force --allow-loss --allow-older --no-reload --wait --verbose --version --help
			-c -n -o -v -h' -- "$cur")
		;;
	esac
}

complete -F _rp_genmaps rp-genmaps
