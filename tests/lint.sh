#!/bin/sh
# Check the shell scripts and the manual. Prints nothing when all is well.
set -eu
cd "$(dirname "$0")/.."

# Files of the checkout, or of a source package, without what make makes.
files() {
	git ls-files --cached --others --exclude-standard 2>/dev/null ||
		find . -type f ! -path './.git/*' ! -path './bin/*' ! -path './build/*' ! -path './vendor/*'
}

scripts() {
	files | while IFS= read -r file; do
		[ -f "$file" ] || continue
		case $file in
		*.sh | *.bash) printf '%s\n' "$file" ;;
		*) if head -n 1 "$file" | grep -aqE '^#! ?/(usr/)?bin/(env )?(ba|da|k)?sh( |$)'; then printf '%s\n' "$file"; fi ;;
		esac
	done
}

status=0
for tool in shellcheck mandoc man; do
	command -v $tool >/dev/null || { echo "lint.sh: $tool is not installed" >&2; exit 1; }
done

list=$(scripts)
[ -n "$list" ] || { echo 'lint.sh: found no script' >&2; exit 1; }
IFS='
'
# shellcheck disable=SC2086 # one file a line
shellcheck $list || status=1
unset IFS

for page in man/*; do
	mandoc -T lint -W warning "$page" || status=1
	# man prints a page that groff complains about all the same, so what it says on stderr counts.
	said=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null) || status=1
	if [ -n "$said" ]; then
		printf '%s\n' "$said" >&2
		status=1
	fi
done
exit $status
