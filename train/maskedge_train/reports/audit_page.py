"""The page of a data set's audit: galleries of copies, conflicts and small pictures."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskedge.rendering import html as page
from maskedge.support.pictures import read_picture
from maskedge.support.text import counted, displayable
from maskedge_train.data.audit import SMALL, Audit

_GROUPS_SHOWN, _MEMBERS_SHOWN = 40, 8


def write_audit_page(audit: Audit, path: Path) -> None:
    """Write the findings of an audit as a page with galleries.

    Raises:
        OutputError: The file cannot be written.
    """
    pictures = audit.pictures
    labels = [f"{displayable(label)}: {counted(read, 'picture')}" for label, (_, read) in audit.counts().items()]

    @functools.cache
    def shown(index: int) -> str:
        picture = pictures[index]
        return page.figure(
            page.picture(read_picture(picture.path)), f"{displayable(picture.name)} ({picture.size[0]} x {picture.size[1]})"
        )

    def group(members: Sequence[int], words: str = "") -> str:
        more = len(members) - _MEMBERS_SHOWN
        tail = f"and {more:,} more pictures" if more > 0 else ""
        head = ", ".join(filter(None, (words, tail))) if words else tail.capitalize()
        inside = (page.paragraph(head) if head else "") + page.gallery(map(shown, members[:_MEMBERS_SHOWN]))
        return f'<div class="group">{inside}</div>'

    def section(title: str, words: str, groups: Sequence[tuple[str, Sequence[int]]]) -> str:
        parts = [page.paragraph(words), *(group(members, name) for name, members in groups[:_GROUPS_SHOWN])]
        if (more := len(groups) - _GROUPS_SHOWN) > 0:
            parts.append(page.paragraph(f"And {more:,} more groups."))
        return page.section(f"{title}: {len(groups):,}", *parts) if groups else ""

    def unnamed(groups: Iterable[Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
        return [("", members) for members in groups]

    def singles(title: str, words: str, members: Sequence[int]) -> str:
        parts = [page.paragraph(words), page.gallery(map(shown, members[:_GROUPS_SHOWN]))]
        if (more := len(members) - _GROUPS_SHOWN) > 0:
            parts.append(page.paragraph(f"And {more:,} more pictures."))
        return page.section(f"{title}: {len(members):,}", *parts) if members else ""

    def listed(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        more = len(rows) - 5 * _GROUPS_SHOWN
        tail = page.paragraph(f"And {more:,} more.") if more > 0 else ""
        return page.section(f"{title}: {len(rows):,}", page.table(head, rows[: 5 * _GROUPS_SHOWN]), tail) if rows else ""

    page.write_page(
        path,
        f"Audit of {displayable(audit.listing.folder.resolve().name)}",
        ", ".join(labels),
        [
            page.section("Summary", *map(page.paragraph, audit.findings()), page.table(("Check", "Result"), audit.rows())),
            section(
                "Label conflicts",
                "The same picture with different labels: one of the labels is wrong, unless the pictures are only similar.",
                [(conflict.kind, conflict.members) for conflict in audit.conflicts],
            ),
            listed("Unreadable files", ("File", "Reason"), [(displayable(name), reason) for name, reason in audit.unreadable]),
            section("Byte-identical", "The same file more than once.", unnamed(audit.identical)),
            section(
                "Near-identical or mirrored",
                "Pictures with a similar perceptual hash: another size, quality or crop, or the mirror image.",
                unnamed(audit.near),
            ),
            section(
                "Rotated copies",
                "One picture is a rotation of the other, mirrored or not, as in augmentation.",
                unnamed(audit.rotated),
            ),
            singles(
                "Augmented by name, original not found",
                f"Names that match {audit.pattern}, without a related picture of another name.",
                audit.orphans,
            ),
            section(
                "People",
                "Pictures of one person, by their file names. A split by picture puts them into several parts.",
                sorted((audit.people or {}).items(), key=lambda item: -len(item[1])),
            ),
            singles("Small pictures", f"The shorter side has fewer than {SMALL} pixels. The smallest come first.", audit.small()),
            listed(
                "Suffix and content differ",
                ("File", "Suffix", "Content"),
                [(displayable(item.name), item.named or "none", item.content) for item in audit.mismatches],
            ),
            listed("Ignored", ("Path",), [(displayable(name),) for name in audit.listing.ignored]),
        ],
    )
