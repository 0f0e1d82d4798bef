#!/bin/sh
# Try every fuzz test for as long as the argument says, such as 30s. Stops at the first finding, whose input
# go test leaves below testdata: mend the cause and commit the input.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
grep -rl --include='*_test.go' '^func Fuzz' lib tests cmd contrib | sort | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r name; do
		# Minimising one input may take longer than all the rest.
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$1" -fuzzminimizetime 1x "./$(dirname "$file")" </dev/null >"$log" 2>&1 ||
			# Go sometimes takes the end of the time for a failure.
			grep -q '^ *context deadline exceeded$' "$log" || { cat "$log"; exit 1; }
		echo "$file $name: $(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -1) tries, nothing found"
	done
done
