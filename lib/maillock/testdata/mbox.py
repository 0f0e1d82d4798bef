"""What Python's mailbox module does to an mbox.

mbox.py hold MBOX            lock it, say "held", unlock it at the end of standard input
mbox.py try MBOX             say "held", or what is in the way
mbox.py append MBOX N        append N messages, each under the module's locks
"""
import mailbox
import random
import sys
import time


def hold(path):
    box = mailbox.mbox(path)
    box.lock()
    print("held", flush=True)
    sys.stdin.read()
    box.unlock()


def once(path):
    box = mailbox.mbox(path)
    try:
        box.lock()
    except mailbox.ExternalClashError as e:
        print(e, flush=True)
        return
    print("held", flush=True)
    box.unlock()


def append(path, count):
    n = 0
    while n < int(count):
        box = mailbox.mbox(path)
        if n % 5 == 0:  # a busy machine
            time.sleep(random.random() * 0.02)
        try:
            box.lock()
        except mailbox.ExternalClashError:
            box.close()
            time.sleep(random.random() * 0.003)
            continue
        box.add("Message-ID: <%d@writer>\n\n%s\n" % (n, "x" * random.randrange(2000)))
        box.flush()
        box.unlock()
        box.close()
        n += 1
        time.sleep(random.random() * 0.002)


if __name__ == "__main__":
    {"hold": hold, "try": once, "append": append}[sys.argv[1]](*sys.argv[2:])
