/// What a character counts as in tokenizers, by the tables of the Python package `tokenizers`.
///
/// Not Unicode's newest word, which Swift's own properties have: models have been trained with these.
struct CharacterClasses: OptionSet, Sendable {
    let rawValue: UInt16

    /// `\p{L}` of regular expressions.
    static let letter = Self(rawValue: 1 << 0)
    /// `\p{N}` of regular expressions.
    static let number = Self(rawValue: 1 << 1)
    /// Numeric for the pre-tokenizer `Digits`.
    static let digit = Self(rawValue: 1 << 2)
    /// Whitespace everywhere.
    static let whitespace = Self(rawValue: 1 << 3)
    /// Punctuation for BERT and the pre-tokenizer `Punctuation`.
    static let punctuation = Self(rawValue: 1 << 4)
    /// What BERT removes as control characters, U+FFFD among them.
    static let control = Self(rawValue: 1 << 5)
    /// Marks that BERT strips.
    static let nonspacingMark = Self(rawValue: 1 << 6)
    /// Marks that the normalizer `StripAccents` strips.
    static let mark = Self(rawValue: 1 << 7)
    /// Ideographs that BERT puts spaces around.
    static let ideograph = Self(rawValue: 1 << 8)
    /// `\w` of regular expressions.
    static let word = Self(rawValue: 1 << 9)

    /// The classes of every character.
    static let table: ScalarTable<UInt16> = {
        var all = [UInt16](repeating: 0, count: 0x110000)
        for (text, character) in [
            (UnicodeTables.letters, Self.letter), (UnicodeTables.numbers, .number), (UnicodeTables.digits, .digit),
            (UnicodeTables.whitespace, .whitespace), (UnicodeTables.punctuation, .punctuation),
            (UnicodeTables.control, .control), (UnicodeTables.nonspacingMarks, .nonspacingMark),
            (UnicodeTables.marks, .mark), (UnicodeTables.ideographs, .ideograph),
            (UnicodeTables.wordCharacters, .word),
        ] {
            TableReader.forEachRange(text) { range in
                for index in range { all[index] |= character.rawValue }
            }
        }
        return ScalarTable(all)
    }()

    /// The classes of ASCII, which most texts mostly are.
    static let ascii: [UInt16] = (0..<128).map { table[$0] }

    /// The classes of a scalar.
    @inline(__always)
    static func of(_ scalar: UInt32) -> Self {
        Self(rawValue: table[scalar])
    }
}

/// Lower case by the tables of the Python package `tokenizers`, character by character.
enum LowerCase {
    /// For each scalar 0 where it stays, or the scalar that it becomes, with one that follows it in the upper 11 bits.
    static let table: ScalarTable<UInt32> = {
        var all = [UInt32](repeating: 0, count: 0x110000)
        TableReader.forEachMapping(UnicodeTables.lowercase) { character, becomes in
            // Only İ becomes two, i and U+0307.
            guard let first = becomes.first else { return }
            all[character] = first | (becomes.count > 1 ? becomes[1] << 21 : 0)
        }
        return ScalarTable(all)
    }()
}
