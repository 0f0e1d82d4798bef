# bash completion for rp-rekey(8). It runs no program and evaluates nothing of the typed line.

_rp_rekey() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
	# Readline splits --flag=value into three words.
	case $cur in
	=) cur='' ;;
	*) [[ $flag != = ]] || flag=${COMP_WORDS[COMP_CWORD-2]} ;;
	esac
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'status init trust add-admin add-node seal sign --version --help -h' -- "$cur")
		return
	fi
	case $flag in
	-c | --config | --key | -i | --identity | --recipient | --signer | --file | --device)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--store)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--as | --fingerprint | -r | --reason) return ;; # only the admin knows
	esac
	local flags='--dry-run'
	case $verb in
	status) flags='--json' ;;
	init) flags="--recipient $flags" ;;
	trust) flags="--fingerprint $flags" ;;
	add-admin) flags="--recipient --signer $flags" ;;
	add-node) flags="--file $flags" ;;
	seal) flags="--device --remote --typed $flags" ;;
	sign) flags="--yes --reason -y -r $flags" ;;
	*) return ;;
	esac
	case $verb in
	add-admin | add-node | seal) [[ $cur == -* ]] || return ;; # names, which only the admin knows
	esac
	mapfile -t COMPREPLY < <(compgen -W "$flags --config --store --as --key --identity --version --help -c -i -h" -- "$cur")
}

complete -F _rp_rekey rp-rekey
