"""How the page looks, and how Streamlit is set up for it. Every text colour passes WCAG AA."""

from __future__ import annotations

from typing import Any

# Pictures are decoded in a process of their own, but the upload passes through memory first.
MAX_UPLOAD_MEGABYTES = 25

_LIGHT = {
    "primaryColor": "#0b6e4f",
    "backgroundColor": "#fbfbf9",
    "secondaryBackgroundColor": "#efefea",
    "textColor": "#1b1d1b",
    "borderColor": "#c9ccc6",
    "linkColor": "#0b6e4f",
}
_DARK = {
    "primaryColor": "#4cc79a",
    "backgroundColor": "#131513",
    "secondaryBackgroundColor": "#1f2320",
    "textColor": "#ecefe9",
    "borderColor": "#3b413d",
    "linkColor": "#6fd6b1",
}


def streamlit_options(host: str, port: int) -> dict[str, Any]:
    """Return Streamlit's options: nothing sent anywhere, nothing shown that is for developers."""
    options: dict[str, Any] = {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.showEmailPrompt": False,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.enableXsrfProtection": True,
        "server.maxUploadSize": MAX_UPLOAD_MEGABYTES,
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "global.developmentMode": False,
        "logger.hideWelcomeMessage": True,
        "runner.magicEnabled": False,
    }
    for scheme, colours in (("light", _LIGHT), ("dark", _DARK)):
        options |= {f"theme.{scheme}.{name}": value for name, value in colours.items()}
        options[f"theme.{scheme}.sidebar.backgroundColor"] = colours["secondaryBackgroundColor"]
        options[f"theme.{scheme}.sidebar.secondaryBackgroundColor"] = colours["backgroundColor"]
    return options


# Streamlit leaves much room for its own toolbar, and draws a search box like any other field.
PAGE_STYLE = """<style>
.stMainBlockContainer { padding-top: 4.5rem; padding-bottom: 3rem; }
.st-key-q [data-testid="stTextInputRootElement"] { height: 3.4rem; border-radius: 1.7rem; }
.st-key-q input { font-size: 1.3rem; padding-left: .4rem; }
.st-key-q [data-testid="stTextInputRootElement"] > div { height: 100%; }
/* Streamlit fades captions and placeholders below what WCAG AA asks for. */
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { opacity: 1;
  color: color-mix(in srgb, currentColor 80%, transparent); }
[data-testid="stTextInputRootElement"] input::placeholder { opacity: .8; color: inherit; }
.st-key-selection { position: fixed; bottom: 1.2rem; left: 3vw; right: 3vw; margin-inline: auto;
  width: fit-content !important; z-index: 1000; padding: .6rem 1rem; border-radius: 1rem;
  background: rgba(24, 28, 25, .94); box-shadow: 0 4px 24px rgba(0, 0, 0, .4); }
.st-key-selection [data-testid="stText"] * { color: #fff; }
.imgsearch-facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .9rem;
  margin: 0 !important; padding: 0 !important; font-size: .95rem; overflow-wrap: anywhere; }
.imgsearch-facts dt { font-weight: 600; }
.imgsearch-facts dd { margin: 0 !important; }
.imgsearch-photo { display: block; margin: 0 auto; max-width: 100%; max-height: 62vh;
  border-radius: .4rem; background: rgba(128, 128, 128, .15); }
.imgsearch-layers { position: relative; width: fit-content; max-width: 100%; margin: 0 auto; }
.imgsearch-heat { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: .4rem; }
.imgsearch-reference { height: 64px; border-radius: 6px; display: block; }
a.imgsearch-button { display: inline-block; padding: .45rem .8rem; border-radius: .5rem;
  border: 1px solid rgba(128, 134, 130, .5); color: inherit !important; font-size: .95rem;
  text-decoration: none !important; }
a.imgsearch-button:hover, a.imgsearch-button:focus-visible { border-color: currentColor; }
.st-key-selection a.imgsearch-button { color: #fff !important; }
.imgsearch-group { display: flex; flex-wrap: wrap; gap: .8rem; margin: 0 !important; padding: 0; }
.imgsearch-group li { list-style: none; width: 14rem; max-width: 100%; margin: 0 !important;
  padding: .4rem; border-radius: .5rem; border: 2px solid transparent; font-size: .85rem;
  overflow-wrap: anywhere; }
.imgsearch-group li.best { border-color: var(--st-primary-color, #0b6e4f); }
.imgsearch-group img { display: block; width: 100%; height: 9rem; object-fit: contain;
  border-radius: .3rem; background: rgba(128, 128, 128, .15); }
.imgsearch-group strong, .imgsearch-group span { display: block; }
.imgsearch-map { width: 100%; border-radius: .4rem; display: block; }
@media (prefers-color-scheme: dark) {
  [data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primaryFormSubmit"] {
    color: #05261a; }
}
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: .7rem; padding-right: .7rem; }
}
</style>"""
