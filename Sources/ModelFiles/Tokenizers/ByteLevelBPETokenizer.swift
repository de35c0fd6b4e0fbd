/// A byte-level byte-pair tokenizer, as GPT-2 introduced it and SmolLM2 uses it.
///
/// Encoding cuts the text into pieces (``PreTokenizer``), takes each byte for a token, and merges pairs of tokens
/// in the order that training has found (Sennrich et al., 2016, arXiv:1508.07909; Radford et al., 2019). Texts
/// are compared by their bytes: canonically equivalent texts have different tokens, as the model has seen them.
public struct ByteLevelBPETokenizer: Sendable {
    /// How texts are cut into pieces.
    public let preTokenizer: PreTokenizer
    /// The token that begins a text, if there is one.
    public let beginningOfSequenceID: Int32?
    /// The token that ends a text or a turn, if there is one.
    public let endOfSequenceID: Int32?
    /// The token for bytes that the vocabulary lacks, if there is one.
    public let unknownID: Int32?
    /// The token that fills batches up, if there is one.
    public let paddingID: Int32?
    /// Whether the model expects ``beginningOfSequenceID`` in front of a text; ``encode(_:recognizingSpecialTokens:)``
    /// leaves it to the caller.
    public let addsBeginningOfSequence: Bool

    let vocabulary: Vocabulary
    let merges: MergeTable
    private let specialTokens: SpecialTokens
    /// The token of each byte, or -1.
    private let idOfByte: [Int32]

    /// The longest text that is taken, in bytes: indices within a piece have 31 bits.
    public static let maximumTextByteCount = Int(Int32.max) - 1

    /// The tokens that have a part of their own.
    struct Roles {
        var beginningOfSequenceID: Int32?
        var endOfSequenceID: Int32?
        var unknownID: Int32?
        var paddingID: Int32?
        var addsBeginningOfSequence = false
    }

    init(vocabulary: Vocabulary, merges: MergeTable, preTokenizer: PreTokenizer, roles: Roles) {
        self.vocabulary = vocabulary
        self.merges = merges
        self.preTokenizer = preTokenizer
        specialTokens = SpecialTokens(vocabulary)
        idOfByte = (0...0xFF).map { (byte: UInt8) in
            withUnsafeBytes(of: byte) { vocabulary.id(of: $0) }
        }
        beginningOfSequenceID = roles.beginningOfSequenceID
        endOfSequenceID = roles.endOfSequenceID
        unknownID = roles.unknownID
        paddingID = roles.paddingID
        addsBeginningOfSequence = roles.addsBeginningOfSequence
    }

    /// The number of tokens; IDs are below it.
    public var vocabularySize: Int { vocabulary.count }

    // MARK: - Encoding

    /// Returns the tokens of a text given as UTF-8.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Whether control tokens such as `<|im_start|>` are recognised in the text.
    ///     Leave it off for text of users, who could otherwise speak in another's name. User-defined tokens, which
    ///     are plain words that training has kept whole, are always recognised.
    /// - Returns: The IDs, without ``beginningOfSequenceID``; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8 or too many, or have a byte that the vocabulary lacks and
    ///   there is no unknown token.
    /// - Complexity: O(*n* log *n*) in the bytes of the longest piece, linear in the text otherwise.
    public func encode(
        utf8 bytes: [UInt8], recognizingSpecialTokens: Bool
    ) throws(TokenizerError) -> [Int32] {
        var tokens = TokenModel.Tokens()
        try encode(bytes, recognizingSpecialTokens, into: &tokens)
        return tokens.ids
    }

    /// Returns the tokens of a text given as UTF-8, and which of its bytes each stands for.
    ///
    /// - Throws: `TokenizerError` as ``encode(utf8:recognizingSpecialTokens:)`` does.
    public func spans(
        utf8 bytes: [UInt8], recognizingSpecialTokens: Bool
    ) throws(TokenizerError) -> [TokenSpan] {
        var tokens = TokenModel.Tokens()
        tokens.tracksSpans = true
        try encode(bytes, recognizingSpecialTokens, into: &tokens)
        return zip(tokens.ids, tokens.spans).map { id, span in
            TokenSpan(id: id, range: Int(span.lowerBound)..<Int(span.upperBound))
        }
    }

    private func encode(
        _ bytes: [UInt8], _ recognizingSpecialTokens: Bool, into tokens: inout TokenModel.Tokens
    ) throws(TokenizerError) {
        guard bytes.count <= Self.maximumTextByteCount else {
            throw .textTooLong(byteCount: bytes.count, limit: Self.maximumTextByteCount)
        }
        let result = bytes.withUnsafeBytes { text in
            Result { () throws(TokenizerError) in
                if let offset = text.offsetOfInvalidUTF8 { throw .invalidUTF8(offset: offset) }
                var merger = BytePairMerger()
                var start = 0
                while true {
                    let special = specialTokens.first(
                        in: text, from: start, vocabulary, includingControl: recognizingSpecialTokens)
                    let end = special?.range.lowerBound ?? text.count
                    try encodePlain(text, start..<end, &merger, into: &tokens)
                    guard let special else { return }
                    tokens.append(special.id, special.range.lowerBound, special.range.upperBound)
                    start = special.range.upperBound
                }
            }
        }
        try result.get()
    }

    /// Encodes a stretch without special tokens.
    private func encodePlain(
        _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ merger: inout BytePairMerger,
        into tokens: inout TokenModel.Tokens
    ) throws(TokenizerError) {
        var pieces = PieceIterator(UnsafeRawBufferPointer(rebasing: text[range]), preTokenizer.pattern)
        while let piece = pieces.next() {
            merger.removeAll()
            for offset in range.lowerBound + piece.lowerBound..<range.lowerBound + piece.upperBound {
                let id = idOfByte[Int(text[offset])]
                if id >= 0 {
                    merger.append(id, offset..<offset + 1)
                } else if let unknownID {
                    // A run of unknown bytes is one unknown token, as in the reference implementation.
                    if merger.last == unknownID {
                        merger.extendLast(to: offset + 1)
                    } else {
                        merger.append(unknownID, offset..<offset + 1)
                    }
                } else {
                    throw .byteWithoutToken(byte: text[offset], offset: offset)
                }
            }
            merger.merge(by: merges) { tokens.append($0, $1.lowerBound, $1.upperBound) }
        }
    }

    // MARK: - Decoding

    /// Returns the bytes that tokens stand for, which need not be UTF-8, and are the same everywhere in a text.
    ///
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    public func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool, continuing isContinued: Bool
    ) throws(TokenizerError) -> [UInt8] {
        var bytes: [UInt8] = []
        for id in ids {
            let index = try index(id)
            if skippingSpecialTokens, vocabulary.kinds[index] == .control { continue }
            bytes.append(contentsOf: vocabulary.tokenBytes(index))
        }
        return bytes
    }

    /// Returns the bytes that a token stands for.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    public func bytes(of id: Int32) throws(TokenizerError) -> [UInt8] {
        Array(vocabulary.tokenBytes(try index(id)))
    }

    /// Returns a token as the vocabulary writes it, a space as `Ġ`.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    public func tokenText(_ id: Int32) throws(TokenizerError) -> String {
        vocabulary.text(of: try index(id))
    }

    // MARK: - Tokens

    /// Returns whether a token steers the model and is no text, such as `<|im_end|>`.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    public func isControl(_ id: Int32) throws(TokenizerError) -> Bool {
        vocabulary.kinds[try index(id)] == .control
    }

    /// Returns the control or user-defined token with exactly this text, or `nil`.
    public func specialTokenID(_ text: String) -> Int32? {
        Array(text.utf8).withUnsafeBytes { specialTokens.id(of: $0, vocabulary) }
    }

    private func index(_ id: Int32) throws(TokenizerError) -> Int {
        guard id >= 0, id < vocabulary.count else {
            throw .tokenIDOutOfRange(id: Int(id), vocabularySize: vocabulary.count)
        }
        return Int(id)
    }
}
