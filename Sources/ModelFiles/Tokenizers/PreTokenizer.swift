/// How a text is cut into pieces, across whose borders no tokens merge.
public enum PreTokenizer: Sendable {
    /// GPT-2's pattern:
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    case gpt2
    /// Every numeric character (`\p{N}`) on its own, and GPT-2's pattern on each stretch between them.
    ///
    /// SmolLM and SmolLM2 were trained so, and llama.cpp follows. Transformers does not when it loads a GGUF file:
    /// it takes GPT-2's pattern for all of them, which gives other tokens where a number follows whitespace other
    /// than one space or line break (`\n\n1`), and around numbers outside ASCII (` ½`).
    case smollm

    /// The names that GGUF files give pre-tokenizers that are supported, in `tokenizer.ggml.pre`.
    public static let supportedNames = ["smollm", "gpt-2", "default"]

    /// Returns the pre-tokenizer that a GGUF file calls `name`, or `nil` when it is not supported.
    public init?(name: String) {
        switch name {
        case "smollm": self = .smollm
        case "gpt-2", "default": self = .gpt2
        default: return nil
        }
    }
}

/// Cuts valid UTF-8 into pieces, front to back; together they are the whole text.
///
/// Written by hand, not as a regular expression, so that each byte is looked at a bounded number of times.
/// Categories are those of the Unicode version of Swift's standard library.
struct PieceIterator {
    private enum Category {
        case letter
        case number
        case whitespace
        case other
        /// The end of the text; for ``PreTokenizer/smollm`` a number ends it as well.
        case end
    }

    private let text: UnsafeRawBufferPointer
    private let preTokenizer: PreTokenizer
    private var offset = 0

    init(_ text: UnsafeRawBufferPointer, _ preTokenizer: PreTokenizer) {
        self.text = text
        self.preTokenizer = preTokenizer
    }

    /// Returns the range of the next piece, or `nil` at the text's end.
    mutating func next() -> Range<Int>? {
        let start = offset
        guard start < text.count else { return nil }
        offset = endOfPiece(from: start)
        return start..<offset
    }

    private func endOfPiece(from start: Int) -> Int {
        let (first, length) = scalar(at: start)
        if first == .end { return start + length }  // A number on its own.
        if let end = endOfContraction(from: start) { return end }
        if text[start] == UInt8(ascii: " ") {
            let (second, secondLength) = scalar(at: start + 1)
            if second != .whitespace, second != .end {
                return endOfRun(of: second, from: start + 1 + secondLength)
            }
        }
        if first == .whitespace { return endOfWhitespace(from: start) }
        return endOfRun(of: first, from: start + length)
    }

    /// Matches `'s|'t|'re|'ve|'m|'ll|'d`.
    private func endOfContraction(from start: Int) -> Int? {
        guard text[start] == UInt8(ascii: "'"), start + 1 < text.count else { return nil }
        switch text[start + 1] {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case let first:
            guard start + 2 < text.count else { return nil }
            switch (first, text[start + 2]) {
            case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
                (UInt8(ascii: "l"), UInt8(ascii: "l")):
                return start + 3
            default: return nil
            }
        }
    }

    /// Matches the rest of `\p{L}+`, `\p{N}+` or `[^\s\p{L}\p{N}]+`.
    private func endOfRun(of category: Category, from start: Int) -> Int {
        var end = start
        while true {
            let (next, length) = scalar(at: end)
            if next != category { return end }
            end += length
        }
    }

    /// Matches `\s+(?!\S)|\s+`: all before the end, else all but the last, which may belong to what follows.
    private func endOfWhitespace(from start: Int) -> Int {
        var end = start
        var last = start
        while true {
            let (next, length) = scalar(at: end)
            if next == .end { return end }
            if next != .whitespace { return last > start ? last : end }
            last = end
            end += length
        }
    }

    /// The category of the scalar at `offset`, and its length in bytes.
    private func scalar(at offset: Int) -> (category: Category, length: Int) {
        guard offset < text.count else { return (.end, 0) }
        let first = text[offset]
        var category: Category
        var length = 1
        if first < 0x80 {
            switch first {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"):
                category = .letter
            case UInt8(ascii: "0")...UInt8(ascii: "9"): category = .number
            case 0x20, 0x09...0x0D: category = .whitespace
            default: category = .other
            }
        } else {
            let (value, scalarLength) = text.utf8Scalar(at: offset)
            category = Self.category(value)
            length = scalarLength
        }
        if category == .number, preTokenizer == .smollm { category = .end }
        return (category, length)
    }

    private static func category(_ value: UInt32) -> Category {
        guard let scalar = Unicode.Scalar(value) else { return .other }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return .letter
        case .decimalNumber, .letterNumber, .otherNumber:
            return .number
        case .spaceSeparator, .lineSeparator, .paragraphSeparator, .control:
            return scalar.properties.isWhitespace ? .whitespace : .other
        default:
            return .other
        }
    }
}
