# fish completion for rp-archive-prune(8). It runs no program.

complete -c rp-archive-prune -f
complete -c rp-archive-prune -s c -l config -r -F -d 'Read the configuration from a file'
complete -c rp-archive-prune -l apply -d 'Do it; without this flag it is only said'
complete -c rp-archive-prune -l undo -d 'Bring back what is in the trash'
complete -c rp-archive-prune -l rebuild -d 'Make the pages of a list again'
complete -c rp-archive-prune -l layout -x -a 'pipermail mlmmj mailman3 mhonarc' -d 'What the archives are'
complete -c rp-archive-prune -l keep-html -x -d 'How long pages are kept'
complete -c rp-archive-prune -l keep-mbox -x -d 'How long messages are kept'
complete -c rp-archive-prune -l undated -x -a 'keep received' -d 'What has no date of its own'
complete -c rp-archive-prune -l compress -x -a 'none gzip zstd' -d 'Compress closed months of messages'
complete -c rp-archive-prune -l scrub-addresses -d 'Take IP addresses of clients out of stored headers'
complete -c rp-archive-prune -l trash-days -x -d 'How long the trash is kept, in days'
complete -c rp-archive-prune -l json -d 'Print the result as JSON'
complete -c rp-archive-prune -l metrics -r -F -d 'Write how it went to a file, for Prometheus'
complete -c rp-archive-prune -l version -d 'Print the version'
complete -c rp-archive-prune -s h -l help -d 'List the flags'
