"""Superset on one machine, for one person: its own state in a file, no cache to share, no TLS."""

import os
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

_FOLDER = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_FOLDER / 'superset.db'}?check_same_thread=false"
CELERY_CONFIG = None
RATELIMIT_ENABLED = True
RATELIMIT_STORAGE_URI = "memory://"
CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": 60}
DATA_CACHE_CONFIG = CACHE_CONFIG
SESSION_COOKIE_SECURE = False


# Its state can be made anew at any time: it need not wait for the disk at each of its migrations.
@event.listens_for(Engine, "connect")
def _do_not_wait(connection, _record):
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("pragma synchronous = off")


FEATURE_FLAGS = {
    # Big numbers with their change against the period before.
    "CHART_PLUGINS_EXPERIMENTAL": True,
    # Rules of rows tell users apart by a template, and hold for SQL by hand, too.
    "ENABLE_TEMPLATE_PROCESSING": True,
    "RLS_IN_SQLLAB": True,
}

# Browsers load nothing from elsewhere: neither counting pixels nor maps nor fonts.
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
