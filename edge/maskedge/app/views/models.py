"""The view "Models": what each model is, how right it is, and where it ends; and a place for one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from maskedge.app.charts import calibration_chart, confusion_chart
from maskedge.app.model_library import ModelFile, check_model
from maskedge.app.reports import training_report
from maskedge.app.results import in_order
from maskedge.app.widgets import bundled, heading, uploaded
from maskedge.errors import MaskedgeError
from maskedge.rendering.theme import label_look

_SETS = {
    "faces test": "Test faces, none of which it has seen a relative of",
    "faces test, relabelled": "The same test faces, with wrong labels corrected",
    "scenes dev": "Faces and false alarms in webcam and phone pictures that it did not learn from",
    "validation": "Validation: what the best moment of the training was chosen by",
}
"""What the data are that figures are of."""


def show() -> None:
    """Draw the view."""
    heading(
        "Models",
        "What tells the faces apart, what it was trained on, and how often it is wrong. You can bring a model of your own: "
        "it is checked as a device checks it, used in Try it and Live, and forgotten when you leave.",
    )
    _upload()
    for model in [*bundled(), *uploaded().values()]:
        with st.container(border=True):
            _show_model(model)


def _upload() -> None:
    file = st.file_uploader(
        "A model of your own (.onnx)",
        type=["onnx"],
        key="models-file",
        help="A classifier or a detector as edge-export writes it. The contract of a model file stands in docs/contracts.md.",
    )
    if file is None:
        return
    try:
        model = check_model(file.name, file.getvalue())
    except MaskedgeError as error:
        st.error(f"Refused. {error}", icon=":material/block:")
        return
    if model.digest in {known.digest for known in bundled()}:
        st.info(f"{model.name} is the same file as an installed model.", icon=":material/info:")
        return
    uploaded()[model.digest] = model
    st.success(
        f"{model.name} keeps the contract and runs: it can be chosen in Try it and Live as "
        f"{'a model' if model.kind == 'classifier' else 'a face finder'}.",
        icon=":material/check_circle:",
    )


def _show_model(model: ModelFile) -> None:
    try:
        card = model.facts()
    except MaskedgeError as error:
        st.error(str(error), icon=":material/block:")
        return
    st.subheader(model.name, anchor=False)
    origin = "installed with maskedge" if model.path is not None else "yours, in this session only"
    what = "tells faces apart" if model.kind == "classifier" else "finds faces"
    st.caption(f"{what}; {origin}; {len(model.content) / 1000:,.0f} kB; SHA-256 {model.digest[:16]}...")
    evaluations = card.get("evaluations", []) if model.kind == "classifier" else []
    names = ["In short", *(["Confusion", "Calibration"] if evaluations else []), "Whole card"]
    parts = dict(zip(names, st.tabs(names), strict=True))
    with parts["In short"]:
        _short(card)
    if evaluations:
        with parts["Confusion"]:
            _confusion(card, model)
        with parts["Calibration"]:
            _calibration(card, model)
    with parts["Whole card"]:
        text = model.card()
        st.download_button(
            "Card (Markdown)", text, f"{model.name}.md", "text/markdown", icon=":material/download:", key=f"card {model.digest}"
        )
        # Its headings are below that of the model.
        st.markdown(text.replace("\n#", "\n###").replace("# Model card", "#### Model card", 1))


def _short(card: Mapping[str, Any]) -> None:
    evaluations = card.get("evaluations", [])
    if (found := _best_point(card)) is not None:
        _finder(card, found)
        return
    if not evaluations:
        st.markdown("This file holds no measured figures: nothing can be said of how often it is right.")
        return
    for part in evaluations:
        st.markdown(f"**{_SETS.get(part['name'], part['name'])}** ({part['pictures']:,})")
        two_way, gate = part.get("two_way"), card.get("gate", {}).get(part["name"], {})
        cells = [("All labels right", part["accuracy"], "Of all faces, how many got the right label.")]
        if two_way:
            cells.append(
                ("Mask or none", two_way["two_labels"], "Right when only 'with a mask' and 'without a mask' are told apart.")
            )
        if part.get("macro_f1") is not None:
            cells.append(
                ("Macro F1", part["macro_f1"], "Mean over the labels of F1, which falls with misses and with false alarms.")
            )
        if gate.get("rejected") is not None:
            cells.append(
                (
                    "Alarms refused",
                    gate["rejected"],
                    "Of what the face finder took for a face and is none, how much it throws out.",
                )
            )
        with st.container(horizontal=True, gap="medium"):
            for name, value, words in cells:
                st.metric(name, f"{value:.1%}", help=words, width=140)
    if limits := card.get("limits"):
        with st.expander("Where it ends: the same faces, made harder"):
            st.dataframe(
                [{"faces": row["condition"], "right": 100 * row["accuracy"], "number": row["faces"]} for row in limits],
                hide_index=True,
                width="stretch",
                column_config={
                    "faces": "Faces",
                    "number": "Number",
                    "right": st.column_config.ProgressColumn("Right", format="%.1f%%", min_value=0, max_value=100),
                },
            )


def _best_point(card: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give the figures of a detector at its own threshold, on its largest pictures; None where the card has none."""
    own = [point for point in card.get("curve", ()) if point.get("score") == card.get("least_score")]
    return max(own, key=lambda point: int(point["side"]), default=None)


def _finder(card: Mapping[str, Any], point: Mapping[str, Any]) -> None:
    st.markdown(f"**Pictures with people that were kept from the training** ({card['pictures']:,})")
    cells = (
        ("Masked found", f"{point['masked_found']:.1%}", "Of the faces with a mask, how many it finds."),
        ("Unmasked found", f"{point['unmasked_found']:.1%}", "Of the faces without a mask, how many it finds."),
        (
            "False alarms",
            f"{point['false_alarms']:.1f}",
            "In a picture: what it takes for a face and is none, before the classifier refuses most of it.",
        ),
    )
    with st.container(horizontal=True, gap="medium"):
        for name, value, words in cells:
            st.metric(name, value, help=words, width=170)
    st.caption(f"Pictures of {point['side']} pixels on the longest side; score of {point['score']:.2f} or more.")


def _confusion(card: Mapping[str, Any], model: ModelFile) -> None:
    part = _choose(card, f"confusion {model.digest}")
    st.caption(
        "Each row is one truth; the darker a cell, the more of its faces got that answer. Right answers stand on the diagonal."
    )
    if "confusion" in part:
        st.vega_lite_chart(confusion_chart(card["labels"], part["confusion"]), width="stretch")
    st.dataframe(
        [
            {
                "label": label_look(label).name,
                "faces": figures["count"],
                "precision": figures["precision"],
                "recall": figures["recall"],
                "F1": figures["f1"],
            }
            for label in in_order(part["labels"])
            if (figures := part["labels"][label])["count"]
        ],
        hide_index=True,
        width="stretch",
        column_config={
            "label": "Label",
            "faces": "Faces",
            "precision": st.column_config.NumberColumn("Precision", format="percent", help="Of those it called so, how many were."),
            "recall": st.column_config.NumberColumn("Recall", format="percent", help="Of those that were, how many it called so."),
            "F1": st.column_config.NumberColumn("F1", format="percent", help="Harmonic mean of both."),
        },
    )


def _calibration(card: Mapping[str, Any], model: ModelFile) -> None:
    part = _choose(card, f"calibration {model.digest}")
    figures = part["calibration"]
    st.markdown(
        f"When it says *90% sure*, is it right nine times in ten? On average it is off by **{figures['ece_after']:.1%}** "
        f"(expected calibration error; {figures['ece_before']:.1%} "
        f"before its answers were tempered by {card.get('temperature', 1):.2f})."
    )
    if card.get("unsure_below") is not None:
        words = f"Below **{card['unsure_below']:.1%}** an answer should be called unsure"
        if (unsure := part.get("unsure", {})).get("accuracy_of_the_sure") is not None:
            share, right = unsure["share_unsure"], unsure["accuracy_of_the_sure"]
            words += f", which {share:.0%} are here; the others are right in {right:.1%} of cases"
        st.markdown(words + ".")
    bins = figures.get("bins")
    if bins is None and (report := training_report(card)) is not None:
        own = [evaluation for evaluation in report["evaluations"] if evaluation["name"] == part["name"]]
        bins = own[0]["calibration"].get("bins") if own else None
    if bins:
        st.vega_lite_chart(calibration_chart(bins), width="stretch")
    else:
        st.caption(
            "The curve stands in the report of the training, which is not on this computer; the file holds its summary only."
        )


def _choose(card: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Let the visitor choose the data that figures are of."""
    evaluations = {part["name"]: part for part in card["evaluations"]}
    name = st.segmented_control("Measured on", list(evaluations), default=next(iter(evaluations)), required=True, key=key)
    chosen: Mapping[str, Any] = evaluations[name]
    return chosen
