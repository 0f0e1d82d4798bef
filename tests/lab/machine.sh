#!/bin/sh
# Process 1 of a machine: gives it a file system of its own over the host's, then waits for ever.
# Runs in new mount, network, process, host name and IPC namespaces. $1 is the machine's name.
# Whatever it writes is on a tmpfs that nobody else sees and that ends with it.
set -eu
hostname "$1"
mount --make-rprivate /
mount -t tmpfs -o mode=755 lab /mnt
for dir in etc root srv usr var; do
	mkdir -p "/mnt/$dir" "/mnt/scratch/$dir"
	mount -t overlay -o "lowerdir=/$dir,upperdir=/mnt/$dir,workdir=/mnt/scratch/$dir" lab "/$dir"
done
umount -l /mnt # the overlays keep it; it is only out of sight
mount -t tmpfs -o mode=755 lab /run
mount -t tmpfs -o mode=1777 lab /tmp
mount -t proc proc /proc
mkdir -m 1777 /run/lock
ip link set lo up
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore # an address is reached on its own network only
# What the host's own servers keep is not this machine's.
rm -rf /var/lib/rplan
for dir in /var/lib/ldap /var/lib/knot /var/lib/postfix /var/lib/dovecot /var/spool/postfix /var/spool/mlmmj \
	/var/mail /var/vmail /srv /etc/rplan /etc/letsencrypt; do
	[ ! -d "$dir" ] || mount -t tmpfs -o "mode=$(stat -c %a "$dir"),uid=$(stat -c %u "$dir"),gid=$(stat -c %g "$dir")" lab "$dir"
done
echo ready
exec >/dev/null 2>&1
sleep infinity &
wait # also buries the daemons' orphans
