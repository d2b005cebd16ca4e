"""The view "Models": card, accuracy and calibration of each model, and uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import streamlit as st

from maskedge.app.charts import calibration_chart, confusion_chart
from maskedge.app.model_library import ModelFile, check_model
from maskedge.app.reports import training_report
from maskedge.app.results import sort_labels
from maskedge.app.widgets import cached_models, download_button, heading, plain, show_error, show_notice, uploaded_models
from maskedge.errors import MaskedgeError
from maskedge.rendering.theme import label_title

_SETS = {
    "faces test": "Test faces, with no near-duplicate in the training set",
    "faces test, relabelled": "The same test faces with corrected labels",
    "scenes dev": "Faces and false alarms in held-out webcam and phone pictures",
    "scenes dev_refit": "The same pictures, with boxes from forehead to chin",
    "validation": "Validation set, used to select the best epoch",
}
"""Descriptions of the data sets of the figures."""


def show() -> None:
    """Show the view."""
    heading(
        "Models",
        "The installed models, their training data and their accuracy. You can add your own model: it is checked as on a "
        "device, can be selected in Try it and Live, and is dropped when you leave.",
    )
    _upload()
    for model in [*cached_models(), *uploaded_models().values()]:
        with st.container(border=True):
            _show_model(model)


def _upload() -> None:
    file = st.file_uploader(
        "Your model (.onnx)",
        type=["onnx"],
        key="models-file",
        help="A classifier or a detector from edge-export. docs/contracts.md specifies model files.",
    )
    if file is None:
        return
    try:
        model = check_model(file.name, file.getvalue())
    except MaskedgeError as error:
        show_error(f"Refused. {error}")
        return
    if model.digest in {known.digest for known in cached_models()}:
        show_notice(f"{model.name} is identical to an installed model.")
        return
    uploaded_models()[model.digest] = model
    st.success(
        f"{plain(model.name)} passes all checks. You can select it as {model.kind} in Try it and Live.",
        icon=":material/check_circle:",
    )


def _show_model(model: ModelFile) -> None:
    try:
        card = model.read_card()
    except MaskedgeError as error:
        show_error(error)
        return
    st.subheader(plain(model.name), anchor=False)
    origin = "installed with maskedge" if model.path is not None else "uploaded, for this session only"
    what = model.kind.capitalize()
    st.caption(f"{what}, {origin}, {len(model.content) / 1000:,.0f} kB, SHA-256 {model.digest[:16]}...")
    evaluations = bool(card.get("evaluations")) and model.kind == "classifier"
    names = ["Summary", *(["Confusion matrix", "Calibration"] if evaluations else []), "Model card"]
    parts = dict(zip(names, st.tabs(names), strict=True))
    with parts["Summary"], _explain(model):
        _summary(card)
    if evaluations:
        with parts["Confusion matrix"], _explain(model):
            _confusion(card, model)
        with parts["Calibration"], _explain(model):
            _calibration(card, model)
    with parts["Model card"], _explain(model):
        text = model.render_card()
        download_button("Card (Markdown)", text, f"{model.name}.md", "text/markdown", key=f"card {model.digest}")
        # The headings of the card are below the heading of the model.
        # Texts of an uploaded file must not load a picture of another host.
        text = text.replace("![", "!\\[")
        st.markdown(text.replace("\n#", "\n###").replace("# Model card", "#### Model card", 1))


@contextmanager
def _explain(model: ModelFile) -> Iterator[None]:
    """Show why a part of a model card cannot be shown, and go on with the next part."""
    try:
        yield
    except MaskedgeError as error:
        show_error(error)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        # Another program may have written the card: its values may have any type.
        show_error(
            f"This part of the card of {model.name} (maskedge.card) cannot be shown: {type(error).__name__} {str(error)[:100]}. "
            "Export the model again."
        )


def _summary(card: Mapping[str, Any]) -> None:
    evaluations = card.get("evaluations", [])
    if (found := _best_point(card)) is not None:
        _detector_summary(card, found)
        return
    if not evaluations:
        st.markdown("This file contains no evaluation, so its accuracy is unknown.")
        return
    for part in evaluations:
        st.markdown(f"**{_SETS.get(part['name']) or plain(part['name'])}** ({part['pictures']:,})")
        two_way, gate = part.get("two_way"), card.get("gate", {}).get(part["name"], {})
        cells = [("Accuracy", part["accuracy"], "Share of the faces with the correct label.")]
        if two_way:
            cells.append(("Two labels", two_way["two_labels"], "Accuracy over 'with a mask' and 'without a mask' only."))
        if part.get("macro_f1") is not None:
            cells.append(("Macro F1", part["macro_f1"], "Mean F1 over the labels."))
        if gate.get("rejected") is not None:
            cells.append(
                (
                    "Rejected",
                    gate["rejected"],
                    "Share of the detector's false alarms that the classifier rejects.",
                )
            )
        with st.container(horizontal=True, gap="medium"):
            for name, value, explanation in cells:
                st.metric(name, f"{value:.1%}", help=explanation, width=140)
    if limits := card.get("limits"):
        with st.expander("Limits: accuracy on degraded pictures of the same faces"):
            st.dataframe(
                [{"faces": row["condition"], "right": 100 * row["accuracy"], "number": row["faces"]} for row in limits],
                hide_index=True,
                width="stretch",
                column_config={
                    "faces": "Condition",
                    "number": "Faces",
                    "right": st.column_config.ProgressColumn("Accuracy", format="%.1f%%", min_value=0, max_value=100),
                },
            )


def _best_point(card: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a detector's figures at its own threshold and largest pictures; None if unknown."""
    own = [point for point in card.get("curve", ()) if point.get("score") == card.get("least_score")]
    return max(own, key=lambda point: int(point["side"]), default=None)


def _detector_summary(card: Mapping[str, Any], point: Mapping[str, Any]) -> None:
    st.markdown(f"**Held-out pictures with people** ({card['pictures']:,})")
    cells = (
        ("Recall, masked", f"{point['masked_found']:.1%}", "Share of the faces with a mask that are found."),
        ("Recall, unmasked", f"{point['unmasked_found']:.1%}", "Share of the faces without a mask that are found."),
        (
            "False alarms",
            f"{point['false_alarms']:.1f}",
            "False alarms per picture, before the classifier rejects most of them.",
        ),
    )
    with st.container(horizontal=True, gap="medium"):
        for name, value, explanation in cells:
            st.metric(name, value, help=explanation, width=170)
    st.caption(f"Pictures of {point['side']} pixels on the longest side; score of {point['score']:.2f} or more.")


def _confusion(card: Mapping[str, Any], model: ModelFile) -> None:
    part = _choose(card, f"confusion {model.digest}")
    st.caption(
        "Rows are true labels, columns are predictions. Darker cells hold a larger share of their row; the diagonal is correct."
    )
    if "confusion" in part:
        st.vega_lite_chart(confusion_chart(card["labels"], part["confusion"]), width="stretch")
    st.dataframe(
        [
            {
                "label": label_title(label),
                "faces": figures["count"],
                "precision": figures["precision"],
                "recall": figures["recall"],
                "F1": figures["f1"],
            }
            for label in sort_labels(part["labels"])
            if (figures := part["labels"][label])["count"]
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "label": "Label",
            "faces": "Faces",
            "precision": st.column_config.NumberColumn(
                "Precision", format="percent", help="Of the faces predicted as this label, the share that is correct."
            ),
            "recall": st.column_config.NumberColumn(
                "Recall", format="percent", help="Of the faces with this true label, the share that is predicted correctly."
            ),
            "F1": st.column_config.NumberColumn("F1", format="percent", help="Harmonic mean of precision and recall."),
        },
    )


def _calibration(card: Mapping[str, Any], model: ModelFile) -> None:
    part = _choose(card, f"calibration {model.digest}")
    figures = part["calibration"]
    st.markdown(
        f"Expected calibration error: **{figures['ece_after']:.1%}** "
        f"({figures['ece_before']:.1%} before temperature scaling with T = {card.get('temperature', 1):.2f}). "
        "It is the mean difference between confidence and accuracy."
    )
    if card.get("unsure_below") is not None:
        text = f"Recommended confidence threshold: **{card['unsure_below']:.1%}**"
        if (unsure := part.get("unsure", {})).get("accuracy_of_the_sure") is not None:
            share, right = unsure["share_unsure"], unsure["accuracy_of_the_sure"]
            text += f". {share:.0%} of these faces are below it; the others have an accuracy of {right:.1%}"
        st.markdown(text + ".")
    bins = figures.get("bins")
    if bins is None and (report := training_report(card)) is not None:
        own = [evaluation for evaluation in report["evaluations"] if evaluation["name"] == part["name"]]
        bins = own[0]["calibration"].get("bins") if own else None
    if bins:
        st.vega_lite_chart(calibration_chart(bins), width="stretch")
    else:
        st.caption("No data yet: the curve is in the training report, which is not installed on this computer.")


def _choose(card: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Show the names of the data sets, and return the figures of the selected one."""
    evaluations = {part["name"]: part for part in card["evaluations"]}
    name = st.segmented_control(
        "Measured on",
        list(evaluations),
        default=next(iter(evaluations)),
        required=True,
        format_func=lambda name: name[:1].upper() + name[1:],
        key=key,
    )
    chosen: Mapping[str, Any] = evaluations[name]
    return chosen
