"""Parts that several views share: the page style, counts by label, and the settings form."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st

from maskedge.rendering.theme import VARIABLES, label_style
from maskedge.vision.detectors import detector_names

from .model_library import ModelFile, detector_help, detector_name, installed_models
from .results import DisplayOptions, sort_labels

_STYLE = (
    f"<style>{VARIABLES}</style>"
    + """
<style>
.block-container { max-width: 72rem; padding-top: 1.2rem; padding-bottom: 3rem; }
.st-key-views { border-bottom: 1px solid var(--line); padding-bottom: .5rem; gap: .2rem .6rem; }
@media (max-width: 480px) {
  .st-key-views { gap: 0; }
  .st-key-views a { padding: .25rem .4rem; gap: 0; }
  .st-key-views a > span:has([data-testid="stIconMaterial"]),
  .st-key-views [data-testid="stIconMaterial"] { display: none; }
}
/* Streamlit shows the reason of a refused upload to screen readers only. */
[data-testid="stFileUploader"] [role="alert"] {
  position: static; width: auto; height: auto; margin: 0 .4rem; clip: auto; clip-path: none;
  overflow: visible; white-space: normal;
  color: var(--bad); font-size: .85rem;
}
/* Dark text on the light buttons of the dark theme. */
[data-testid="stBaseButton-primary"] * { color: var(--paper); }
[data-testid="stHeader"] { height: 0; min-height: 0; }
.me-counts {
  display: flex; flex-wrap: wrap; gap: .5rem; margin: .2rem 0 .6rem !important;
  padding: 0 !important; list-style: none;
}
.me-count {
  display: inline-flex; align-items: center; gap: .45rem; margin: 0 !important;
  padding: .2rem .75rem .2rem .3rem;
  border: 1px solid var(--line); border-radius: 99px; font-size: .95rem;
}
.me-symbol {
  display: inline-grid; place-items: center; width: 1.5rem; height: 1.5rem; border-radius: 50%;
  color: var(--paper); font-weight: 700; font-size: .85rem;
}
.me-count b { font-variant-numeric: tabular-nums; }
.me-lead { color: var(--soft); max-width: 46rem; margin: -.4rem 0 .8rem; }
</style>
"""
)


@dataclass(frozen=True)
class Settings:
    """The visitor's settings: a classifier, one or more detectors, and the display options."""

    classifier: ModelFile
    detectors: tuple[str | ModelFile, ...]
    options: DisplayOptions


def apply_style() -> None:
    """Add the style sheet to the page."""
    st.html(_STYLE)


def plain(text: object) -> str:
    """Escape `text` for the elements that show Markdown.

    Names of files and texts of models and reports may contain any sign, and an address of a picture.
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])", r"\\\1", str(text))


def show_error(error: object) -> None:
    """Show the message of an error."""
    st.error(plain(error), icon=":material/block:")


def show_notice(text: object) -> None:
    """Show a note for the visitor."""
    st.info(plain(text), icon=":material/info:")


def download_button(
    label: str,
    content: str | bytes | Callable[[], str | bytes],
    name: str,
    kind: str,
    *,
    key: str | None = None,
    wide: bool = False,
) -> None:
    """Show a button that downloads a file.

    Args:
        label: Text of the button.
        content: Content of the file, or a function that makes it when the button is clicked.
        name: Name of the file.
        kind: MIME type of the file.
        key: Key of the widget; None if its label is unique in the view.
        wide: Make the button as wide as its container.
    """
    # A click does not run the script again. A new run would end the processing of a video, and may discard the answer
    # to the click: the button would then wait for minutes.
    st.download_button(
        label,
        content,
        name,
        kind,
        key=key,
        icon=":material/download:",
        on_click="ignore",
        width="stretch" if wide else "content",
    )


def heading(title: str, lead: str) -> None:
    """Write the title and the lead paragraph of a view."""
    st.title(title, anchor=False)
    st.html(f'<p class="me-lead">{html.escape(lead)}</p>')


def label_counts(counts: Mapping[str, int], empty: str = "No faces found.") -> None:
    """Show counts by label, each with its symbol, colour and name."""
    if not any(counts.values()):
        st.html(f'<p class="me-lead" role="status">{html.escape(empty)}</p>')
        return
    items = "".join(_label_count(label, counts[label]) for label in sort_labels(counts) if counts[label])
    st.html(f'<ul class="me-counts">{items}</ul>')


def _label_count(label: str, count: int) -> str:
    style, colour = label_style(label), f"var(--label-{html.escape(label.replace('_', '-'))}, var(--label-unsure))"
    symbol = f'<span class="me-symbol" style="background:{colour}" aria-hidden="true">{style.symbol}</span>'
    return f'<li class="me-count">{symbol}<span><b>{count}</b> {html.escape(style.name)}</span></li>'


@st.cache_resource(show_spinner="Loading the installed models ...")
def cached_models() -> list[ModelFile]:
    """Return the installed models, read and checked once per server."""
    return installed_models()


def uploaded_models() -> dict[str, ModelFile]:
    """Return the models that this visitor uploaded, by digest.

    They are dropped with the session.
    """
    models: dict[str, ModelFile] = st.session_state.setdefault("models", {})
    return models


def display_name(detector: str | ModelFile) -> str:
    """Return the display name of a detector."""
    return detector_name(detector) if isinstance(detector, str) else detector.name


def settings_form(key: str, *, several: bool, max_face_size: int = 300) -> Settings:
    """Show the settings and return the visitor's values.

    Args:
        key: Prefix of the widget keys, so that each view keeps its own settings.
        several: Allow more than one detector, to compare them side by side.
        max_face_size: Upper end of the slider for the smallest face, in pixels.
    """
    uploads = uploaded_models().values()
    classifiers = [model for model in [*cached_models(), *uploads] if model.kind == "classifier"]
    # Installed detectors are used by name.
    choices: list[str | ModelFile] = [*detector_names(), *(model for model in uploads if model.kind == "detector")]
    if several:
        chosen = st.pills(
            "Detector",
            choices,
            selection_mode="multi",
            default=[choices[0]],
            format_func=lambda detector: plain(display_name(detector)),
            key=f"{key}-detectors",
            help=f"Finds the faces. Choose several to compare them side by side. {detector_help()}",
        )
        detectors = tuple(detector for detector in choices if detector in chosen)
        if not detectors:
            st.info("No detector is selected. The standard one is used.", icon=":material/info:")
    else:
        one = st.selectbox(
            "Detector", choices, format_func=display_name, key=f"{key}-detector", help=f"Finds the faces. {detector_help()}"
        )
        detectors = () if one is None else (one,)
    detectors = detectors or (choices[0],)
    classifier = classifiers[0]
    if len(classifiers) > 1:
        classifier = (
            st.selectbox(
                "Classifier",
                classifiers,
                format_func=lambda model: model.name,
                key=f"{key}-model",
                help="Labels each face: with a mask, without a mask, ...",
            )
            or classifier
        )
    percent = st.slider(
        "Confidence threshold",
        0,
        100,
        50,
        5,
        format="%d%%",
        key=f"{key}-threshold",
        help="Faces with a lower confidence are labelled unsure.",
    )
    min_face_size = st.slider(
        "Smallest face",
        0,
        max_face_size,
        0,
        4,
        format="%d px",
        key=f"{key}-min-face-size",
        help="Faces whose shorter side is smaller are left out: distant faces, which are often false alarms.",
    )
    hide = st.toggle("Hide faces", key=f"{key}-hide", help="Pixelates the faces in every picture that is shown or downloaded.")
    return Settings(classifier, detectors, DisplayOptions(percent / 100, min_face_size, hide))
