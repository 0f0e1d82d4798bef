# fish completion for rp-unlock(8). It runs no program.

complete -c rp-unlock -f
complete -c rp-unlock -s c -l config -r -F -d 'Read the configuration from a file'
complete -c rp-unlock -l store -x -a '(__fish_complete_directories)' -d 'The store is in a directory'
complete -c rp-unlock -l as -x -d 'Be an admin'
complete -c rp-unlock -l key -r -F -d 'Sign the journal with an SSH key'
complete -c rp-unlock -s i -l identity -r -F -d 'Open passphrases with an identity'
complete -c rp-unlock -l all -d 'All nodes of the store'
complete -c rp-unlock -l check -d 'Only look at the node'
complete -c rp-unlock -l enrol -d 'Note what the node looks like, while it runs'
complete -c rp-unlock -l planned -d 'Note that the node is going to be off, and why'
complete -c rp-unlock -l for -x -d 'How long it may be off'
complete -c rp-unlock -l override -x -d 'Unlock it although it is suspicious, and note why'
complete -c rp-unlock -s y -l yes -d 'Do not ask whether what is explained is'
complete -c rp-unlock -l dry-run -d 'Do all but send, sign and change something'
complete -c rp-unlock -l json -d 'Print the result as JSON'
complete -c rp-unlock -l version -d 'Print the version'
complete -c rp-unlock -s h -l help -d 'List the flags'
