"""Lines of a text file in whatever encoding it says that it has, or in the one that it must have."""

from __future__ import annotations

import codecs
import contextlib
import io
import unicodedata
from collections.abc import Generator, Iterator
from typing import Any

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.shards import SourceFile

from .opened import check_is_text, opened

_HEAD = 65_536
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Of the West, of the Macintosh, of DOS, of Central Europe; quotes and dashes lie elsewhere in each.
_ONE_BYTE = ("cp1252", "mac_roman", "cp850", "cp1250")
_INSIDE_WORDS = "\u2019\u2018\u2013\u2014\u00b7\u00ad\u00a0"
_ODD_AT_MOST = 0.2


class Lines:
    """The decoded lines of a file, line ends included.

    Args:
        file: what to read.
        encoding: the one that the user names; None finds it by the byte order mark, or takes UTF-8.

    Attributes:
        said: what the user should know of how the file was read.
    """

    def __init__(self, file: SourceFile, encoding: str | None = None) -> None:
        self.file, self.said = file, list[str]()
        if encoding is not None:
            try:
                encoding = codecs.lookup(encoding).name
            except LookupError:
                raise DataError(
                    f"file encoding '{encoding}' is not known; examples are utf-8, cp1252, utf-16, shift_jis"
                ) from None
        with opened(file) as stream:
            self.head: bytes = stream.read(_HEAD)
        check_is_text(file, self.head)
        self._encoding = encoding or self._found(self.head)

    def _found(self, head: bytes) -> str:
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        # ASCII letters in UTF-16 without a mark have every other byte zero.
        sample = head[:1024]
        if len(sample) >= 8 and sample.count(0) > len(sample) // 4:
            for name, zeros, others in (
                ("utf-16-le", sample[1::2], sample[::2]),
                ("utf-16-be", sample[::2], sample[1::2]),
            ):
                if zeros.count(0) > len(zeros) // 2 and not others.count(0):
                    self.said.append(f"{self.file.name}: read as {name}, though it has no byte order mark")
                    return name
        return "utf-8"

    @property
    def newline(self) -> str:
        """The old Macintosh's line end where the file knows no other."""
        text = self.head.replace(b"\0", b"")
        return "\r" if b"\r" in text and b"\n" not in text else "\n"

    @contextlib.contextmanager
    def open(self) -> Iterator[Iterator[str]]:
        """
        Raises:
            DataError: in the block, at a line that is not in the encoding or holds a NUL; the line is named.
        """
        with opened(self.file) as stream, contextlib.closing(self._lines(stream)) as lines:
            yield lines

    def _lines(self, stream: Any) -> Generator[str, None, None]:
        if self._encoding in ("utf-8", "utf-8-sig") and self.newline == "\n":
            lines = self._utf8(stream)
        else:
            lines = self._decoded(stream)
        for number, line in enumerate(lines, 1):
            if "\0" in line:
                raise DataError(
                    f"{self.file.name}: line {number} holds a NUL byte; the file is damaged or not text"
                )
            yield line

    def _utf8(self, stream: Any) -> Iterator[str]:
        for number, raw in enumerate(stream, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise self._undecodable(number, error) from error

    def _decoded(self, stream: Any) -> Iterator[str]:
        text = io.TextIOWrapper(stream, encoding=self._encoding, errors="strict", newline=self.newline)
        number = 0
        try:
            for line in text:
                number += 1
                yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeError as error:
            raise DataError(
                f"{self.file.name}: not {self._encoding} after line {number} ({error});"
                " it may have been cut off"
            ) from error
        finally:
            with contextlib.suppress(ValueError):  # closed already where the reader has stopped early
                text.detach()

    def _undecodable(self, number: int, error: UnicodeDecodeError) -> DataError:
        with opened(self.file) as stream:
            guess = likely_encoding(stream.read(2**20))
        mend = (
            f"give --file-encoding {guess} ([data] file_encoding in a run), or save it as UTF-8"
            if guess
            else "save it as UTF-8, or name its encoding with --file-encoding"
        )
        return DataError(
            f"{self.file.name}: line {number} is not UTF-8 (byte {error.object[error.start]:#04x} at position"
            f" {error.start}){f'; it looks like {guess}' if guess else ''}: {mend}"
        )


def likely_encoding(data: bytes) -> str | None:
    """What bytes that are not UTF-8 most likely are; None where nothing can be told.

    A few lone bytes above 127 among ASCII are a Western one-byte encoding: of those the one under which
    fewest of them come out where no letter or sign of that kind stands. Mostly such bytes are another script.
    """
    high = sum(byte > 127 for byte in data)
    if high > 0.3 * sum(byte > 32 for byte in data):
        for name in ("shift_jis", "gb18030", "big5", "euc_kr", "cp1251"):
            with contextlib.suppress(UnicodeDecodeError):
                text = data[: len(data) // 2 * 2].decode(name)
                if _one_script(text, name):
                    return name
        return None
    odd = {name: _odd(data.decode(name, errors="replace")) for name in _ONE_BYTE}
    best = min(odd, key=lambda name: odd[name])  # the first of equals
    return best if odd[best] <= _ODD_AT_MOST * high else None


def _odd(text: str) -> int:
    """Letters and signs above 127 in places where none of their kind stands: capitals behind small letters,
    signs between letters, what is no character.
    """
    count = 0
    for before, sign, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if sign < "\x80":
            continue
        if sign == "\ufffd" or unicodedata.category(sign) == "Cc":
            count += 1
        elif sign.isalpha():
            count += sign.isupper() and before.islower()
        else:
            count += before.isalpha() and after.isalpha() and sign not in _INSIDE_WORDS
    return count


_SCRIPTS = {
    "shift_jis": ((0x3040, 0x30FF),),  # kana: Chinese text has none
    "gb18030": ((0x4E00, 0x9FFF),),
    "big5": ((0x4E00, 0x9FFF),),
    "euc_kr": ((0xAC00, 0xD7A3),),
    "cp1251": ((0x0410, 0x044F),),
}


def _one_script(text: str, name: str) -> bool:
    letters = [ord(letter) for letter in text if ord(letter) > 127 and letter.isalpha()]
    inside = sum(any(low <= letter <= high for low, high in _SCRIPTS[name]) for letter in letters)
    return bool(letters) and inside > 0.5 * len(letters)
