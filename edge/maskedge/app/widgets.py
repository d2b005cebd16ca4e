"""What the views share: the page's dress, counts as chips, the models and settings of a visitor."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from maskedge.rendering.theme import VARIABLES, label_look
from maskedge.vision.detectors import detector_names

from .model_library import ModelFile, detector_help, detector_name, installed_models
from .results import Choice, in_order

_STYLE = (
    f"<style>{VARIABLES}</style>"
    + """
<style>
.block-container { max-width: 72rem; padding-top: 1.2rem; padding-bottom: 3rem; }
.st-key-views { border-bottom: 1px solid var(--line); padding-bottom: .5rem; gap: .2rem .6rem; }
@media (max-width: 480px) {
  .st-key-views { gap: 0; }
  .st-key-views a { padding: .25rem .4rem; gap: 0; }
  .st-key-views a > span:has([data-testid="stIconMaterial"]), .st-key-views [data-testid="stIconMaterial"] { display: none; }
}
/* Streamlit says why a file was not taken to screen readers only. */
[data-testid="stFileUploader"] [role="alert"] {
  position: static; width: auto; height: auto; margin: 0 .4rem; clip: auto; clip-path: none; overflow: visible; white-space: normal;
  color: var(--bad); font-size: .85rem;
}
[data-testid="stHeader"] { height: 0; min-height: 0; }
.me-chips { display: flex; flex-wrap: wrap; gap: .5rem; margin: .2rem 0 .6rem !important; padding: 0 !important; list-style: none; }
.me-chip {
  display: inline-flex; align-items: center; gap: .45rem; margin: 0 !important; padding: .2rem .75rem .2rem .3rem;
  border: 1px solid var(--line); border-radius: 99px; font-size: .95rem;
}
.me-sign {
  display: inline-grid; place-items: center; width: 1.5rem; height: 1.5rem; border-radius: 50%;
  color: var(--paper); font-weight: 700; font-size: .85rem;
}
.me-chip b { font-variant-numeric: tabular-nums; }
.me-lead { color: var(--soft); max-width: 46rem; margin: -.4rem 0 .8rem; }
</style>
"""
)


@dataclass(frozen=True)
class Settings:
    """What a visitor chose: the classifier, one or more detectors, and the rest."""

    classifier: ModelFile
    detectors: tuple[str | ModelFile, ...]
    choice: Choice


def dress() -> None:
    """Put the style of the page on it."""
    st.html(_STYLE)


def heading(title: str, lead: str) -> None:
    """Write the title of a view and what it is for."""
    st.title(title, anchor=False)
    st.html(f'<p class="me-lead">{html.escape(lead)}</p>')


def chips(counts: Mapping[str, int], empty: str = "No face found.") -> None:
    """Show counts by label: a sign, a colour and words for each."""
    if not any(counts.values()):
        st.html(f'<p class="me-lead" role="status">{html.escape(empty)}</p>')
        return
    items = "".join(_chip(label, counts[label]) for label in in_order(counts) if counts[label])
    st.html(f'<ul class="me-chips">{items}</ul>')


def _chip(label: str, count: int) -> str:
    look, colour = label_look(label), f"var(--label-{html.escape(label.replace('_', '-'))}, var(--label-unsure))"
    sign = f'<span class="me-sign" style="background:{colour}" aria-hidden="true">{look.symbol}</span>'
    return f'<li class="me-chip">{sign}<span><b>{count}</b> {html.escape(look.name)}</span></li>'


@st.cache_resource(show_spinner="Reading the installed models ...")
def bundled() -> list[ModelFile]:
    """The installed models, read and checked once."""
    return installed_models()


def uploaded() -> dict[str, ModelFile]:
    """The models that this visitor uploaded, by their checksum. They go when the visitor does."""
    models: dict[str, ModelFile] = st.session_state.setdefault("models", {})
    return models


def ask_settings(key: str, *, several: bool, smallest: int = 300) -> Settings:
    """Ask for the settings.

    Args:
        key: Keeps the settings of different views apart.
        several: Let the visitor choose more than one detector, to see them side by side.
        smallest: End of the slider for the smallest face, in pixels.
    """
    models = [*bundled(), *uploaded().values()]
    classifiers = [model for model in models if model.kind == "classifier"]
    # Those that are installed have a name already.
    finders: list[str | ModelFile] = [*detector_names(), *(model for model in uploaded().values() if model.kind == "detector")]
    finder_help = f"Finds where the faces are. {detector_help()}"
    if several:
        chosen = st.pills(
            "Face finder (more than one: side by side)",
            finders,
            selection_mode="multi",
            default=[finders[0]],
            format_func=_finder_name,
            key=f"{key}-finders",
            help=finder_help,
        )
        detectors = tuple(finder for finder in finders if finder in chosen)
        if not detectors:
            st.info("No face finder is chosen: the standard one is used.", icon=":material/info:")
    else:
        one = st.selectbox("Face finder", finders, format_func=_finder_name, key=f"{key}-finder", help=finder_help)
        detectors = () if one is None else (one,)
    detectors = detectors or (finders[0],)
    classifier = classifiers[0]
    if len(classifiers) > 1:
        classifier = (
            st.selectbox(
                "Model", classifiers, format_func=lambda model: model.name, key=f"{key}-model", help="Tells who wears a mask."
            )
            or classifier
        )
    sure = st.slider(
        "How sure must an answer be?",
        0,
        100,
        50,
        5,
        format="%d%%",
        key=f"{key}-sure",
        help="Answers that the model is less sure of are shown as 'not sure'.",
    )
    least = st.slider(
        "Smallest face (pixels)",
        0,
        smallest,
        0,
        4,
        key=f"{key}-smallest",
        help="Faces that are smaller in the picture are left out: far away ones, and often false alarms.",
    )
    hide = st.toggle("Hide faces", key=f"{key}-hide", help="Faces are made unrecognisable in every picture shown or downloaded.")
    return Settings(classifier, detectors, Choice(sure / 100, least, hide))


def _finder_name(finder: str | ModelFile) -> str:
    return detector_name(finder) if isinstance(finder, str) else finder.name
