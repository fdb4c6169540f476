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
.imgsearch-photo { display: block; margin: 0 auto; max-width: 100%; max-height: 68vh;
  border-radius: .4rem; background: rgba(128, 128, 128, .15); }
.imgsearch-map { width: 100%; border-radius: .4rem; display: block; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: .7rem; padding-right: .7rem; }
}
</style>"""
