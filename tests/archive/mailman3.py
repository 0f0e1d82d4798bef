"""Make a list of Mailman 3, and let its own runners carry posts into its archive: mailman shell --run mailman3.post"""

import email
import json
import os
import sys

from mailman.app.lifecycle import create_list
from mailman.config import config
from mailman.email.message import Message
from mailman.interfaces.domain import IDomainManager
from mailman.interfaces.listmanager import IListManager
from mailman.runners.archive import ArchiveRunner
from mailman.runners.pipeline import PipelineRunner
from mailman.utilities.email import add_message_hash
from zope.component import getUtility


def drain(runner):
    while runner.switchboard.files:
        runner._one_iteration()


def post(address, posts):
    """Each file in posts is a message, as the LMTP runner takes it: one without Message-ID is refused."""
    domains = getUtility(IDomainManager)
    if address.split('@')[1] not in domains:
        domains.add(address.split('@')[1])
    mlist = getUtility(IListManager).get(address) or create_list(address, ['alice@example.org'])
    config.db.commit()
    pipeline, archive = PipelineRunner('pipeline'), ArchiveRunner('archive')
    names = {}
    for name in sorted(os.listdir(posts)):
        with open(os.path.join(posts, name), 'rb') as f:
            raw = f.read()
        msg = email.message_from_bytes(raw, Message)
        if msg.get('message-id') is None:
            continue
        msg.original_size = len(raw)
        add_message_hash(msg)
        pipeline.switchboard.enqueue(msg, listid=mlist.list_id, original_size=len(raw), to_list=True)
        drain(pipeline)
        new = os.path.join(config.ARCHIVE_DIR, 'prototype', mlist.fqdn_listname, 'new')
        before = set(os.listdir(new)) if os.path.isdir(new) else set()
        drain(archive)
        came = (set(os.listdir(new)) if os.path.isdir(new) else set()) - before
        if came:
            names[name] = came.pop()
    json.dump(names, sys.stdout)
    sys.stdout.flush()
