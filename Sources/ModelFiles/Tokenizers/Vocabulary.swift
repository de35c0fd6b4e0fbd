/// The tokens of a byte-level vocabulary, found by ID or by their bytes.
struct Vocabulary: Sendable {
    /// What a token is for; the raw values are those of GGUF's `token_type`.
    enum Kind: UInt8 {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    private var texts: ByteStrings
    private(set) var kinds: [Kind] = []
    /// Whether each token's text is in the byte alphabet, and not to be taken literally.
    private(set) var isByteLevel: [Bool] = []

    /// Creates an empty vocabulary with room for `capacity` tokens.
    init(capacity: Int) {
        texts = ByteStrings(capacity: capacity)
        kinds.reserveCapacity(capacity)
        isByteLevel.reserveCapacity(capacity)
    }

    var count: Int { kinds.count }

    /// Appends a token, whose ID is the count before.
    ///
    /// At most `capacity` tokens may be appended.
    ///
    /// A normal token whose text is outside the byte alphabet stands for its text, as in the reference
    /// implementation; since no merge can make it, only decoding meets it.
    mutating func append(text: UnsafeRawBufferPointer, kind: Kind) throws(TokenizerError) {
        let id = count
        guard text.offsetOfInvalidUTF8 == nil else { throw .tokenNotUTF8(id: id) }
        let isSpecial = kind == .control || kind == .userDefined || kind == .unknown
        let isDecoded = texts.append { bytes in
            if !isSpecial && ByteAlphabet.decode(text, into: &bytes) { return true }
            bytes.append(contentsOf: text)
            return false
        }
        kinds.append(kind)
        isByteLevel.append(isDecoded)
        // Some files pad their vocabulary with tokens without text; no text leads to them.
        guard isDecoded, !tokenBytes(id).isEmpty else { return }
        let former = texts.indexLast()
        if former >= 0 {
            throw .duplicateToken(text: self.text(of: id), firstID: Int(former), secondID: id)
        }
    }

    /// Returns the ID of the byte-level token with these bytes, or -1.
    func id(of bytes: UnsafeRawBufferPointer) -> Int32 {
        texts.number(of: bytes)
    }

    /// The bytes that a token stands for.
    func tokenBytes(_ id: Int) -> ArraySlice<UInt8> {
        texts[id]
    }

    /// How the file writes a token.
    func text(of id: Int) -> String {
        isByteLevel[id]
            ? ByteAlphabet.encode(tokenBytes(id)) : String(decoding: tokenBytes(id), as: UTF8.self)
    }
}
