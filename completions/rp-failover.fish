# fish completion for rp-failover(8). It runs no program.

function __rp_failover_verb -d 'Is the verb one of these? Without any: is there none yet?'
	set -l words (commandline -opc)
	if test (count $argv) -eq 0
		test (count $words) -eq 1
	else
		test (count $words) -gt 1; and contains -- $words[2] $argv
	end
end

function __rp_failover_plans -d 'Is it still to be said what is planned?'
	__rp_failover_verb plan; and not contains -- (commandline -opc)[-1] out in
end

complete -c rp-failover -f
complete -c rp-failover -n __rp_failover_verb -a status -d 'Show the nodes, and who carries what'
complete -c rp-failover -n __rp_failover_verb -a plan -d 'Say what out or in would do, and change nothing'
complete -c rp-failover -n __rp_failover_verb -a out -d 'Take a node out of service'
complete -c rp-failover -n __rp_failover_verb -a in -d 'Bring a node back'
complete -c rp-failover -n __rp_failover_verb -a evict -d 'Give up a node that others have taken, for good'
complete -c rp-failover -n __rp_failover_verb -a admit -d 'Let the name of an evicted node be used again'
complete -c rp-failover -n __rp_failover_verb -a sync -d 'Merge what changed with the standbys'
complete -c rp-failover -n __rp_failover_plans -a 'out in'
complete -c rp-failover -n '__rp_failover_verb status plan out in evict admit sync serve' -s c -l config -r -F -d 'Read the configuration from a file'
complete -c rp-failover -n '__rp_failover_verb plan out' -l lost -d 'The node is gone'
complete -c rp-failover -n '__rp_failover_verb out in evict admit' -s y -l yes -d 'Do not ask'
complete -c rp-failover -n '__rp_failover_verb out in evict admit' -s r -l reason -x -d 'Say why'
complete -c rp-failover -n '__rp_failover_verb out in evict admit' -l by -x -d 'Say who does it'
complete -c rp-failover -n '__rp_failover_verb out in evict admit' -l insist -x -a 'last-node second-out standby replica flip-flop checks' -d 'Go on although a guard refused'
complete -c rp-failover -n '__rp_failover_verb out in evict sync' -l wait -x -d 'Wait for nodes to publish, or for a lock'
complete -c rp-failover -n '__rp_failover_verb out in evict admit sync' -l dry-run -d 'Say what would be done, change nothing'
complete -c rp-failover -n '__rp_failover_verb status plan out in evict admit sync' -l json -d 'Print the result as JSON'
complete -c rp-failover -n '__rp_failover_verb sync' -l peer -x -d 'Only what is merged with one node'
complete -c rp-failover -n '__rp_failover_verb sync' -l lost -d 'That node is gone'
complete -c rp-failover -n '__rp_failover_verb sync' -l all -d 'Look into every mailbox, changed or not'
complete -c rp-failover -n '__rp_failover_verb sync' -l mailbox -x -d 'Only one mailbox'
complete -c rp-failover -n '__rp_failover_verb sync' -l jobs -x -d 'How many mailboxes to merge at a time'
complete -c rp-failover -n '__rp_failover_verb sync' -l metrics -r -F -d 'Write how it went to a file'
complete -c rp-failover -n '__rp_failover_verb out in evict sync' -s v -l verbose -d 'Say each step'
complete -c rp-failover -l version -d 'Print the version'
complete -c rp-failover -s h -l help -d 'List the flags'
