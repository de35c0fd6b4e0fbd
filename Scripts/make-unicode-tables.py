#!/usr/bin/env python3
"""Writes Sources/ModelFiles/Text/UnicodeTables.swift: what the Python package tokenizers takes characters for.

usage: Scripts/make-unicode-tables.py > Sources/ModelFiles/Text/UnicodeTables.swift

That package takes each property from another library, each of which follows another version of Unicode, and a model has
been trained with what they say. So the tables come from asking it about every character. Needs the package tokenizers;
Scripts/check-tokenizers says whether the tables still hold.
"""
import unicodedata
import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def changed(normalizer):
    """The characters that a normalizer changes, and what it makes of them."""
    results = {}
    for character in CHARACTERS:
        result = normalizer.normalize_str("a" + character + "a")[1:-1]
        if result != character:
            results[character] = result
    return results


def bert(**options):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return changed(normalizers.BertNormalizer(**{**off, **options}))


def matching(pattern):
    pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str("".join(CHARACTERS))
    return {character for piece, _ in pieces for character in piece}


def isolated(pre_tokenizer):
    pieces = pre_tokenizer.pre_tokenize_str("".join("a" + character for character in CHARACTERS))
    found = {piece for piece, _ in pieces if len(piece) == 1 and piece != "a"}
    return found


def removed(changes):
    return {character for character, result in changes.items() if result == ""}


def words():
    pieces = pre_tokenizers.Whitespace().pre_tokenize_str("".join("a" + character + "!" for character in CHARACTERS))
    return {piece[1] for piece, _ in pieces if piece[0] == "a" and len(piece) == 2}


def ranges(characters):
    """Gaps and lengths in turn, in hexadecimal."""
    numbers, end = [], 0
    for code in sorted(map(ord, characters)):
        # The surrogates, which no text holds, may belong to any range.
        if numbers and (code == end or (end == 0xD800 and code == 0xE000)):
            numbers[-1] += code + 1 - end
        else:
            numbers += [code - end, 1]
        end = code + 1
    return " ".join(format(number, "x") for number in numbers)


def mapping(results):
    """For each character the gap since the last, and what it becomes."""
    entries, end = [], 0
    for character in sorted(results):
        becomes = ".".join(format(ord(part), "x") for part in results[character])
        entries.append(f"{ord(character) - end:x}:{becomes}")
        end = ord(character) + 1
    return " ".join(entries)


def declaration(comment, name, text):
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > 110:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    body = "\n".join("        " + line for line in lines)
    return f'    /// {comment}\n    static let {name}: StaticString = """\n{body}\n        """\n'


clean = bert(clean_text=True)
control = removed(clean)
# Both NUL and U+FFFD are dropped beside the control characters; tab and line breaks count as spaces.
marks = removed(bert(strip_accents=True))
lowercase = changed(normalizers.Lowercase())
is_hangul = {chr(code) for code in range(0xAC00, 0xD7A4)}
canonical = {c: r for c, r in changed(normalizers.NFD()).items() if c not in is_hangul}
compatibility = {
    c: r for c, r in changed(normalizers.NFKD()).items() if c not in is_hangul and canonical.get(c) != r
}

# Python's combining classes, of the characters that are reordered there at all.
classes = {}
for character in CHARACTERS:
    combining = unicodedata.combining(character)
    if combining == 240 or (
        combining > 0 and normalizers.NFD().normalize_str("a\u0345" + character) != "a\u0345" + character
    ):
        classes.setdefault(combining, set()).add(character)
combining_classes = " ".join(
    f"{combining:x} {len(ranges(found).split(' ')) // 2:x} {ranges(found)}" for combining, found in sorted(classes.items())
)

compositions = []
for character, result in sorted(canonical.items()):
    if len(result) < 2 or normalizers.NFC().normalize_str(character) != character:
        continue
    first = normalizers.NFC().normalize_str(result[:-1])
    if len(first) == 1 and normalizers.NFC().normalize_str(first + result[-1]) == character:
        compositions.append(f"{ord(first):x}.{ord(result[-1]):x}.{ord(character):x}")

print(
    f"""/// What the Python package `tokenizers` {tokenizers.__version__} takes characters for.
///
/// Written by `Scripts/make-unicode-tables.py`, not to be edited. That package takes each property from another
/// library, and these follow versions of Unicode from 8 to 17; models were trained with what they say. Numbers are
/// hexadecimal. A set of characters is the lengths of gaps and of runs in turn; a mapping is, for each character, how far
/// it is behind the one before, and what it becomes.
enum UnicodeTables {{"""
)
sets = [
    ("`\\p{L}` of its regular expressions.", "letters", matching(r"\p{L}")),
    ("`\\p{N}` of its regular expressions.", "numbers", matching(r"\p{N}")),
    ("What `Digits` isolates.", "digits", isolated(pre_tokenizers.Digits(individual_digits=True))),
    ("Whitespace, for `\\s` as well.", "whitespace", matching(r"\s")),
    ("What `Punctuation` and `BertPreTokenizer` isolate.", "punctuation", isolated(pre_tokenizers.Punctuation())),
    ("What `BertNormalizer` removes as control characters.", "control", control),
    ("Nonspacing marks as `BertNormalizer` knows them.", "nonspacingMarks", marks),
    ("Marks as `StripAccents` knows them.", "marks", removed(changed(normalizers.StripAccents()))),
    ("What `BertNormalizer` puts spaces around.", "ideographs", set(bert(handle_chinese_chars=True))),
    ("`\\w` of the pre-tokenizer `Whitespace` and of the borders of added tokens.", "wordCharacters", words()),
]
parts = [declaration(comment, name, ranges(found)) for comment, name, found in sets]
parts.append(declaration("Lower case.", "lowercase", mapping(lowercase)))
parts.append(declaration("Full canonical decompositions, Hangul aside.", "canonical", mapping(canonical)))
parts.append(declaration("Full compatibility decompositions where they differ.", "compatibility", mapping(compatibility)))
parts.append(
    declaration(
        "Canonical combining classes: each class, its number of ranges, and these.", "combiningClasses", combining_classes
    )
)
parts.append(declaration("Primary composites, as first, second and composite.", "compositions", " ".join(compositions)))
print("\n".join(parts) + "}")
