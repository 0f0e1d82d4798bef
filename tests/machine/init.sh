#!/bin/sh
# Process 1 of a node's system: as much of one as an admin can log in to.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -o remount,rw /
mount /boot

# As rp-unlock(8) has it for cron, but that a minute is a second here.
echo $(($(cat /boot/rplan-boots) + 1)) >/boot/rplan-boots
sync -f /boot # else the probe in the initramfs, which leaves the journal alone, may miss it for half a minute
while :; do
	date +%s | dd of=/boot/rplan-alive conv=notrunc status=none
	sleep 1
done &

# "ip=ADDRESS::GATEWAY:MASK:..." was for the initramfs, which has given it back.
ip link set lo up
ip link set eth0 up
ip address add "$(sed 's/.* ip=\([^:]*\).*/\1/' /proc/cmdline)/24" dev eth0
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
echo 'the system is up'
while :; do
	dropbear -F -E -s -p 22 -r /etc/dropbear/dropbear_ed25519_host_key
	sleep 1
done
