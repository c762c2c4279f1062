"""The shop's settings.

SHOP_HOSTS         the names that the shop is reached by, with commas between. Without it, only this
                   machine reaches it, over plain HTTP; with it, it speaks HTTPS only.
SHOP_PROXY=1       a proxy in front of the shop sets X-Forwarded-Proto, and nobody else can
SHOP_TOML          another journeykit.toml; the shop's data lies in var/ beside it
SHOP_SECRET_KEY    signs sessions; made once and kept in var/ where it is not given
SHOP_DEBUG=1       Django's own error pages
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

import django
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
TOML = Path(os.environ.get("SHOP_TOML") or BASE_DIR / "journeykit.toml")
DATA = TOML.parent / "var"


def kept_secret(file: Path) -> str:
    """What the file holds, made once, so that a restart signs nobody out."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent) as fresh:  # for this user only
            fresh.write(secrets.token_urlsafe(48))
            fresh.flush()
            # Where another worker was faster, its secret counts.
            with contextlib.suppress(FileExistsError):
                os.link(fresh.name, file)
    return file.read_text("utf-8")


# Where the shop is

HOSTS = [name.strip() for name in os.environ.get("SHOP_HOSTS", "").split(",") if name.strip()]
LOCAL = not HOSTS
ALLOWED_HOSTS = HOSTS or ["127.0.0.1", "localhost", "[::1]"]
DEBUG = LOCAL and os.environ.get("SHOP_DEBUG") == "1"
SECRET_KEY = os.environ.get("SHOP_SECRET_KEY") or kept_secret(DATA / "secret_key")

# What it is made of

INSTALLED_APPS = [
    "shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "journeykit.web.django",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # Django has one of its own from 6.0 on.
    "django.middleware.csp.ContentSecurityPolicyMiddleware"
    if django.VERSION >= (6, 0)
    else "dawdle.security.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "journeykit.web.django.middleware.JourneyKitMiddleware",
]
ROOT_URLCONF = "dawdle.urls"
WSGI_APPLICATION = "dawdle.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context.layout",
            ],
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = DATA / "static"

# What it keeps

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "shop.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            # Who comes to the counter first is served first, also among several workers.
            "transaction_mode": "IMMEDIATE",
            # What is told is kept, also if the power goes.
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
JOURNEYKIT = {"TOML": TOML, "USER_ID": "shop.journey.customer_id"}

# Who comes in

AUTH_USER_MODEL = "shop.Customer"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "account:sign_in"
LOGIN_REDIRECT_URL = "account:show"

# In which language

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ar", _("Arabic"))]
TIME_ZONE = "UTC"
USE_TZ = True

# Who may do what

SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "connect-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
CSRF_FAILURE_VIEW = "shop.views.errors.forged"
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
X_FRAME_OPTIONS = "DENY"
if not LOCAL:
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    if os.environ.get("SHOP_PROXY") == "1":
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
