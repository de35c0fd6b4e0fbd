/// What turns text into token IDs and back.
///
/// A token stands for bytes, which need not be whole characters; texts are compared by their bytes. A tokenizer is
/// written to a `tokenizer.json` by ``TokenizerFile``.
public protocol TextTokenizer: Sendable {
    /// The number of tokens; IDs are below it.
    var vocabularySize: Int { get }
    /// The token that begins a text, if there is one.
    var beginningOfSequenceID: Int32? { get }
    /// The token that ends a text, if there is one.
    var endOfSequenceID: Int32? { get }
    /// The token for what the vocabulary lacks, if there is one.
    var unknownID: Int32? { get }
    /// Whether the model expects ``beginningOfSequenceID`` in front of a text; encoding leaves it to the caller.
    var addsBeginningOfSequence: Bool { get }
    /// What tells this tokenizer from every other: two of one fingerprint encode and decode alike.
    ///
    /// The same in every process, and after writing and reading.
    var fingerprint: Fingerprint { get }

    /// Returns the tokens of a text given as UTF-8, special tokens in it being plain text.
    ///
    /// - Parameter bytes: The text.
    /// - Returns: The IDs, without any that begins or ends the text; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    func encode(utf8 bytes: [UInt8]) throws(TokenizerError) -> [Int32]

    /// Returns the bytes that tokens stand for.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave control tokens out.
    /// - Returns: The bytes, which need not be UTF-8.
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool
    ) throws(TokenizerError) -> [UInt8]

    /// Returns the bytes that a token stands for.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    func bytes(of id: Int32) throws(TokenizerError) -> [UInt8]

    /// Returns a token as the vocabulary writes it.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    func tokenText(_ id: Int32) throws(TokenizerError) -> String

    /// Returns whether a token steers the model and is no text.
    ///
    /// - Throws: `TokenizerError` when the ID is not in the vocabulary.
    func isControl(_ id: Int32) throws(TokenizerError) -> Bool

    /// Returns what a `tokenizer.json` holds that describes this tokenizer.
    ///
    /// - Throws: `TokenizerError` when the format has no place for something of it.
    func json() throws(TokenizerError) -> JSONValue
}

extension TextTokenizer {
    /// Returns the tokens of a text, special tokens in it being plain text.
    ///
    /// - Parameter text: The text.
    /// - Returns: The IDs, without any that begins or ends the text; none for an empty text.
    /// - Throws: `TokenizerError` when the text is too long or cannot be encoded.
    public func encode(_ text: String) throws(TokenizerError) -> [Int32] {
        try encode(utf8: Array(text.utf8))
    }

    /// Returns the bytes that tokens stand for, those of control tokens included.
    ///
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    public func decodeBytes(_ ids: some Sequence<Int32>) throws(TokenizerError) -> [UInt8] {
        try decodeBytes(ids, skippingSpecialTokens: false)
    }

    /// Returns the text that tokens stand for.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave control tokens out.
    /// - Returns: The text, with U+FFFD for each maximal part of a character that is not whole.
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    public func decode(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = false
    ) throws(TokenizerError) -> String {
        String(decoding: try decodeBytes(ids, skippingSpecialTokens: skippingSpecialTokens), as: UTF8.self)
    }
}

extension ByteLevelBPETokenizer: TextTokenizer {
    /// Returns the tokens of a text given as UTF-8, control tokens in it being plain text.
    ///
    /// - Parameter bytes: The text.
    /// - Returns: The IDs, without ``beginningOfSequenceID``; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    public func encode(utf8 bytes: [UInt8]) throws(TokenizerError) -> [Int32] {
        try encode(utf8: bytes, recognizingSpecialTokens: false)
    }

    /// What tells this tokenizer from every other: its tokens, their kinds, its merges in order, how it cuts texts,
    /// and which tokens have a part of their own.
    public var fingerprint: Fingerprint {
        var fingerprint = Fingerprint(of: "byte-level BPE".utf8)
        fingerprint.combine(preTokenizer == .smollm ? 1 : 0)
        fingerprint.combine(vocabularySize)
        for id in 0..<vocabularySize {
            let bytes = vocabulary.tokenBytes(id)
            fingerprint.combine(Int(vocabulary.kinds[id].rawValue) << 1 | (vocabulary.isByteLevel[id] ? 1 : 0))
            fingerprint.combine(bytes.count)
            bytes.withUnsafeBytes { fingerprint.combine(bytes: $0) }
        }
        for merge in merges.inOrder {
            fingerprint.combine(Int(merge.left))
            fingerprint.combine(Int(merge.right))
        }
        for id in [beginningOfSequenceID, endOfSequenceID, unknownID, paddingID] {
            fingerprint.combine(id.map(Int.init) ?? -1)
        }
        fingerprint.combine(addsBeginningOfSequence ? 1 : 0)
        return fingerprint
    }
}
