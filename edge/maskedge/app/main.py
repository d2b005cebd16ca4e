"""The page: four views. Streamlit runs this file for every visitor, and again after everything a visitor does."""

from __future__ import annotations

import streamlit as st

from maskedge.app.parts import dress


def _try_it() -> None:
    from maskedge.app.try_it import show

    show()


def _live() -> None:
    from maskedge.app.live import show

    show()


def _models() -> None:
    from maskedge.app.models import show

    show()


def _benchmarks() -> None:
    from maskedge.app.benchmarks import show

    show()


st.set_page_config(page_title="maskedge", page_icon=":material/masks:", layout="wide", initial_sidebar_state="collapsed")
dress()
# Each view is loaded when it is first opened.
st.navigation(
    [
        st.Page(_try_it, title="Try it", icon=":material/add_photo_alternate:", url_path="try", default=True),
        st.Page(_live, title="Live", icon=":material/videocam:", url_path="live"),
        st.Page(_models, title="Models", icon=":material/description:", url_path="models"),
        st.Page(_benchmarks, title="Benchmarks", icon=":material/speed:", url_path="benchmarks"),
    ],
    position="top",
).run()
