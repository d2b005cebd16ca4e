"""The view "Live": the browser's camera through the same pipeline, with the boxes drawn over it."""

from __future__ import annotations

from importlib.resources import files

import streamlit as st

from maskedge.app.stream import LIVE_PATH, SESSIONS, LiveSession
from maskedge.app.widgets import ask_settings, heading


def show() -> None:
    """Draw the view."""
    heading(
        "Live",
        "The camera of this browser, with the answer drawn over every picture. The pictures go to the computer that runs "
        "this page, are answered and forgotten: nothing is stored.",
    )
    stage, settings_column = st.columns([7, 3], gap="large")
    with settings_column, st.container(border=True):
        st.subheader("Settings", anchor=False)
        settings = ask_settings("live", several=False)
    token, session = st.session_state.get("live"), None
    if token is not None:
        session = SESSIONS.find(token)
    if session is None:
        session = LiveSession(settings.classifier, settings.detectors[0], settings.choice)
        st.session_state["live"] = SESSIONS.open(session)
    else:
        session.use(settings.classifier, settings.detectors[0], settings.choice)
    folder = files("maskedge.app.views")
    with stage:
        camera = st.components.v2.component(
            "maskedge.live",
            html=(folder / "live.html").read_text(encoding="utf-8"),
            css=(folder / "live.css").read_text(encoding="utf-8"),
            js=(folder / "live.js").read_text(encoding="utf-8"),
        )
        camera(key="camera", data={"url": f"{LIVE_PATH}/{st.session_state['live']}"})
        with st.expander("What the figures mean"):
            st.markdown(
                "- **answers a second**: pictures that were answered and drawn, over the last two seconds.\n"
                "- **delay**: from the moment the browser took the picture to the moment its boxes were drawn (median). "
                "It holds packing the picture, sending it, finding and telling apart the faces, and drawing.\n"
                "- **of it, on the server**: what the computer that runs this page spent on it.\n"
                "- **different people so far**: a face counts once it was found again after a third of a second. A person who "
                "leaves and comes back after some seconds counts again."
            )
