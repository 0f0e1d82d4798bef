# fish completion for rp-genmaps(8). It runs no program.

complete -c rp-genmaps -f
complete -c rp-genmaps -s c -l config -r -F -d 'Read the configuration from a file'
complete -c rp-genmaps -l directory -x -a 'ldapi:/// ldap:// ldaps:// ldif:' -d 'Read the directory from another place'
complete -c rp-genmaps -s n -l node -x -d 'Make the maps of another node'
complete -c rp-genmaps -l only -x -a 'postfix dovecot apache dns' -d 'Only the maps of one service'
complete -c rp-genmaps -s o -l output -x -a '(__fish_complete_directories)' -d 'Write the maps below another directory, tell no service'
complete -c rp-genmaps -l dry-run -d 'Say what would be written, change nothing'
complete -c rp-genmaps -l diff -d 'Show each row that differs from the published maps'
complete -c rp-genmaps -l explain -x -d 'Say how a key is served, and end'
complete -c rp-genmaps -l json -d 'Print the result as JSON'
complete -c rp-genmaps -l force -d 'Make all maps, also if nothing changed'
complete -c rp-genmaps -l allow-loss -d 'Publish although a map loses many of its rows'
complete -c rp-genmaps -l allow-older -d 'Read a replica that is older than that of the last run'
complete -c rp-genmaps -l wait -x -d 'Wait for another run to end'
complete -c rp-genmaps -s v -l verbose -d 'Say each step'
complete -c rp-genmaps -l version -d 'Print the version'
complete -c rp-genmaps -s h -l help -d 'List the flags'
