"""A small shop that asks every kind of question, for tests of the wire and the script."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import flask
from werkzeug.serving import make_server

from journeykit import JourneyKit
from journeykit.config.settings import Consent, Core, FeedbackSettings, Settings, Web
from journeykit.model.prompt import Ask, Prompt, PromptStep, When
from journeykit.web.flask import init_app

_LIKELY = {
    "en": "How likely are you to recommend us to a friend?",
    "ar": "ما مدى احتمال أن توصي بنا لصديق؟",
}
_MORE = {
    "key": "more",
    "kind": "text",
    "text": {"en": "Is there anything you would like to add?", "ar": "هل تود إضافة شيء؟"},
}


def _options(**texts: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "text": {"en": en, "ar": ar}} for key, (en, ar) in texts.items()]


_TEXTS: dict[str, dict[str, Any]] = {
    "nps": {"kind": "nps", "text": _LIKELY, "then": [_MORE]},
    "nps-plus": {
        "kind": "nps_plus",
        "text": _LIKELY,
        "thanks": {"en": "Thank you. That helps us a lot.", "ar": "شكرًا لك. هذا يساعدنا كثيرًا."},
        "then": [
            {
                "key": "why_low",
                "kind": "choices",
                "at_most": 6,
                "text": {"en": "What should we do better?", "ar": "ما الذي ينبغي أن نحسّنه؟"},
                "options": _options(
                    delivery=("The delivery", "التوصيل"),
                    price=("The prices", "الأسعار"),
                    service=("The service", "الخدمة"),
                ),
            },
            {
                "key": "why_mid",
                "kind": "choices",
                "at_least": 7,
                "at_most": 8,
                "text": {"en": "What would make it perfect?", "ar": "ما الذي يجعلها مثالية؟"},
                "options": _options(
                    price=("Lower prices", "أسعار أقل"),
                    delivery=("A faster delivery", "توصيل أسرع"),
                ),
            },
            {
                "key": "why_high",
                "kind": "choices",
                "at_least": 9,
                "text": {"en": "What did you like best?", "ar": "ما أكثر ما أعجبك؟"},
                "options": _options(
                    range=("The choice of products", "تنوع المنتجات"),
                    delivery=("The delivery", "التوصيل"),
                ),
            },
            _MORE,
        ],
    },
    "csat": {
        "kind": "csat",
        "text": {
            "en": "How satisfied are you with your order?",
            "ar": "ما مدى رضاك عن طلبك؟",
        },
    },
    "ces": {
        "kind": "ces",
        "text": {"en": "How easy was it to pay?", "ar": "ما مدى سهولة الدفع؟"},
    },
    "choice": {
        "kind": "choice",
        "text": {"en": "How did you hear about us?", "ar": "كيف سمعت عنا؟"},
        "options": _options(
            friend=("From a friend", "من صديق"),
            search=("By searching", "عن طريق البحث"),
            other=("Somewhere else", "من مكان آخر"),
        ),
    },
    "choices": {
        "kind": "choices",
        "text": {"en": "What did you come for today?", "ar": "لماذا زرتنا اليوم؟"},
        "options": _options(
            look=("To look around", "للتصفح"),
            buy=("To buy something I had in mind", "لشراء شيء محدد"),
            back=("To return something", "لإرجاع شيء"),
        ),
    },
    "text": {
        "kind": "text",
        "text": {"en": "What nearly kept you from ordering?", "ar": "ما الذي كاد يمنعك من الطلب؟"},
    },
}


def prompts(ask: Ask | None = None) -> dict[str, Prompt]:
    """Return a prompt of every kind and look, by key; asked always unless told otherwise."""
    whole = dict(_TEXTS)
    csat = whole.pop("csat")
    for style in ("stars", "faces", "numbers"):
        whole[f"csat-{style}"] = {**csat, "style": style}
    return {key: _prompt(key, fields, ask or Ask(always=True)) for key, fields in whole.items()}


def _prompt(key: str, fields: Mapping[str, Any], ask: Ask) -> Prompt:
    then = tuple(PromptStep(**step) for step in fields.get("then", ()))
    whole = {**fields, "then": then}
    return Prompt(key=key, when=When(page=f"/*/{key}"), ask=ask, **whole)


def make_kit(*, strict: bool = True, ask: Ask | None = None, **web: Any) -> JourneyKit:
    """Return a kit that asks on the page `/ask/KEY` the prompt of that key, as often as one comes."""
    web.setdefault("ask_after", timedelta(0))
    settings = Settings(
        consent=Consent("opt_out"),
        core=Core(store="memory://", strict=strict),
        prompts=tuple(prompts(ask).values()),
        feedback=FeedbackSettings(caps=(), per_session=0),
        web=Web(**web),
    )
    return JourneyKit(settings)


def events(kit: JourneyKit) -> list[Any]:
    """Return every event of the Log, in order."""
    assert kit.flush()
    return [stored.event() for stored in kit.store.read(None, 10_000)]


def facts(kit: JourneyKit) -> list[Any]:
    """Return what was recorded of impressions, in order."""
    return [each for each in events(kit) if each.name.startswith("prompt.")]


_PAGE = """<!doctype html>
<html lang="{{ lang }}" dir="{{ 'rtl' if lang == 'ar' else 'ltr' }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A shop</title>
<link rel="stylesheet" href="/shop.css">
</head>
<body class="{{ theme }}">
<header><a href="/">Hill &amp; Hedge</a></header>
<main>
<h1>{{ title }}</h1>
<p>{{ text }}</p>
<form action="/search"><label for="q">Search</label> <input id="q" name="q"> <button>Go</button></form>
{{ inline }}
</main>
<footer><a href="/about" id="about">About us</a></footer>
{{ journeykit_prompts() }}
</body>
</html>
"""

_CSS = """
:root { color-scheme: light; }
:root:has(.dark) { color-scheme: dark; }
body { margin: 0; font: 1rem/1.6 "DejaVu Sans", system-ui, sans-serif; background: light-dark(#f3f1ec, #101413); color: light-dark(#222, #eee); }
header, main, footer { padding: 1rem 1.5rem; max-width: 60rem; margin: auto; }
a { color: light-dark(#0b4a6f, #9ad0f5); }
"""


def make_shop(kit: JourneyKit, **options: Any) -> flask.Flask:
    """Return a shop with a strict policy for content, whose pages ask."""
    app = flask.Flask("shop")
    init_app(app, kit, **options)

    @app.after_request
    def policy(response: flask.Response) -> flask.Response:
        response.headers.setdefault("Content-Security-Policy", "default-src 'self'")
        return response

    @app.get("/shop.css")
    def css() -> flask.Response:
        return flask.Response(_CSS, content_type="text/css")

    def page(inline: object = "") -> str:
        query = flask.request.args
        arabic = query.get("lang") == "ar"
        return flask.render_template_string(
            _PAGE,
            lang=query.get("lang", "en"),
            theme=query.get("theme", "light"),
            inline=inline,
            title="طلبك في الطريق" if arabic else "Your order is on its way",
            text="سنرسل إليك رسالة عند الإرسال." if arabic else "We will write when it leaves us.",
        )

    app.add_url_rule("/", "home", page)
    app.add_url_rule("/ask/<key>", "ask", lambda key: page())
    form = app.jinja_env.globals["journeykit_form"]
    app.add_url_rule("/form/<key>", "form", lambda key: page(form()))  # type: ignore[operator]
    return app


@contextmanager
def serving(app: flask.Flask) -> Iterator[str]:
    """Serve *app* on a free port of this machine, and yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
