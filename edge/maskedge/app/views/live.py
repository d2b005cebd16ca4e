"""The view "Live": the browser's camera with bounding boxes drawn over its pictures."""

from __future__ import annotations

from importlib.resources import files

import streamlit as st

from maskedge.app.stream import LIVE_PATH, SESSIONS, LiveSession
from maskedge.app.widgets import heading, settings_form


def show() -> None:
    """Show the view."""
    heading(
        "Live",
        "Detects faces and masks in the pictures of your browser's camera. The pictures go to the computer that runs this "
        "page and are not stored.",
    )
    stage, settings_column = st.columns([7, 3], gap="large")
    with settings_column, st.container(border=True):
        st.subheader("Settings", anchor=False)
        settings = settings_form("live", several=False)
    token, session = st.session_state.get("live"), None
    if token is not None:
        session = SESSIONS.find(token)
    if session is None:
        session = LiveSession(settings.classifier, settings.detectors[0], settings.options)
        st.session_state["live"] = SESSIONS.open(session)
    else:
        session.configure(settings.classifier, settings.detectors[0], settings.options)
    folder = files("maskedge.app.views")
    with stage:
        camera = st.components.v2.component(
            "maskedge.live",
            html=(folder / "live.html").read_text(encoding="utf-8"),
            css=(folder / "live.css").read_text(encoding="utf-8"),
            js=(folder / "live.js").read_text(encoding="utf-8"),
        )
        camera(key="camera", data={"url": f"{LIVE_PATH}/{st.session_state['live']}"})
        with st.expander("About these figures"):
            st.markdown(
                "- **Frames per second**: frames processed and drawn, over the last two seconds.\n"
                "- **Latency**: time from capturing a frame in the browser to drawing its boxes (median). It includes "
                "encoding, transfer, detection, classification and drawing.\n"
                "- **Server time**: the share of the latency that the server takes.\n"
                "- **People since start**: a person counts after being visible for a third of a second. A person who leaves "
                "and comes back after some seconds counts again."
            )
