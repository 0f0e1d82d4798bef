#!/bin/sh
# Install what the tests start: the real daemons, from Debian, none of them running as a service,
# neither now nor after a reboot. What is installed already is left as it is.
# Does nothing on a system that is not Debian or without root: the tests then say what they skip.
set -eu

packages='
slapd ldap-utils
postfix postfix-cdb postfix-lmdb
dovecot-core dovecot-imapd dovecot-lmtpd dovecot-ldap
apache2 apache2-utils
knot knot-dnssecutils bind9 bind9-utils bind9-dnsutils nsd
mlmmj mailman3 mhonarc python3-django-hyperkitty liblockfile-bin gzip zstd python3
tinycdb iproute2 procps curl openssl strace util-linux
openssh-server openssh-client age
cryptsetup cryptsetup-bin cryptsetup-initramfs initramfs-tools-core busybox dropbear-bin
user-mode-linux dropbear-initramfs e2fsprogs
systemd dracut-core gcc python3-prometheus-client mandoc man-db shellcheck bash-completion zsh fish
'

if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ]; then
	echo 'install.sh: not root on Debian: nothing installed, tests that need daemons are skipped' >&2
	exit 0
fi

missing=
for package in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# No daemon may start because its package was installed. An admin's own policy file is left alone.
policy=/usr/sbin/policy-rc.d
mine=
# shellcheck disable=SC2046,SC2086,SC2317 # lists of words; called by the trap
cleanup() {
	[ -z "$mine" ] || rm -f $policy
	set -- $(dpkg -L $missing 2>/dev/null | sed -n 's,^.*lib/systemd/system/\([^/]*\.\(service\|socket\|timer\)\)$,\1,p')
	[ $# = 0 ] || systemctl --quiet disable "$@" || true
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e $policy ]; then
	mine=yes
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

export DEBIAN_FRONTEND=noninteractive
apt-get -q update
# shellcheck disable=SC2086 # a list of words
apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install $missing
