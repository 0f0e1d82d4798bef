"""Import an mbox into a new HyperKitty and write what its export view serves.

export.py DATABASE MBOX LIST EXPORT
"""

import sys

import django
from django.conf import settings

database, mbox, address, export = sys.argv[1:]
apps = [
    'hyperkitty', 'django_mailman3', 'django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions',
    'django.contrib.sites', 'django.contrib.messages', 'django.contrib.staticfiles', 'rest_framework', 'django_gravatar',
    'compressor', 'haystack', 'django_extensions', 'django_q', 'allauth', 'allauth.account', 'allauth.socialaccount',
]
settings.configure(
    SECRET_KEY='of a test',
    SITE_ID=1,
    ALLOWED_HOSTS=['*'],
    INSTALLED_APPS=apps,
    MIDDLEWARE=[
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.contrib.auth.middleware.AuthenticationMiddleware',
        'django.contrib.messages.middleware.MessageMiddleware',
    ],
    ROOT_URLCONF='hyperkitty.urls',
    TEMPLATES=[{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'APP_DIRS': True}],
    DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': database}},
    # The tables as the models say, without the history of their changes: a second in place of half a minute.
    MIGRATION_MODULES={app.split('.')[-1]: None for app in apps},
    DEFAULT_AUTO_FIELD='django.db.models.AutoField',
    USE_TZ=True,
    TIME_ZONE='UTC',
    STATIC_URL='/static/',
    STATIC_ROOT='/nonexistent',
    COMPRESS_ENABLED=False,
    HAYSTACK_CONNECTIONS={'default': {'ENGINE': 'haystack.backends.simple_backend.SimpleEngine'}},
    Q_CLUSTER={'orm': 'default', 'sync': True, 'retry': 60, 'timeout': 30},
    MAILMAN_REST_API_URL='http://127.0.0.1:1',
    MAILMAN_REST_API_USER='nobody',
    MAILMAN_REST_API_PASS='nothing',
    MAILMAN_ARCHIVER_KEY='nothing',
    MAILMAN_ARCHIVER_FROM=(),
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

call_command('migrate', run_syncdb=True, verbosity=0)
call_command('hyperkitty_import', mbox, list_address=address, no_sync_mailman=True, verbosity=1, stdout=sys.stderr)
answer = Client().get(reverse('hk_list_export_mbox', kwargs={'mlist_fqdn': address, 'filename': 'export'}))
if answer.status_code != 200:
    sys.exit('%s: %s' % (answer.status_code, answer.content))
with open(export, 'wb') as f:
    for block in answer.streaming_content:
        f.write(block)
