"""The chain of the audit log against every way to falsify it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistent_terminal_hub.control.audit_chain import (
    MAX_PROBLEMS,
    START,
    Anchor,
    Head,
    Link,
    anchor_seal,
    canonical,
    link_mac,
    verify,
)

KEY = bytes(range(32))
NOWHERE = Anchor()


class Keys:
    def key(self, key_id: str) -> bytes:
        return {"k": KEY, "other": bytes(32)}[key_id]


def chain(records: list[str]) -> list[Link]:
    links, mac = [], START
    for number, record in enumerate(records, 1):
        mac = link_mac(KEY, number, mac, record)
        links.append(Link(number, record, "k", mac))
    return links


def sentences(links: list[Link], anchor: Anchor = NOWHERE, heads: tuple[Head, ...] = ()) -> list[str]:
    return [problem.sentence for problem in verify(links, Keys(), anchor, heads)]


texts = st.lists(st.text(max_size=10), min_size=1, max_size=8)


@given(texts)
def test_an_untouched_chain_is_whole(records: list[str]) -> None:
    links = chain(records)
    heads = tuple(Head(link.number, link.mac, link.number) for link in links)
    assert sentences(links, heads=heads) == []


@given(texts, st.data())
def test_a_changed_bit_is_seen(records: list[str], data: st.DataObject) -> None:
    links = chain(records)
    place = data.draw(st.integers(0, len(links) - 1))
    link = links[place]
    which = data.draw(st.sampled_from(["record", "mac", "key"]))
    if which == "mac":
        bit = data.draw(st.integers(0, 255))
        mac = bytearray(link.mac)
        mac[bit // 8] ^= 1 << bit % 8
        links[place] = replace(link, mac=bytes(mac))
    elif which == "key":
        links[place] = replace(link, key="other")
    else:
        links[place] = replace(
            link, record=data.draw(st.text(max_size=10).filter(lambda t: t != link.record))
        )
    assert sentences(links)


@given(texts, st.data())
def test_rows_removed_inserted_or_swapped_are_seen(records: list[str], data: st.DataObject) -> None:
    links = chain([*records, "last"])
    place = data.draw(st.integers(0, len(links) - 2))
    how = data.draw(st.sampled_from(["remove", "swap", "double", "renumber"]))
    if how == "remove":
        del links[place]
    elif how == "swap":
        links[place], links[place + 1] = links[place + 1], links[place]
    elif how == "double":
        links.insert(place, links[place])
    else:
        del links[place]
        links = [replace(link, number=number) for number, link in enumerate(links, 1)]
    assert sentences(links)


@given(texts, st.integers(1, 8))
def test_a_cut_off_end_is_seen_only_with_a_head(records: list[str], cut: int) -> None:
    links = chain(records)
    head = Head(links[-1].number, links[-1].mac, 1.0)
    shorter = links[: -min(cut, len(links))]
    assert sentences(shorter) == []
    assert "cut off" in sentences(shorter, heads=(head,))[0]


def test_a_rewritten_log_is_seen_with_a_head() -> None:
    links = chain(["a", "b", "c"])
    rewritten = chain(["a", "B", "c"])
    assert sentences(rewritten) == []
    assert "rewritten" in sentences(rewritten, heads=(Head(3, links[-1].mac, 1.0),))[0]


def test_retention_leaves_a_chain_that_verifies() -> None:
    links = chain(["a", "b", "c", "d"])
    anchor = Anchor(2, links[1].mac, 5.0, "k", anchor_seal(KEY, 2, links[1].mac, 5.0))
    assert sentences(links[2:], anchor, (Head(1, links[0].mac, 1.0), Head(4, links[3].mac, 2.0))) == []
    assert "missing" in sentences(links[3:], anchor)[0]
    moved = replace(anchor, number=3, mac=links[2].mac)
    assert "begins was changed" in sentences(links[3:], moved)[0]
    assert sentences(links[2:], replace(anchor, key="gone"))


def test_one_change_is_told_once() -> None:
    links = chain([str(n) for n in range(50)])
    links[20] = replace(links[20], record="x")
    assert len(sentences(links)) == 1


def test_a_lost_key_does_not_fill_the_screen() -> None:
    links = [replace(link, key="gone") for link in chain(["x"] * 500)]
    assert len(sentences(links)) == MAX_PROBLEMS + 1


@pytest.mark.parametrize("record", [{"a": float("nan")}, {"a": float("inf")}])
def test_canonical_refuses_what_json_cannot_say(record: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        canonical(record)


def test_canonical_is_one_spelling() -> None:
    assert canonical({"b": 1, "a": "é"}) == canonical({"a": "é", "b": 1}) == '{"a":"é","b":1}'
