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

    /// The tokens around a text that the model expects, such as `[CLS]` and `[SEP]`.
    var template: TokenTemplate { get }

    /// Returns the tokens of a text given as UTF-8.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Whether special tokens such as `<|im_start|>` are recognised in the text. Leave it
    ///     off for text of users, who could otherwise speak in another's name.
    /// - Returns: The IDs, without those of ``template``; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    func encode(utf8 bytes: [UInt8], recognizingSpecialTokens: Bool) throws(TokenizerError) -> [Int32]

    /// Returns the tokens of a text given as UTF-8, and which of its bytes each was made from.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Whether special tokens are recognised in the text.
    /// - Returns: The tokens of ``encode(utf8:recognizingSpecialTokens:)``.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    func spans(utf8 bytes: [UInt8], recognizingSpecialTokens: Bool) throws(TokenizerError) -> [TokenSpan]

    /// Returns the bytes that tokens stand for.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave control tokens out.
    ///   - isContinued: Whether other tokens come before these: a word may then begin with a space that it has not at
    ///     the beginning of a text.
    /// - Returns: The bytes, which need not be UTF-8.
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool, continuing isContinued: Bool
    ) throws(TokenizerError) -> [UInt8]

    /// Returns the bytes that a token stands for where it begins a text.
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

/// The tokens around a text.
public struct TokenTemplate: Equatable, Sendable {
    /// The tokens before the text.
    public var prefix: [Int32]
    /// The tokens behind the text.
    public var suffix: [Int32]

    /// Creates a template.
    public init(prefix: [Int32] = [], suffix: [Int32] = []) {
        self.prefix = prefix
        self.suffix = suffix
    }
}

/// A token, and the part of a text that it was made from.
public struct TokenSpan: Equatable, Sendable {
    /// The token's ID.
    public let id: Int32
    /// Bytes of the text's UTF-8, whitespace that the token stands for included.
    ///
    /// Several tokens may have one range: those of one character that normalisation has made more of.
    public let range: Range<Int>

    /// Creates a span.
    public init(id: Int32, range: Range<Int>) {
        self.id = id
        self.range = range
    }
}

extension TextTokenizer {
    /// The tokens around a text: ``beginningOfSequenceID``, where the model expects it.
    public var template: TokenTemplate {
        TokenTemplate(prefix: addsBeginningOfSequence ? [beginningOfSequenceID].compactMap { $0 } : [])
    }

    /// Returns the tokens of a text given as UTF-8, special tokens in it being plain text.
    ///
    /// - Parameter bytes: The text.
    /// - Returns: The IDs, without those of ``template``; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    public func encode(utf8 bytes: [UInt8]) throws(TokenizerError) -> [Int32] {
        try encode(utf8: bytes, recognizingSpecialTokens: false)
    }

    /// Returns the tokens of a text.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - recognizingSpecialTokens: Whether special tokens are recognised in the text.
    ///   - addingSpecialTokens: Whether those of ``template`` are put around it.
    /// - Returns: The IDs.
    /// - Throws: `TokenizerError` when the text is too long or cannot be encoded.
    public func encode(
        _ text: String, recognizingSpecialTokens: Bool = false, addingSpecialTokens: Bool = false
    ) throws(TokenizerError) -> [Int32] {
        let ids = try encode(utf8: Array(text.utf8), recognizingSpecialTokens: recognizingSpecialTokens)
        return addingSpecialTokens ? template.prefix + ids + template.suffix : ids
    }

    /// Returns the tokens of a text, and which bytes of its UTF-8 each was made from.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - recognizingSpecialTokens: Whether special tokens are recognised in the text.
    /// - Returns: The tokens, without those of ``template``.
    /// - Throws: `TokenizerError` when the text is too long or cannot be encoded.
    public func spans(
        of text: String, recognizingSpecialTokens: Bool = false
    ) throws(TokenizerError) -> [TokenSpan] {
        try spans(utf8: Array(text.utf8), recognizingSpecialTokens: recognizingSpecialTokens)
    }

    /// Returns the bytes that all tokens of a text stand for.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave control tokens out.
    /// - Returns: The bytes, which need not be UTF-8.
    /// - Throws: `TokenizerError` when an ID is not in the vocabulary.
    public func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = false
    ) throws(TokenizerError) -> [UInt8] {
        try decodeBytes(ids, skippingSpecialTokens: skippingSpecialTokens, continuing: false)
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
