# fish completion for rp-rekey(8). It runs no program.

function __rp_rekey_verb -d 'Is the verb one of these? Without any: is there none yet?'
	set -l words (commandline -opc)
	if test (count $argv) -eq 0
		test (count $words) -eq 1
	else
		test (count $words) -gt 1; and contains -- $words[2] $argv
	end
end

complete -c rp-rekey -f
complete -c rp-rekey -n __rp_rekey_verb -a status -d 'Check the store, and show who may open what'
complete -c rp-rekey -n __rp_rekey_verb -a init -d 'Make a store'
complete -c rp-rekey -n __rp_rekey_verb -a trust -d 'Make a store known to this machine'
complete -c rp-rekey -n __rp_rekey_verb -a add-admin -d 'Let an admin into the store'
complete -c rp-rekey -n __rp_rekey_verb -a add-node -d 'Let a node into the store'
complete -c rp-rekey -n __rp_rekey_verb -a seal -d 'Seal a passphrase for those who may open the disk now'
complete -c rp-rekey -n __rp_rekey_verb -a sign -d 'Sign what was edited by hand'
complete -c rp-rekey -n 'not __rp_rekey_verb' -s c -l config -r -F -d 'Read the configuration from a file'
complete -c rp-rekey -n 'not __rp_rekey_verb' -l store -x -a '(__fish_complete_directories)' -d 'The store is in a directory'
complete -c rp-rekey -n 'not __rp_rekey_verb' -l as -x -d 'Be an admin'
complete -c rp-rekey -n 'not __rp_rekey_verb' -l key -r -F -d 'Sign with an SSH key'
complete -c rp-rekey -n 'not __rp_rekey_verb' -s i -l identity -r -F -d 'Open passphrases with an identity'
complete -c rp-rekey -n '__rp_rekey_verb init add-admin' -l recipient -r -F -d 'The admin\'s recipient of age, or a file with it'
complete -c rp-rekey -n '__rp_rekey_verb add-admin' -l signer -r -F -d 'The admin\'s public SSH key, or a file with it'
complete -c rp-rekey -n '__rp_rekey_verb add-node' -l file -r -F -d 'The node\'s description'
complete -c rp-rekey -n '__rp_rekey_verb seal' -l device -r -F -d 'Give it to a LUKS device of this machine'
complete -c rp-rekey -n '__rp_rekey_verb seal' -l remote -d 'Give it to the disk on the running node'
complete -c rp-rekey -n '__rp_rekey_verb seal' -l typed -d 'Ask for the passphrase that the disk has'
complete -c rp-rekey -n '__rp_rekey_verb trust' -l fingerprint -x -d 'The key that signed the newest epoch, compared'
complete -c rp-rekey -n '__rp_rekey_verb sign' -s r -l reason -x -d 'Say what was done'
complete -c rp-rekey -n '__rp_rekey_verb sign' -s y -l yes -d 'Do not ask'
complete -c rp-rekey -n '__rp_rekey_verb init trust add-admin add-node seal sign' -l dry-run -d 'Say what would be done, change nothing'
complete -c rp-rekey -n '__rp_rekey_verb status' -l json -d 'Print the result as JSON'
complete -c rp-rekey -l version -d 'Print the version'
complete -c rp-rekey -s h -l help -d 'List the flags'
