"""Generated terminal streams: what programs send, and what none should. Deterministic in the seed."""

from __future__ import annotations

import random

Part = bytes | tuple[int, int]  # output, or a resize to (rows, cols)

WORDS = [
    "make",
    "error:",
    "ok",
    "日本語",
    "テスト",
    "한글",
    "😀",
    "👩‍👩‍👧",
    "é",
    "e\u0301",
    "naïve",
    "\u0301",
    "x" * 30,
    "lorem ipsum dolor sit amet",
    "──┼──",
    "\t",
    "a\tb",
    "✓",
    "\U0001f1e8\U0001f1ed",
    "ｆｕｌｌ",
    "٣",
    "\u200b",
]
CHARSETS = ["(0", "(B", ")0", "(A", ")B", "*0", "+K", "(="]
PRIVATE = [1, 6, 7, 9, 12, 25, 45, 47, 66, 1000, 1002, 1003, 1004, 1006, 1016, 1047, 1048, 1049, 2004, 2026]


def _sgr(r: random.Random) -> str:
    simple = [0, 1, 2, 3, 4, 5, 7, 8, 9, 21, 22, 23, 24, 27, 31, 32, 39, 41, 44, 49, 53, 55, 59, 93, 104, 999]
    codes = [str(r.choice(simple)) for _ in range(r.randint(0, 3))]
    if r.random() < 0.3:
        codes.append(
            r.choice(
                [
                    "38;5;200",
                    "48;5;17",
                    "38;2;1;2;3",
                    "48;2;250;0;9",
                    "58;5;9",
                    "58:2::9:8:7",
                    "4:3",
                    "4:5",
                    "38:5:1",
                    "38;5",
                    "48;2;1",
                ]
            )
        )
    return f"\x1b[{';'.join(codes)}m"


def _motion(r: random.Random, rows: int, cols: int) -> str:
    n = r.choice(["", "1", "2", "5", "0", "99"])
    return r.choice(
        [
            f"\x1b[{n}{r.choice('ABCDEFGaeIZ`d')}",
            f"\x1b[{r.randint(1, rows + 1)};{r.randint(1, cols + 1)}{r.choice('Hf')}",
            f"\x1b[{r.randint(1, rows)};{cols}H",
            "\x1b[H",
            "\r",
            "\b",
            "\n",
            "\r\n",
            "\x0b",
            "\x1bD",
            "\x1bE",
            "\x1bM",
            "\x1b7",
            "\x1b8",
            "\x1b[s",
            "\x1b[u",
        ]
    )


def _edit(r: random.Random) -> str:
    n = r.choice(["", "1", "2", "3", "7"])
    return r.choice(
        [
            f"\x1b[{n}{r.choice('@LMPSTXb')}",
            f"\x1b[{r.choice(['', '0', '1', '2'])}{r.choice('JK')}",
            f"\x1b[?{r.choice(['', '1', '2'])}{r.choice('JK')}",
            f"\x1b[{n} {r.choice('@A')}",
            f"\x1b[{n}'{r.choice('}~')}",
            "\x1b[3J",
        ]
    )


def _rare(r: random.Random, rows: int) -> str:
    top = r.randint(1, rows)
    return r.choice(
        [
            f"\x1b[{top};{r.randint(top, rows)}r",
            "\x1b[r",
            "\x1b#8",
            "\x1b[!p",
            "\x1b[3g",
            "\x1bH",
            "\x1b[g",
            "\x1b[4h",
            "\x1b[4l",
            "\x1b[20h",
            "\x1b[20l",
            "\x0e",
            "\x0f",
            "\x1bn",
            "\x1b=",
            "\x1b>",
            f"\x1b{r.choice(CHARSETS)}",
            f"\x1b[{r.randint(0, 6)} q",
            '\x1b[1"q',
            '\x1b[0"q',
            "\x1b]0;title\x07",
            "\x1b]2;Zürich\x1b\\",
            "\x1b]1;icon\x07",
            "\x1b]8;;http://example.org/a\x1b\\link\x1b]8;;\x1b\\",
            "\x1b]8;id=1;http://example.org/b\x07",
            "\x1b]8;;\x07",
            "\x1b]4;1;rgb:11/22/33\x07",
            "\x1b]10;#ff0000\x07",
            "\x1b]104;1\x07",
            "\x1b]110\x07",
            "\x1bP$qm\x1b\\",
            "\x1b_apc\x1b\\",
            "\x1b^pm\x1b\\",
            "\x1b]52;c;aGk=\x07",
            "\x1bc" if r.random() < 0.1 else "\x1b(B",
            "\x1b[c",
            "\x1b[6n",
            "\x1b[>c",
            "\x1b]11;?\x07",
            "\x1b[?2004$p",
            "\x1b[18t",
            "\x1b[22;0t",
            "\x1b[23;0t",
        ]
    )


def _odd(r: random.Random) -> bytes:
    return r.choice(
        [
            b"\xff",
            b"\xc3",
            b"\xe2\x82",
            b"\xf0\x9f",
            b"\xc2\x9b3m",
            b"\xc2\x85",
            b"\x1b[",
            b"\x1b[12",
            b"\x1b",
            b"\x1b]0;open",
            b"\x18",
            b"\x1a",
            b"\x00",
            b"\x7f",
            b"\x1b[31\nm",
            b"\x1b[1;2;3;4;5;6;7;8;9m",
            b"\x1b[?5;",
            b"\x1bP",
            b"\x1b[<1;2M",
            b"\x1b[999999999999C",
            b"\xc2\x9d0;c1 title\xc2\x9c",
            bytes(r.randrange(256) for _ in range(r.randint(1, 6))),
        ]
    )


def generate(seed: int, *, length: int = 60, resizes: bool = True) -> tuple[int, int, list[Part]]:
    """(rows, cols, parts) of one stream."""
    r = random.Random(seed)
    rows, cols = r.choice([(24, 80), (5, 12), (10, 40), (3, 7), (40, 132)])
    size, tame = (rows, cols), r.random() < 0.4
    parts: list[Part] = []
    for _ in range(length):
        pick = r.random()
        if pick < 0.35:
            parts.append(" ".join(r.choices(WORDS, k=r.randint(1, 6))).encode())
        elif pick < 0.45:
            parts.append(b"".join(b"line %d of many\r\n" % i for i in range(r.randint(1, 2 * rows))))
        elif pick < 0.58:
            parts.append(_sgr(r).encode())
        elif pick < 0.74:
            parts.append(_motion(r, *size).encode())
        elif pick < 0.84:
            parts.append(_edit(r).encode())
        elif pick < 0.90:
            parts.append(f"\x1b[?{r.choice(PRIVATE)}{r.choice('hl')}".encode())
        elif pick < 0.96:
            parts.append(_rare(r, rows).encode())
        elif pick < 0.98 and not tame:
            parts.append(_odd(r))
        elif resizes and not tame:
            size = (r.choice([2, rows, rows + 3, 24]), r.choice([5, cols, cols + 9, 80]))
            parts.append(size)
    return rows, cols, parts
