#!/bin/sh
# The file system and network of a fresh node, for the namespaces of one test: $1 is an empty directory.
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$1"
for f in postfix dovecot mailman3 passwd group; do
	[ ! -e /etc/$f ] || cp -a /etc/$f "$1"
done
echo 'vmail:x:799:799::/var/vmail:/usr/sbin/nologin' >>"$1/passwd"
echo 'vmail:x:799:' >>"$1/group"
for f in postfix dovecot mailman3 passwd group; do
	[ ! -e /etc/$f ] || mount --bind "$1/$f" /etc/$f
done
mount -t tmpfs tmpfs /var
mount -t tmpfs tmpfs /run
ln -s /run /var/run
mkdir -p /var/spool/postfix /var/spool/mlmmj /var/lib/dovecot /var/lib/rplan/maps /run/slapd
install -d -o postfix /var/lib/postfix
install -d -o list -g list /var/lib/mailman3 /var/log/mailman3 /run/mailman3
install -d -o vmail -g vmail -m 0700 /var/vmail /var/vmail2
install -d -m 1777 /var/tmp
hostname n1
ip link set lo up
for a in 10.77.0.1 10.77.0.2 192.0.2.1 203.0.113.77; do
	ip address add $a/32 dev lo
done
ip address add fd77::4/128 dev lo nodad
