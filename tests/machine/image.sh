#!/bin/sh
# What a node consists of: $1/boot becomes its /boot, with a kernel and an initramfs, and $1/system its root file
# system, of busybox and dropbear. $1/keys has its SSH keys, $2 is contrib/initramfs, $3 this directory.
# BOOT, ROOT, DATA and MAIL are the UUIDs that its file system of /boot and its three LUKS devices will have.
#
# Runs in a mount namespace of its own: mkinitramfs(8) reads the configuration of the machine that it
# runs on, so this one gets, over its own /etc and /usr, what the node would have there.
set -eu
out=$1 initramfs=$2 here=$3 keys=$1/keys
kernel=$(ls /usr/lib/uml/modules)
mkdir -p "$out/boot" "$out/system" "$out/over"
mount -t tmpfs -o mode=755 none "$out/over"
for dir in etc usr; do
	mkdir "$out/over/$dir" "$out/over/$dir.work"
	mount -t overlay -o "lowerdir=/$dir,upperdir=$out/over/$dir,workdir=$out/over/$dir.work" none "/$dir"
done
mount --bind "$out/boot" /boot

# The kernel's modules, where Debian's own kernels have theirs.
mkdir -p /usr/lib/modules
ln -s "/usr/lib/uml/modules/$kernel" /usr/lib/modules/
cp -L /usr/bin/linux.uml "/boot/vmlinuz-$kernel"
zcat /usr/share/doc/user-mode-linux/config.gz >"/boot/config-$kernel"
echo 0 >/boot/rplan-boots
echo 0000000000 >/boot/rplan-alive

cat >/etc/crypttab <<E
cryptroot UUID=$ROOT none luks,initramfs
data UUID=$DATA none luks,initramfs
E
cat >/etc/fstab <<E
/dev/mapper/cryptroot / ext4 errors=remount-ro 0 1
UUID=$BOOT /boot ext4 defaults 0 2
/dev/mapper/mail /srv ext4 noauto,nosuid 0 2
E
rm -rf /etc/initramfs-tools/hooks /etc/initramfs-tools/conf.d
mkdir /etc/initramfs-tools/hooks /etc/initramfs-tools/conf.d
echo 'MODULES=list COMPRESS=gzip COMPRESSLEVEL=1 FSTYPE=ext4' >/etc/initramfs-tools/conf.d/node
printf '%s\n' dm-mod dm-crypt encrypted-keys cbc xts ecb essiv authenc >/etc/initramfs-tools/modules
rm -f /etc/dropbear/initramfs/*_host_key
cp "$keys/initramfs.dropbear" /etc/dropbear/initramfs/dropbear_ed25519_host_key
sed 's,^,no-port-forwarding\,no-agent-forwarding\,no-X11-forwarding\,command="/bin/cryptroot-unlock" ,' "$keys/admin.pub" >/etc/dropbear/initramfs/authorized_keys

# As rp-unlock(8) says.
mkdir -p /usr/lib/rplan /etc/rplan
install -m 755 "$initramfs/rplan-probe" /usr/lib/rplan/rplan-probe
install -m 755 "$initramfs/hooks/rplan" /etc/initramfs-tools/hooks/rplan
cp "$keys/probe.pub" /etc/rplan/probe_authorized_keys
install -m 755 "$here/smartctl.sh" /usr/sbin/smartctl

# The node's devices are not here yet: findmnt(8) and blkid(8) are told what they are. That they say
# the same on the node itself is a test of its own.
cat >"$out/over/findmnt" <<E
#!/bin/sh
case "\$*" in *' --mountpoint /boot') echo '$BOOT ext4' ;; *) exit 1 ;; esac
E
cat >"$out/over/blkid" <<E
#!/bin/sh
case "\$*" in
'-t TYPE=crypto_LUKS -o device') printf '%s\n' /dev/ubdb /dev/ubdc /dev/ubde ;;
'-s UUID -o value /dev/ubdb') echo $ROOT ;;
'-s UUID -o value /dev/ubdc') echo $DATA ;;
'-s UUID -o value /dev/ubde') echo $MAIL ;;
*) exec /usr/sbin/blkid "\$@" ;;
esac
E
chmod 755 "$out/over/findmnt" "$out/over/blkid"
mount --bind "$out/over/findmnt" /usr/bin/findmnt
cp "$out/over/blkid" /usr/bin/blkid # before /sbin in the PATH of mkinitramfs, which has the one that is copied
mkinitramfs -o "/boot/initrd.img-$kernel" "$kernel" || exit
umount /usr/bin/findmnt
rm /usr/bin/blkid

# shellcheck source=/dev/null
. /usr/share/initramfs-tools/hook-functions
DESTDIR=$out/system
export DESTDIR verbose=n
cd "$DESTDIR"
mkdir -p usr/bin usr/sbin usr/lib usr/lib64 usr/lib/rplan usr/share/initramfs-tools boot dev etc/dropbear \
	etc/cron.d srv etc/initramfs-tools/hooks etc/rplan proc run sys tmp root/.ssh
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
for program in /bin/busybox /usr/sbin/dropbear /usr/bin/findmnt /usr/sbin/blkid /usr/sbin/cryptsetup; do copy_exec "$program"; done
for name in $(busybox --list); do [ -e "bin/$name" ] || [ -e "sbin/$name" ] || ln -s busybox "bin/$name"; done
install -m 755 "$here/init.sh" sbin/init
install -m 644 "$initramfs/cron" etc/cron.d/rplan-alive
install -m 755 "$here/smartctl.sh" sbin/smartctl
cp -p /etc/crypttab /etc/fstab /etc/rplan-probe.conf etc
cp -p /usr/lib/rplan/rplan-probe usr/lib/rplan
cp -p /usr/share/initramfs-tools/hook-functions usr/share/initramfs-tools
cp -p /etc/initramfs-tools/hooks/rplan etc/initramfs-tools/hooks
cp -p /etc/rplan/probe_authorized_keys etc/rplan
cp "$keys/system.dropbear" etc/dropbear/dropbear_ed25519_host_key
echo 'root::0:0::/root:/bin/sh' >etc/passwd
{
	cat "$keys/admin.pub"
	sed 's,^,restrict\,command="/usr/lib/rplan/rplan-probe" ,' "$keys/probe.pub"
} >root/.ssh/authorized_keys
chmod 700 root root/.ssh
chmod 600 root/.ssh/authorized_keys
