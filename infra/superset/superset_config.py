"""Superset's configuration: what differs from place to place, and all secrets, are variables."""

import os
from urllib.parse import quote


def _at(service: str, scheme: str, user: str, password: str, name: str) -> str:
    host, port = os.environ[f"{service}_HOST"], os.environ[f"{service}_PORT"]
    return f"{scheme}://{user}:{quote(os.environ[password], safe='')}@{host}:{port}/{name}"


SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = _at(
    "PLATFORM_DB", "postgresql+psycopg2", "superset", "SUPERSET_DB_PASSWORD", "superset"
)

# Redis' first database belongs to the features; what a cache keeps has a time to live, and may go.
_CACHE = _at("REDIS", "redis", "", "REDIS_PASSWORD", "1")
CACHE_CONFIG = {
    "CACHE_TYPE": "RedisCache",
    "CACHE_REDIS_URL": _CACHE,
    "CACHE_KEY_PREFIX": "superset_",
    "CACHE_DEFAULT_TIMEOUT": 600,
}
DATA_CACHE_CONFIG = CACHE_CONFIG | {"CACHE_KEY_PREFIX": "superset_data_"}

# Two workers count together how often somebody tries to log in.
RATELIMIT_ENABLED = True
RATELIMIT_STORAGE_URI = _CACHE

# No worker of Celery runs here: queries are answered at once.
CELERY_CONFIG = None

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
        # Charts set styles on their elements.
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    # A proxy before Superset speaks TLS, where there is one.
    "force_https": False,
    "session_cookie_secure": False,
}
