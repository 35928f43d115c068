"""The journal: an append-only byte log of which a bounded, shared-memory ring keeps the newest part.

One process writes (:class:`Journal`), any number read (:class:`Reader`, each with offsets of its own),
and nobody ever waits for anybody. The requirements, and where each is met:

- A byte's offset never changes; ``(epoch, offset)`` names it for ever.
- A reader never gets a byte that is not the one at the offset it asked for. *Floor-first*: the writer
  raises ``floor`` past everything that the coming write may touch, then writes, then publishes ``head``.
  A reader copies, then looks at ``floor`` again and throws away what lies below.
- A reader is told exactly what it missed: ``Chunk.lost`` bytes before ``Chunk.start``.
- Memory is bounded and taken only when used: pages come with the first byte in them, and ``give_up``
  returns them to the system.
- A receiver of the descriptor cannot write. It gets a read-only description, of a file of mode 0400 with
  its size sealed. (F_SEAL_FUTURE_WRITE would forbid our own hole punching as well: EPERM.)

Layout, in aligned 8-byte words of native order, so that no word is ever seen half-written::

    page 0..3   header words, then RESIZE_SLOTS records of two words (offset, cols << 32 | rows)
    page 4..    the ring: the byte at offset n lies at n % capacity
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
from typing import NamedTuple

MAGIC = 0x31304C4E4A485450  # "PTHJNL01", little-endian
LAYOUT_VERSION = 1
PAGE = mmap.PAGESIZE
HEADER_BYTES = 4 * 4096 if PAGE <= 4096 else PAGE
DEFAULT_CAPACITY = 8 * 1024 * 1024
# The most that one read may bring. So much of the ring is always on its way to be overwritten.
READ_MAX = 64 * 1024

_MAGIC, _VERSION, _CAPACITY, _EPOCH, _FLOOR, _HEAD, _ENDED, _RESIZE_FLOOR, _RESIZE_COUNT = range(9)
_RESIZE_WORDS = 32  # index of the first word of the first resize record
RESIZE_SLOTS = (HEADER_BYTES // 8 - _RESIZE_WORDS) // 2


class Chunk(NamedTuple):
    """Bytes ``[start, start + len(data))``; ``lost`` bytes between the offset asked for and ``start``."""

    start: int
    data: bytes
    lost: int

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Resize(NamedTuple):
    """From ``offset`` on, output was made for this size."""

    offset: int
    cols: int
    rows: int


class JournalError(Exception):
    """This is not a journal that we can read."""


class OffsetError(ValueError):
    """The offset asked for has not been written yet."""


# On x86 stores become visible in order, and loads are done in order: nothing to do there.
_FENCED = os.uname().machine not in ("x86_64", "i686")
_fence_lock = threading.Lock()


def _fence() -> None:
    """Order memory accesses before against those after (release, then acquire, of a lock)."""
    if _FENCED:
        for _ in range(2):
            _fence_lock.acquire()
            _fence_lock.release()


def new_epoch() -> int:
    """A number that names one run of one program for ever, exact as a JavaScript number too."""
    return int.from_bytes(os.urandom(7)) >> 3 | 1


class Journal:
    """The writing end. Lives in the keeper only."""

    def __init__(
        self, capacity: int = DEFAULT_CAPACITY, *, epoch: int | None = None, reserve: int | None = None
    ) -> None:
        self.capacity = max(PAGE, -(-capacity // PAGE) * PAGE)
        self.reserve = reserve if reserve is not None else min(READ_MAX, self.capacity // 4)
        self.epoch = new_epoch() if epoch is None else epoch
        self.head = 0
        self.floor = 0
        self._given = 0  # pages of offsets below this were given back; a multiple of PAGE
        self._resizes = 0
        size = HEADER_BYTES + self.capacity
        self.fd = os.memfd_create("pth-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            os.fchmod(self.fd, 0o400)
            self._map = mmap.mmap(self.fd, size)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(self.fd)
            raise
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            # A first byte shall cost one page and not two megabytes, whatever the host prefers.
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_NOHUGEPAGE)
        whole = memoryview(self._map)
        self._words = whole[:HEADER_BYTES].cast("Q")
        self._ring = whole[HEADER_BYTES:]
        whole.release()
        self._words[_VERSION] = LAYOUT_VERSION
        self._words[_CAPACITY] = self.capacity
        self._words[_EPOCH] = self.epoch
        self._words[_MAGIC] = MAGIC

    # -- writing -------------------------------------------------------------------------------------
    def read_from(self, fd: int, most: int = 1, short: int = 0) -> int:
        """Append what reads from ``fd`` give: at least one, until ``most`` bytes came, or a read brought
        ``short`` bytes or fewer, or failed. Returns how many bytes came (0 at the end of ``fd``).

        Raises what ``os.readv`` raises if that happens at the first one.
        """
        # This loop is what bulk output costs in Python: everything it needs is a local name.
        words, ring, capacity, reserve, readv = self._words, self._ring, self.capacity, self.reserve, os.readv
        start = head = self.head
        while True:
            floor = head + reserve - capacity
            if floor > self.floor:
                self.floor = words[_FLOOR] = floor
                if _FENCED:
                    _fence()
            begin = head % capacity
            end = begin + reserve
            try:
                if end <= capacity:
                    count = readv(fd, (ring[begin:end],))
                else:
                    count = readv(fd, (ring[begin:], ring[: end - capacity]))
            except OSError:
                if head == start:
                    raise
                return head - start
            head += count
            if _FENCED:
                _fence()
            self.head = words[_HEAD] = head
            if count <= short or head - start >= most:
                return head - start

    def append(self, data: bytes) -> None:
        """Append bytes that are already at hand."""
        for at in range(0, len(data), self.reserve):
            piece = data[at : at + self.reserve]
            head, capacity = self.head, self.capacity
            floor = head + len(piece) - capacity
            if floor > self.floor:
                self.floor = self._words[_FLOOR] = floor
                _fence()
            begin = head % capacity
            first = min(len(piece), capacity - begin)
            self._ring[begin : begin + first] = piece[:first]
            if first < len(piece):
                self._ring[: len(piece) - first] = piece[first:]
            _fence()
            self.head = self._words[_HEAD] = head + len(piece)

    def record_resize(self, cols: int, rows: int) -> Resize:
        """Note that what comes after the bytes published so far is for another size."""
        count = self._resizes
        # The same order as for bytes: say that the oldest record is gone, then overwrite it.
        self._words[_RESIZE_FLOOR] = max(0, count + 1 - RESIZE_SLOTS)
        _fence()
        at = _RESIZE_WORDS + 2 * (count % RESIZE_SLOTS)
        self._words[at] = self.head
        self._words[at + 1] = cols << 32 | rows
        _fence()
        self._resizes = self._words[_RESIZE_COUNT] = count + 1
        return Resize(self.head, cols, rows)

    def mark_ended(self) -> None:
        """Tell readers that no byte will follow."""
        self._words[_ENDED] = 1

    # -- memory --------------------------------------------------------------------------------------
    @property
    def allocated(self) -> int:
        """Bytes of memory in use, by the page."""
        base = max(self._given, self.head - self.capacity)
        pages = -(-self.head // PAGE) - base // PAGE
        return HEADER_BYTES + min(pages * PAGE, self.capacity)

    def give_up(self, wanted: int, keep: int) -> int:
        """Forget the oldest bytes until ``wanted`` bytes of memory are free or only ``keep`` bytes are left.

        Returns how much memory was given back to the system.
        """
        base = max(self._given, self.head - self.capacity)
        first = -(-base // PAGE) * PAGE  # a page that begins with old bytes may end with the newest
        last = min(first + -(-wanted // PAGE) * PAGE, (self.head - keep) // PAGE * PAGE)
        if last <= first:
            return 0
        if last > self.floor:
            self.floor = self._words[_FLOOR] = last
            _fence()
        self._given = last
        begin, end = first % self.capacity, last % self.capacity
        if begin < end:
            self._punch(begin, end)
        else:
            self._punch(begin, self.capacity)
            self._punch(0, end)
        return last - first

    def _punch(self, begin: int, end: int) -> None:
        if begin < end:
            self._map.madvise(mmap.MADV_REMOVE, HEADER_BYTES + begin, end - begin)

    # -- descriptors ---------------------------------------------------------------------------------
    def open_reader_fd(self) -> int:
        """A new descriptor through which the journal can be mapped and not written. The caller closes it."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Release the memory (readers that have it mapped keep theirs)."""
        self._words.release()
        self._ring.release()
        self._map.close()
        os.close(self.fd)


class Reader:
    """A reading end, in any process. Holds no position: every call names its offset."""

    def __init__(self, fd: int) -> None:
        """Map the journal behind ``fd``; the descriptor may be closed afterwards."""
        size = os.fstat(fd).st_size
        if size < HEADER_BYTES + PAGE:
            raise JournalError("The shared memory is too small to be a journal.")
        self._map = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        whole = memoryview(self._map)
        self._words = whole[:HEADER_BYTES].cast("Q")
        self._ring = whole[HEADER_BYTES:]
        whole.release()
        if self._words[_MAGIC] != MAGIC or self._words[_VERSION] != LAYOUT_VERSION:
            self.close()
            raise JournalError("The shared memory is not a journal of a layout that this version knows.")
        self.capacity = self._words[_CAPACITY]
        self.epoch = self._words[_EPOCH]
        if self.capacity != size - HEADER_BYTES:
            self.close()
            raise JournalError("The journal's size is not what its header says.")

    @property
    def head(self) -> int:
        """One past the newest byte."""
        return self._words[_HEAD]

    @property
    def floor(self) -> int:
        """The oldest byte that can still be read, for the moment."""
        return min(self._words[_FLOOR], self._words[_HEAD])

    @property
    def ended(self) -> bool:
        """No byte will follow those up to ``head``. Read this before ``head``, not after."""
        return self._words[_ENDED] != 0

    def read(self, offset: int, limit: int = READ_MAX) -> Chunk:
        """Copy up to ``limit`` bytes from ``offset`` on; empty at the head, later than asked if overtaken.

        Raises :class:`OffsetError` for an offset beyond the head.
        """
        words, ring, capacity = self._words, self._ring, self.capacity
        if offset > words[_HEAD]:
            raise OffsetError(f"Offset {offset} is not written yet; the journal ends at {words[_HEAD]}.")
        start = max(offset, words[_FLOOR])
        while True:
            head = words[_HEAD]
            start = min(start, head)
            _fence()
            count = min(limit, head - start)
            begin = start % capacity
            if begin + count <= capacity:
                data = bytes(ring[begin : begin + count])
            else:
                data = b"".join((ring[begin:], ring[: begin + count - capacity]))
            _fence()
            floor = words[_FLOOR]
            if floor <= start:
                return Chunk(start, data, start - offset)
            if floor < start + count:  # overtaken in part; the rest was still whole after the copy
                return Chunk(floor, data[floor - start :], floor - offset)
            if count == 0:
                return Chunk(start, b"", start - offset)
            start = floor

    def read_into(self, offset: int, target: memoryview) -> bool:
        """Fill ``target`` from ``offset`` on; False (and ``target`` is worth nothing) if that was overtaken.

        The bytes asked for must be written already.
        """
        ring, capacity = self._ring, self.capacity
        count = len(target)
        begin = offset % capacity
        if _FENCED:
            _fence()
        if begin + count <= capacity:
            target[:] = ring[begin : begin + count]
        else:
            first = capacity - begin
            target[:first] = ring[begin:]
            target[first:] = ring[: count - first]
        if _FENCED:
            _fence()
        return self._words[_FLOOR] <= offset

    def look(self) -> tuple[int, int, int]:
        """Head, then floor (which may lie beyond that head already), then :attr:`resize_count`."""
        words = self._words
        return words[_HEAD], words[_FLOOR], words[_RESIZE_COUNT]

    @property
    def resize_count(self) -> int:
        """How many resizes there ever were: whether to ask for :meth:`resizes` again."""
        return self._words[_RESIZE_COUNT]

    def resizes(self) -> list[Resize]:
        """The resize records that are still there, oldest first."""
        words = self._words
        count = words[_RESIZE_COUNT]
        first = words[_RESIZE_FLOOR]
        _fence()
        found = []
        for index in range(first, count):
            at = _RESIZE_WORDS + 2 * (index % RESIZE_SLOTS)
            size = words[at + 1]
            found.append(Resize(words[at], size >> 32, size & 0xFFFFFFFF))
        _fence()
        return found[max(0, words[_RESIZE_FLOOR] - first) :]

    def size_at(self, offset: int) -> Resize | None:
        """The record that governs the byte at ``offset``; None if it is not there any more."""
        return _governing(self.resizes(), offset)

    def same_width_since(self, offset: int, cols: int | None = None) -> bool:
        """Whether all output from ``offset`` on was made for the width that what came before was made for.

        ``cols`` is the width of the screen that wants to go on from ``offset``, if it says; else it is
        taken to be the one that governed the byte before. False when the records do not reach back so far.
        """
        records = self.resizes()
        governing = _governing(records, offset)
        if governing is None:
            return False
        if cols is None:
            before = _governing(records, max(0, offset - 1))
            if before is None:
                return False
            cols = before.cols
        return governing.cols == cols and all(r.cols == cols for r in records if r.offset > offset)

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._ring.release()
        self._map.close()


def _governing(records: list[Resize], offset: int) -> Resize | None:
    governing = None
    for record in records:
        if record.offset > offset:
            break
        governing = record
    return governing
