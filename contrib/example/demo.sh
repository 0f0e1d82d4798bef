#!/bin/sh
# What rp-genmaps does, shown on the example collective. Run by "make demo"; writes below build/demo only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
demo=$top/build/demo
PATH=$top/bin:$PATH
rm -rf "$demo"
mkdir -p "$demo"
cp "$here/rplan.toml" "$here/collective.ldif" "$demo"
cd "$demo"
export RPLAN_CONFIG="$demo/rplan.toml"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@" || true; }
# rows N: the first N rows of each map in a diff, without the diff's signs
rows() { awk -v n="$1" '/^--- /{next} /^\+\+\+ /{print "  " $2; seen=0; next} /^[-+]/ && seen++ < n {print "      " substr($0, 2, 110)}'; }
# changes: a dry run's report, the zones in one line
changes() { awk '/^would write dns/ {n++; rows += $4; next} {sub(/^would write/, " "); print} END {if (n) print "  dns: " n " zones, " rows " rows"}'; }

say 'A collective of five nodes, in one directory (build/demo/collective.ldif)'
awk -F': ' '/^rplanNodeName/{name=$2} /^description/{d=$2} /^rplanState:/{s=$2} /^rplanRole/{r=r " " $2} /^$/{if (name) print "  " name ", " s ": " d " (" substr(r, 2) ")"; name=r=""}' collective.ldif

say 'The maps of node n1: what each of its servers looks things up in'
rp-genmaps --output empty --dry-run --diff 2>/dev/null | awk '/^\+\+\+ .*(conf|zone) /{skip=1} /^\+\+\+ /&&!/(conf|zone) /{skip=0} !skip' | rows 3
show rp-genmaps --output maps
echo "  written below $demo/maps:"
(cd maps && find . -type f ! -name '.*' | sort | sed 's,^\./,    ,')

say 'Where does mail for one address go?'
show rp-genmaps --explain n.haddad@example.org

say 'Now node n2 is lost. An admin changes one word in the directory:'
sed -i '/^rplanNodeName: n2$/,/^$/s/^rplanState: up/rplanState: out/' collective.ldif
diff "$here/collective.ldif" collective.ldif | sed 's/^/  /' || true
say 'and on every node rp-genmaps finds what that changes. On n1:'
rp-genmaps --output maps --dry-run --diff 2>/dev/null | awk '/^\+\+\+ .*(conf|zone) /{skip=1} /^\+\+\+ /&&!/(conf|zone) /{skip=0} !skip' |
	awk '/^--- /{next} /^\+\+\+ /{print "  " $2; next} {print "      " substr($0, 1, 110)}'
rp-genmaps --output maps --dry-run 2>/dev/null | changes
show rp-genmaps --output maps
show rp-genmaps --explain mateo@example.org

say 'The same with 5,000 mailboxes, 700 sites and 700 lists'
(cd "$top" && go run ./contrib/example/generate -nodes 5 -mailboxes 5000 -sites 700 -lists 700) >big.ldif
rp-genmaps --directory ldif:big.ldif --output big-maps 2>/dev/null || true
sed -i '/^rplanNodeName: n2$/,/^$/s/^rplanState: up/rplanState: out/' big.ldif
rp-genmaps --directory ldif:big.ldif --output big-maps --dry-run 2>/dev/null | changes || true
echo '  The big tables, with a row for each user, are not among them: they say only on which nodes'
echo '  a user lives. Which of those serves right now is in the few rows above.'
