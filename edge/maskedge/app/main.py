"""The entry script of the app, with its four views.

Streamlit runs it for every visitor and after every interaction.
"""

from __future__ import annotations

import streamlit as st

# Streamlit runs this file as a script, so relative imports do not work here.
from maskedge.app.widgets import apply_style, show_error
from maskedge.errors import MaskedgeError


def _try_it() -> None:
    from maskedge.app.views.try_it import show

    show()


def _live() -> None:
    from maskedge.app.views.live import show

    show()


def _models() -> None:
    from maskedge.app.views.models import show

    show()


def _benchmarks() -> None:
    from maskedge.app.views.benchmarks import show

    show()


# An inline icon: Streamlit loads its named icons from another host.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="15" fill="#0b6bcb"/>'
    '<path d="M7 14q9-4 18 0v5q-9 9-18 0z" fill="#fff"/><path d="M7 15l-4-2m22 2l4-2" stroke="#fff" stroke-width="2"/></svg>'
)
st.set_page_config(page_title="maskedge", page_icon=_ICON, layout="wide")
apply_style()
# A view is imported when it is first opened.
_PAGES = [
    st.Page(_try_it, title="Try it", icon=":material/add_photo_alternate:", default=True),
    st.Page(_live, title="Live", icon=":material/videocam:", url_path="live"),
    st.Page(_models, title="Models", icon=":material/description:", url_path="models"),
    st.Page(_benchmarks, title="Benchmarks", icon=":material/speed:", url_path="benchmarks"),
]
_page = st.navigation(_PAGES, position="hidden")
# Streamlit collapses its own menu on narrow screens. These links stay visible.
with st.container(horizontal=True, key="views"):
    for _link in _PAGES:
        st.page_link(_link)
try:
    _page.run()
except MaskedgeError as error:
    # For example, a model file has been replaced since the start of the server.
    show_error(error)
