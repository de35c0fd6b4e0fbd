/// Decodes tokens one at a time, and holds characters back until all of their bytes are there.
///
/// What it returns, put together, is what ``TextTokenizer/decode(_:skippingSpecialTokens:)`` returns for
/// all tokens at once.
public struct StreamingDecoder: Sendable {
    private let tokenizer: any TextTokenizer
    private let skippingSpecialTokens: Bool
    /// Whether a token has been decoded that was not skipped.
    private var isContinued = false
    /// The beginning of a character, at most 3 bytes.
    private var pending: [UInt8] = []

    /// Creates a decoder for one text.
    public init(_ tokenizer: any TextTokenizer, skippingSpecialTokens: Bool = false) {
        self.tokenizer = tokenizer
        self.skippingSpecialTokens = skippingSpecialTokens
    }

    /// Returns the text that the next token completes, which may be empty.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary; the decoder goes on as if it had not come.
    public mutating func append(_ id: Int32) throws(TokenizerError) -> String {
        pending += try tokenizer.decodeBytes(
            CollectionOfOne(id), skippingSpecialTokens: skippingSpecialTokens, continuing: isContinued)
        let isSkipped = try tokenizer.isControl(id) && skippingSpecialTokens
        if !isSkipped { isContinued = true }
        let wholeCount = pending.withUnsafeBytes(\.countWithoutIncompleteScalar)
        defer { pending.removeFirst(wholeCount) }
        return String(decoding: pending[..<wholeCount], as: UTF8.self)
    }

    /// Returns what was held back, as U+FFFD, and begins a new text.
    public mutating func finish() -> String {
        defer {
            pending.removeAll()
            isContinued = false
        }
        return String(decoding: pending, as: UTF8.self)
    }
}

extension UnsafeRawBufferPointer {
    /// The number of bytes before a scalar that the end cuts off, or all.
    fileprivate var countWithoutIncompleteScalar: Int {
        // Only the last three bytes can begin one.
        for start in Swift.max(0, count - 3)..<count where utf8Sequence(at: start) == .incomplete {
            return start
        }
        return count
    }
}
