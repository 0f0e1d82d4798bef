"""The lock of Mailman 2's module LockFile, as its source describes it, for python3.

mailman.py hold LOCK LIFETIME [TIMEOUT]        take it, say "held", release it at the end of standard input
mailman.py append LOCK MBOX N                  append N messages to an mbox, each under the lock
"""
import os
import random
import socket
import sys
import time

SLOP = 10  # seconds that clocks may differ


class Lock:
    def __init__(self, path, lifetime):
        self.path, self.lifetime = path, lifetime
        self.claim = "%s.%s.%d.%d" % (path, socket.gethostname(), os.getpid(), 0)

    def touch(self, path):
        end = time.time() + self.lifetime
        try:
            os.utime(path, (end, end))
        except (FileNotFoundError, PermissionError):
            pass

    def read(self):
        try:
            with open(self.path) as f:
                return f.read()
        except FileNotFoundError:
            return None

    def lock(self, timeout=0, pause=2.0):
        give_up = time.time() + timeout
        with open(self.claim, "w") as f:
            f.write(self.claim)
        self.touch(self.claim)
        while True:
            try:
                os.link(self.claim, self.path)
                self.touch(self.claim)
                return
            except FileExistsError:
                if self.read() == self.claim:
                    raise RuntimeError("locked already")
            if timeout and time.time() > give_up:
                os.unlink(self.claim)
                raise TimeoutError
            try:
                end = os.stat(self.path).st_mtime
            except FileNotFoundError:
                end = None
            if end is None or time.time() > end + SLOP:
                self.break_it()
            time.sleep(random.random() * pause + 0.001)

    def break_it(self):
        self.touch(self.path)
        winner = self.read()
        for path in (self.path, winner):
            try:
                if path:
                    os.unlink(path)
            except FileNotFoundError:
                pass

    def locked(self):
        self.touch(self.claim)
        try:
            links = os.stat(self.path).st_nlink
        except FileNotFoundError:
            return False
        return links == 2 and self.read() == self.claim

    def unlock(self):
        if not self.locked():
            raise RuntimeError("not locked")
        os.unlink(self.path)
        os.unlink(self.claim)


def hold(path, lifetime, timeout=0):
    lock = Lock(path, float(lifetime))
    try:
        lock.lock(float(timeout), 0.02)
    except TimeoutError:
        print("timed out", flush=True)
        return
    print("held", flush=True)
    sys.stdin.read()
    lock.unlock()


def append(path, mbox, count):
    lock = Lock(path, 15)
    for n in range(int(count)):
        lock.lock(60, 0.005)
        with open(mbox, "a+") as f:  # as Archiver.py does, in buffered pieces
            f.write("From writer@example.org Thu Nov 26 10:11:12 2026\nMessage-ID: <%d@writer>\n" % n)
            f.flush()
            f.write("\n%s\n\n" % ("x" * random.randrange(2000)))
        lock.unlock()
        time.sleep(random.random() * 0.02)


if __name__ == "__main__":
    {"hold": hold, "append": append}[sys.argv[1]](*sys.argv[2:])
