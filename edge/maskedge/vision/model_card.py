"""The model card of a model file, rendered from its metadata.

Source: Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maskedge.errors import ModelError
from maskedge.modelfile.contract import CONTRACT, ClassifierContract, DetectorContract, read_kind, read_model
from maskedge.support.text import displayable

from .classifier import MaskClassifier
from .detectors.network import CnnDetector
from .standalone import rejects_non_faces, standalone_notice

_USE = (
    "Intended use: classify, on a device next to the camera, which of the detected faces wear a mask, "
    "for counts, reminders, doors and alerts. The model classifies the crop of a face in each frame "
    "separately; `edge-run` votes over the frames of a track.",
    "Not intended for penalties, or for decisions about people without human review. The model "
    "cannot recognise people. It is not a medical device: it does not know whether a mask protects. "
    "The figures below give its error rates. Inform people about the camera, and "
    "follow local law.",
)
_NO_DATA = "The file does not state its training data."
_RATES = ("masked_found", "unmasked_found", "false_alarms")
_OF_PRECISIONS = {
    "accuracy": "test accuracy",
    "found": "faces found in held-out pictures",
    "false_alarms": "false alarms per held-out picture",
}
"""Figures of a file of reduced precision that its card compares with those of float32."""
_OF_FLOAT32 = "The figures of this section are those of the float32 file. The section Export compares the two."
_WITHOUT_PRIOR = "The figures of this section were measured without the prior."
_NOT_MEASURED = (
    "Not measured, for lack of labels: faces from the side or from above, ages and skin tones "
    "separately, beards, veils, clear shields. Expect lower figures there, and test the model at the "
    "place of the camera before you rely on it."
)


_USE_OF_DETECTOR = (
    "Intended use: detect, on a device next to the camera, the faces of a picture, masked or not, for "
    "a classifier that rejects false alarms. The detector favours recall: by itself it has several "
    "false alarms per picture.",
    "The detector cannot recognise people. Inform people about the camera, and follow local law.",
)


def render_card(path: Path) -> str:
    """Render the card of a model file, a classifier or a detector, as Markdown.

    Raises:
        ModelError: The file is refused.
    """
    content = read_model(path)
    detector = read_kind(content) == "detector"
    contract = CnnDetector(path).contract if detector else MaskClassifier(path).contract
    try:
        if isinstance(contract, DetectorContract):
            text = _render_detector(path, contract, content)
        else:
            text = _render_classifier(path, contract, content)
        # A text of another program's card must not control the terminal.
        return "\n".join(map(displayable, text.split("\n")))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        # Another program may have written the card: its values may have any type.
        raise ModelError(
            f"the card of {path} (maskedge.card) cannot be shown: {type(error).__name__} {str(error)[:100]}. Export it again."
        ) from error


def _render_classifier(path: Path, contract: ClassifierContract, content: bytes) -> str:
    card = contract.card
    sections = [
        f"# Model card: {path.name}",
        _facts(contract, content),
        *([f"**{standalone_notice(path.name)}**"] if not rejects_non_faces(contract.labels) else []),
        "## Use and misuse",
        *_USE,
        "## Data",
        _data(card),
        "## Figures",
        *_figures(card),
        *_operating_points(card),
        "## Limits",
        *_limits(card),
        "## Export",
        _export(card),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(contract: ClassifierContract, content: bytes) -> str:
    card = contract.card
    rows = [
        ("labels", ", ".join(f"`{label}`" for label in contract.labels)),
        ("net", _known(card, "net", "{}")),
        ("parameters", _known(card, "parameters", "{:,}")),
        ("input", f"uint8 [N, {contract.size}, {contract.size}, 3], BGR"),
        ("crop", f"margin {contract.crop.margin:g}, {'square' if contract.crop.square else 'as the box'}"),
        ("temperature, already in the graph", _known(card, "temperature", "{:g}") + _uncalibrated(card)),
        *([("prior, added to the logit in the graph", _prior(card))] if card.get("prior") else []),
        ("a label is unsure below", _known(card, "unsure_below", "{:g}")),
        *_training_and_file(card, content),
    ]
    return _table(("what", "value"), rows)


def _prior(card: Mapping[str, Any]) -> str:
    return ", ".join(f"`{label}` {value:+g}" for label, value in card["prior"].items())


def _uncalibrated(card: Mapping[str, Any]) -> str:
    calibration = card.get("calibration", {})
    if calibration.get("fitted", True):
        return ""
    return f": not calibrated, since there are too few faces ({calibration['faces']:,}; {calibration['needed']:,} are needed)"


def _render_detector(path: Path, contract: DetectorContract, content: bytes) -> str:
    card = contract.card
    size = "any size in multiples of 32" if contract.size is None else f"{contract.size[0]} x {contract.size[1]}"
    facts = [
        ("finds", ", ".join(f"`{label}`" for label in contract.labels)),
        ("net", _known(card, "net", "{}")),
        ("parameters", _known(card, "parameters", "{:,}")),
        ("input", f"uint8 [1, H, W, 3], BGR, {size}"),
        ("score threshold, already in the graph", _known(card, "least_score", "{:g}")),
        *_training_and_file(card, content),
    ]
    figures = ["The file has no figures."]
    if rows := card.get("curve"):
        found = [(f"{row['side']}", f"{row['score']:.2f}", *(_figure(row[key]) for key in _RATES)) for row in rows]
        figures = [
            f"Held-out pictures with people: {card.get('pictures', 0):,}; faces of at least a "
            "twentieth of the longest side; found means an overlap (IoU) of 0.4.",
            _table(("longest side", "score threshold", "masked found", "unmasked found", "false alarms per picture"), found),
        ]
    if "of" in card.get("quantisation", {}):
        figures.insert(0, _OF_FLOAT32)
    sections = [
        f"# Model card: {path.name}",
        _table(("what", "value"), facts),
        "## Use and misuse",
        *_USE_OF_DETECTOR,
        "## Data",
        _table(("data", "value"), _counts(card)) if card.get("data") else _NO_DATA,
        "## Figures",
        *figures,
        "## Limits",
        _NOT_MEASURED,
        "## Export",
        _export(card),
    ]
    return "\n\n".join(sections) + "\n"


def _training_and_file(card: Mapping[str, Any], content: bytes) -> list[tuple[str, str]]:
    return [
        ("trained", _training(card)),
        ("size", f"{len(content):,} bytes"),
        ("SHA-256", f"`{hashlib.sha256(content).hexdigest()}`"),
        ("contract", CONTRACT),
    ]


def _training(card: Mapping[str, Any]) -> str:
    """Describe the length of a training, the files that it started from, and those averaged with the result."""
    recipe = card.get("recipe", {})
    start, average = recipe.get("init"), recipe.get("average", [])
    others = ", ".join(f"{share:g} of `{digest}`" for digest, share in average)
    if average and card.get("epochs") == 0:
        own = 1 - sum(share for _, share in average)
        return f"as an average of other files, by SHA-256: {own:g} of `{start}`, {others}"
    text = f"{_known(card, 'epochs', '{}')} epochs, {_known(card, 'train_seconds', '{:,.0f}')} s"
    text += f", from the weights of the file with SHA-256 `{start}`" if start else ""
    return text + (f"; averaged with other files, by SHA-256: {others}" if average else "")


def _counts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on the contents and licences of the data."""
    data = card.get("data", {})
    known = {"pictures": "pictures", "refused": "unusable files", "generated": "generated pictures"}
    sources = {name: f"pictures of {name}" for name in ("faces", "scenes", "backgrounds")}
    names = known | sources | {label: f"faces labelled `{label}`" for label in card.get("labels", [])}
    return [
        *((name, f"{data[key]:,}") for key, name in names.items() if key in data),
        *([("boxes begin at", f"the {data['convention']}")] if "convention" in data else ()),
        ("digest of the data", f"`{data.get('digest', 'not known')}`"),
        ("licences", "; ".join(card.get("licences", [])) or "not stated"),
    ]


def _data(card: Mapping[str, Any]) -> str:
    split = card.get("split", {})
    if not card.get("data"):
        licences = "; ".join(card.get("licences", []))
        return f"{_NO_DATA} Licences: {licences}." if licences else _NO_DATA
    parts = ", ".join(f"{split.get(part, 0):,}" for part in ("train", "val", "test"))
    rows = [
        *_counts(card),
        ("split", f"by {split.get('by', 'not known')}, seed {split.get('seed', 'not known')}"),
        ("pictures for training, validation, test", parts),
        ("digest of the split", f"`{split.get('digest', 'not known')}`"),
    ]
    return _table(("data", "value"), rows)


def _figures(card: Mapping[str, Any]) -> Iterable[str]:
    if "of" in card.get("quantisation", {}):
        yield _OF_FLOAT32
    if card.get("prior"):
        yield _WITHOUT_PRIOR
    for part in card.get("evaluations", []):
        yield f"### {part['name']}: {part['pictures']:,} crops"
        whole = [f"accuracy {part['accuracy']:.4f}", f"calibration error {part['calibration']['ece_after']:.4f}"]
        if part.get("macro_f1") is not None:
            whole.insert(1, f"macro F1 {part['macro_f1']:.4f}")
        if two_way := part.get("two_way"):
            whole.append(f"with or without a mask {two_way['two_labels']:.4f} ({two_way['strict']:.4f} with all labels open)")
        yield "; ".join(whole) + "."
        yield _table(
            ("label", "crops", "precision", "recall", "F1"),
            [
                (f"`{label}`", f"{figures['count']:,}", *(_figure(figures[key]) for key in ("precision", "recall", "f1")))
                for label, figures in part["labels"].items()
                if figures["count"]
            ],
        )
    for name, gate in card.get("gate", {}).items():
        if gate["rejected"] is not None:
            yield (
                f"As a gate behind a detector that favours recall, on {name}: rejects "
                f"{gate['rejected']:.4f} of {gate['false_alarms']:,} false alarms and keeps "
                f"{gate['kept']:.4f} of {gate['faces']:,} faces."
            )
            # Older files have no curve.
            if curve := gate.get("curve"):
                shares = [(f"{row['face_threshold']:g}", _figure(row["kept"]), _figure(row["rejected"])) for row in curve]
                yield _table(("face probability of at least", "faces kept", "false alarms rejected"), shares)
    if not card.get("evaluations"):
        yield "The file has no figures."


def _operating_points(card: Mapping[str, Any]) -> Iterable[str]:
    """Return the face thresholds by name, and the curve that they were chosen from."""
    measured = card.get("operating_points", {})
    if not measured:
        return
    yield "## Operating points"
    yield ("Face thresholds for `edge-run --precision NAME --domain NAME`, chosen on held-out pictures with two labels.")
    for detector, domains in measured.items():
        for domain, own in domains.items():
            yield f"### {detector}, {domain}"
            names: dict[float, list[str]] = {}
            for name, threshold in own["points"].items():
                names.setdefault(threshold, []).append(name)
            rows = [
                (
                    f"{row['face_threshold']:g}",
                    ", ".join(f"**{name}**" for name in names.get(row["face_threshold"], [])) or "-",
                    *(_figure(row[key]) for key in ("precision", "recall", "f1", "false_alarms_a_background")),
                )
                for row in own["curve"]
            ]
            yield _table(("face threshold", "name", "precision", "recall", "F1", "false alarms per background"), rows)
            weights = ", ".join(f"`{source}` x {weight:g}" for source, weight in own["weights"].items())
            yield (
                f"{own['pictures']:,} pictures with {own['faces']:,} faces, by the start of their names: {weights}; "
                f"{own['backgrounds']:,} backgrounds."
            )


def _limits(card: Mapping[str, Any]) -> Iterable[str]:
    if measured := card.get("groups"):
        yield (
            f"Groups of {measured['least_faces']} faces or more whose F1 is more than {measured['most_below']:g} below that of "
            "all faces (`edge-bench attributes`: size, light, contrast, sharpness, compression, position, crowding, label, "
            "source):"
        )
        groups: list[tuple[str, ...]] = []
        for detector, figures in measured["detectors"].items():
            groups.append((detector, "all", "", "", *_two_and_three(figures["whole"])))
            groups += [
                (detector, own["attribute"], own["group"], f"{own['faces']:,}", *_two_and_three(own)) for own in figures["weak"]
            ]
        yield _table(("detector", "attribute", "group", "faces", "F1, two labels", "F1, three labels"), groups)
    if limits := card.get("limits"):
        yield "Accuracy over all labels on degraded copies of the test faces:"
        rows = [(limit["condition"], f"{limit['accuracy']:.4f}", f"{limit['faces']:,}") for limit in limits]
        yield _table(("faces", "accuracy", "number"), rows)
    yield _NOT_MEASURED


def _two_and_three(own: Mapping[str, float | None]) -> tuple[str, str]:
    return _figure(own["two_labels"]), _figure(own["three_labels"])


def _export(card: Mapping[str, Any]) -> str:
    parity, quantised = card.get("parity", {}), card.get("quantisation", {})
    rows = [("numbers", quantised.get("precision", "fp32"))]
    if parity:
        unit = f"{parity['changed']} changed" if "changed" in parity else "in pixels of a box's side"
        compared = parity.get("crops", parity.get("frames"))
        difference = f"greatest difference {parity['worst_difference']:.1e}, {unit}"
        original = "the original" if card.get("adopted") else "PyTorch"
        rows.append((f"parity with {original}", f"{compared:,} outputs compared, {difference}"))
    for gate, passed in quantised.get("gates", {}).items():
        rows.append((f"gate: {gate}", "passed" if passed else "**FAILED**, written by --force"))
    for key, name in _OF_PRECISIONS.items():
        if key in quantised:
            rows.append((f"{name}, and of fp32", f"{quantised[key]:.4f}, {quantised[f'{key}_fp32']:.4f}"))
    if "of" in quantised:
        rows.append(("made from the fp32 file with SHA-256", f"`{quantised['of']}`"))
    rows += [(name, version) for name, version in card.get("versions", {}).items()]
    return _table(("export", "value"), rows)


def _known(card: Mapping[str, Any], key: str, form: str) -> str:
    return form.format(card[key]) if card.get(key) is not None else "not known"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
