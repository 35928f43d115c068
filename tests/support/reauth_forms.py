"""What a person does on the page /hub/reauth: read its forms, fill them in, see where the answer goes."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import requests


@dataclass
class Form:
    """A form of a page."""

    action: str
    fields: dict[str, str]


def forms(page: requests.Response | str) -> list[Form]:
    """All forms with their hidden and other prefilled fields."""
    text = page if isinstance(page, str) else page.text
    found = []
    for match in re.finditer(r"(?s)<form\b([^>]*)>(.*?)</form>", text):
        action = re.search(r'action="([^"]*)"', match[1])
        fields = {}
        for tag in re.findall(r"<input\b[^>]*>", match[2], re.S):
            attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            if "name" in attributes:
                fields[attributes["name"]] = html.unescape(attributes.get("value", ""))
        found.append(Form(html.unescape(action[1]) if action else "", fields))
    return found


def form_with(page: requests.Response | str, field: str) -> Form:
    """The form that has this field."""
    for form in forms(page):
        if field in form.fields:
            return form
    raise AssertionError(f"no form with {field!r}: {page if isinstance(page, str) else page.text}")
