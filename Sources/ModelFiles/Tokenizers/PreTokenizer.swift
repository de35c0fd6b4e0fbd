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

extension PreTokenizer {
    var pattern: PiecePattern {
        switch self {
        case .gpt2: .gpt2
        case .smollm: .smollm
        }
    }
}

/// The patterns that byte-level vocabularies cut texts by.
enum PiecePattern: Sendable, Hashable {
    /// GPT-2's; see ``PreTokenizer/gpt2``.
    case gpt2
    /// GPT-2's between numeric characters, each of which is a piece; see ``PreTokenizer/smollm``.
    case smollm
    /// GPT-4's, with so many digits in a piece at most: 3 for Llama 3, 1 for Qwen2.
    ///
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    case gpt4(digits: Int)
}

/// Cuts valid UTF-8 into pieces, front to back; together they are the whole text.
///
/// Written by hand, not as a regular expression, so that each byte is looked at a bounded number of times.
struct PieceIterator {
    private enum Category: UInt8 {
        case letter
        case number
        case whitespace
        case other
        /// The end of the text; for ``PiecePattern/smollm`` a number ends it as well.
        case end
    }

    private let text: UnsafeRawBufferPointer
    private let numbersEndText: Bool
    /// The most digits in a piece of GPT-4's pattern, or 0 for GPT-2's.
    private let digits: Int
    private var offset = 0

    init(_ text: UnsafeRawBufferPointer, _ pattern: PiecePattern) {
        self.text = text
        numbersEndText = pattern == .smollm
        if case .gpt4(let digits) = pattern { self.digits = digits } else { digits = 0 }
    }

    /// Returns the range of the next piece, or `nil` at the text's end.
    @inline(__always)
    mutating func next() -> Range<Int>? {
        let start = offset
        guard start < text.count else { return nil }
        offset = digits > 0 ? endOfGPT4Piece(from: start) : endOfGPT2Piece(from: start)
        return start..<offset
    }

    private func endOfGPT2Piece(from start: Int) -> Int {
        let (first, length) = scalar(at: start)
        if first == .end { return start + length }  // A number on its own.
        if text[start] == UInt8(ascii: "'"), let end = endOfContraction(from: start) { return end }
        if text[start] == UInt8(ascii: " ") {
            let (second, secondLength) = scalar(at: start + 1)
            if second != .whitespace, second != .end {
                return endOfRun(of: second, from: start + 1 + secondLength)
            }
        }
        if first == .whitespace { return endOfWhitespace(from: start, cuttingBehindBreaks: false) }
        return endOfRun(of: first, from: start + length)
    }

    private func endOfGPT4Piece(from start: Int) -> Int {
        let (first, length) = scalar(at: start)
        if text[start] == UInt8(ascii: "'"), let end = endOfContraction(from: start) { return end }
        if first == .letter { return endOfRun(of: .letter, from: start + length) }
        if first == .number {
            var end = start + length
            for _ in 1..<digits {
                let (next, nextLength) = scalar(at: end)
                if next != .number { break }
                end += nextLength
            }
            return end
        }
        let (second, secondLength) = scalar(at: start + length)
        if second == .letter, !isLineBreak(at: start) {
            return endOfRun(of: .letter, from: start + length + secondLength)
        }
        let isBeforeOther = text[start] == UInt8(ascii: " ") && second == .other
        if first == .other || isBeforeOther {
            var end = endOfRun(of: .other, from: start + length)
            while end < text.count, isLineBreak(at: end) { end += 1 }
            return end
        }
        return endOfWhitespace(from: start, cuttingBehindBreaks: true)
    }

    private func isLineBreak(at offset: Int) -> Bool {
        text[offset] == 0x0A || text[offset] == 0x0D
    }

    /// Matches `'s|'t|'re|'ve|'m|'ll|'d`, in GPT-4's pattern without regard to case.
    private func endOfContraction(from start: Int) -> Int? {
        guard start + 1 < text.count else { return nil }
        let caseBit: UInt8 = digits > 0 ? 0x20 : 0
        switch text[start + 1] | caseBit {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case let first:
            guard start + 2 < text.count else { return nil }
            switch (first, text[start + 2] | caseBit) {
            case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
                (UInt8(ascii: "l"), UInt8(ascii: "l")):
                return start + 3
            default:
                // ſ is an s without regard to case.
                let isLongS = digits > 0 && text[start + 1] == 0xC5 && text[start + 2] == 0xBF
                return isLongS ? start + 3 : nil
            }
        }
    }

    /// Matches the rest of `\p{L}+`, `\p{N}+` or `[^\s\p{L}\p{N}]+`.
    @inline(__always)
    private func endOfRun(of category: Category, from start: Int) -> Int {
        var end = start
        while true {
            let (next, length) = scalar(at: end)
            if next != category { return end }
            end += length
        }
    }

    /// Matches `\s+(?!\S)|\s+`: all before the end, else all but the last, which may belong to what follows.
    ///
    /// GPT-4's pattern has `\s*[\r\n]+` before it: all up to the last line break, if there is one.
    private func endOfWhitespace(from start: Int, cuttingBehindBreaks: Bool) -> Int {
        var end = start
        var last = start
        var breakEnd = start
        while true {
            let (next, length) = scalar(at: end)
            if next != .whitespace {
                if breakEnd > start { return breakEnd }
                if next == .end { return end }
                return last > start ? last : end
            }
            if cuttingBehindBreaks, isLineBreak(at: end) { breakEnd = end + 1 }
            last = end
            end += length
        }
    }

    /// The category of the scalar at `offset`, and its length in bytes.
    @inline(__always)
    private func scalar(at offset: Int) -> (category: Category, length: Int) {
        guard offset < text.count else { return (.end, 0) }
        let first = text[offset]
        if first < 0x80 {
            let category = Self.ascii[Int(first)]
            return (category == .number && numbersEndText ? .end : category, 1)
        }
        let (value, length) = text.utf8Scalar(at: offset)
        let category = Self.category(value)
        return (category == .number && numbersEndText ? .end : category, length)
    }

    private static let ascii: [Category] = (0..<128).map { category($0) }

    private static func category(_ value: UInt32) -> Category {
        let classes = CharacterClasses.of(value)
        if classes.contains(.letter) { return .letter }
        if classes.contains(.number) { return .number }
        return classes.contains(.whitespace) ? .whitespace : .other
    }
}
