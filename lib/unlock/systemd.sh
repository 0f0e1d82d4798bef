# shellcheck shell=sh
# rp-unlock(8) runs this as root on a node whose initramfs asks for passphrases by systemd. It names one disk, takes the
# passphrase of that as a line of standard input, and hands it to that request and no other; see systemd.io/PASSWORD_AGENTS.
# systemd-tty-ask-password-agent(1) will not do: without a terminal it gives one line to each request, in no order, and an
# empty passphrase where there are no more.
#
# Before it stand: disks, those to open, one a line; prompt and answer, how many seconds to wait for those.
# Its exit codes are those of systemd.go. dash, bash and busybox can run it.
: "${disks:=}" "${prompt:=20}" "${answer:=100}"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
IFS='
'
exec 3<&0 </dev/null # for the passphrase; what is started below has none of it

fail() { # CODE WORDS
	printf '%s\n' "$2" >&2
	exit "$1"
}

for reply in /usr/lib/systemd/systemd-reply-password /lib/systemd/systemd-reply-password; do
	[ ! -x "$reply" ] || break
done
[ -x "$reply" ] || fail 47 "there is no $reply"
# Else the passphrase would be an argument of some program.
case $(type printf) in *builtin*) ;; *) fail 47 'printf is no part of this shell' ;; esac

# The requests that wait for an answer, as "NAME TRIED TRIES PID SOCKET", TRIED - where nobody knows. From here on rplan-probe has the same text.
requests() {
	read -r now _ </proc/uptime
	for file in /run/systemd/ask-password/ask.*; do
		pid='' socket='' id='' expires=0 first=''
		while IFS='=' read -r key value; do
			case $key in
			PID) pid=$value ;;
			Socket) socket=$value ;;
			Id) id=$value ;;
			NotAfter) expires=$value ;;
			AcceptCached) first=$value ;;
			esac
		done <"$file"
		case $id in cryptsetup:*) ;; *) continue ;; esac
		[ "$expires" = 0 ] || [ "${now%%.*}" -lt "${expires%??????}" ] || continue # in microseconds
		attached "$pid" | {
			read -r name && read -r tries || exit
			tried=0
			if [ "$first" != 1 ]; then # passphrases of other disks are tried the first time only
				tried=$(failures "$pid")
				[ "$tried" != 0 ] || tried=- # there is no journal
			fi
			printf '%s %s %s %s %s\n' "$name" "$tried" "$tries" "$pid" "$socket"
		}
	done 2>/dev/null
}

# The disk that a process of systemd-cryptsetup is to open, and how often it tries: a line each.
attached() { # PID
	tr '\0' '\n' <"/proc/$1/cmdline" | {
		read -r program && read -r verb && IFS= read -r name && read -r _ && read -r _
		read -r options
		case $program$verb in */systemd-cryptsetupattach) ;; *) exit ;; esac
		case $name in '' | *[!a-zA-Z0-9._-]*) name='?' ;; esac # no disk of a store
		options=,$options
		tries=${options##*,tries=}
		tries=${tries%%,*}
		case $tries in '' | *[!0-9]*) tries=3 ;; esac
		printf '%s\n' "$name" "$tries"
	}
} 2>/dev/null

# How often it was wrong, by the journal.
failures() { # PID
	journalctl --sync
	journalctl -q -o cat "_PID=$1" | {
		n=0
		while read -r line; do
			case $line in 'Failed to activate'* | *'falling back to traditional unlocking'*) n=$((n + 1)) ;; esac
		done
		echo "$n"
	}
}
# So far.

# The first of our disks whose passphrase is asked for, else any other disk.
next() {
	all=$(requests)
	set -f
	for disk in $disks; do
		for line in $all; do
			case $line in "$disk "*) printf '%s\n' "$line" && return ;; esac
		done
	done
	for line in $all; do
		printf '%s\n' "$line" && return
	done
}

# Is one of our disks being opened?
busy() {
	for process in /proc/[0-9]*; do
		[ -e "$process/exe" ] || continue # of the kernel
		at=$(attached "${process#/proc/}")
		for disk in $disks; do
			[ "${at%%"$IFS"*}" != "$disk" ] || return 0
		done
	done
	return 1
}

is_open() { [ -e "/dev/mapper/$1" ]; }

waited=0
until request=$(next) && [ -n "$request" ]; do
	locked=''
	for disk in $disks; do
		is_open "$disk" || locked=$disk
	done
	[ -n "$locked" ] || exit 0
	busy || fail 41 "nobody asks for the passphrase of $locked"
	[ $((waited += 1)) -le "$prompt" ] || fail 42 "the passphrase of $locked is not asked for, and it is being opened"
	sleep 1
done
IFS=' '
set -f
# shellcheck disable=SC2086 # words
set -- $request
disk=$1 tried=$2 tries=$3 pid=$4 socket=$5
set +f
IFS='
'
for known in $disks; do
	case $known/$tries in
	"$disk/0") ;;
	"$disk/"*)
		[ "$tried" != - ] || fail 42 "how many of $tries tries disk $disk has left is not known"
		[ $((tried + 1)) -lt "$tries" ] || fail 42 "disk $disk has one try left of $tries: it is not spent"
		;;
	esac
done

printf 'Please unlock disk %s\n' "$disk"
IFS= read -r passphrase <&3 || fail 46 'the passphrase did not come whole, and was not used'
printf '%s\n' "$passphrase" | "$reply" 1 "$socket" 2>/dev/null || fail 42 'somebody else answered'
passphrase=''

waited=0
while [ $((waited += 1)) -le "$answer" ]; do
	at=$(attached "$pid") # before the look at the mapping: that is there when this ends
	! is_open "$disk" || exit 0
	[ -n "$at" ] || fail 44 "systemd-cryptsetup says: $(journalctl -q -o cat -n 3 "_PID=$pid" 2>/dev/null)"
	for request in $(requests); do
		case $request in *" $pid $socket") ;; *" $pid "*) fail 43 'it asks again' ;; esac
	done
	sleep 1
done
fail 45 'it is not open, and was not asked for again'
