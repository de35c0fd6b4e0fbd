/// A tokenizer whose tokens are single characters: the Unicode scalars of the texts it was made from.
///
/// IDs go by code point, from the smallest on; after them come a token for every other character, and one that ends a
/// text. Texts of known characters come back from their tokens exactly, to the byte.
public struct CharacterTokenizer: TextTokenizer, Equatable {
    /// The characters that have tokens, in the order of their IDs.
    public let characters: [Unicode.Scalar]
    /// The IDs of ASCII, which most texts mostly are.
    private let idOfASCII: [Int32]

    /// Creates a tokenizer of all characters that occur in the texts.
    ///
    /// - Parameter texts: Texts, of which at least one is not empty.
    /// - Throws: ``TokenizerError/emptyCorpus``.
    public init(texts: some Sequence<String>) throws(TokenizerError) {
        var seen = SeenCharacters()
        for text in texts {
            for scalar in text.unicodeScalars { seen.insert(scalar.value) }
        }
        try self.init(seen)
    }

    /// Creates a tokenizer of all characters that occur in texts given as UTF-8.
    ///
    /// - Parameter texts: Texts, of which at least one is not empty.
    /// - Throws: ``TokenizerError/emptyCorpus``, ``TokenizerError/invalidUTF8(offset:)``.
    public init(utf8 texts: some Sequence<MappedFile.Slice>) throws(TokenizerError) {
        var seen = SeenCharacters()
        for text in texts {
            try text.withUnsafeBytes { bytes throws(TokenizerError) in
                if let offset = bytes.offsetOfInvalidUTF8 { throw .invalidUTF8(offset: offset) }
                var offset = 0
                while offset < bytes.count {
                    let (value, length) = bytes.utf8Scalar(at: offset)
                    seen.insert(value)
                    offset += length
                }
            }
        }
        try self.init(seen)
    }

    private init(_ seen: SeenCharacters) throws(TokenizerError) {
        let characters = seen.ascending
        guard !characters.isEmpty else { throw .emptyCorpus }
        self.init(ascending: characters)
    }

    /// Creates a tokenizer of characters in ascending order, each of them once.
    init(ascending characters: [Unicode.Scalar]) {
        self.characters = characters
        var idOfASCII = [Int32](repeating: Int32(characters.count), count: 128)
        for (id, character) in characters.enumerated() where character.isASCII {
            idOfASCII[Int(character.value)] = Int32(id)
        }
        self.idOfASCII = idOfASCII
    }

    /// The number of characters, and two.
    public var vocabularySize: Int { characters.count + 2 }
    /// Always `nil`.
    public var beginningOfSequenceID: Int32? { nil }
    /// The token that ends a text, the last.
    public var endOfSequenceID: Int32? { Int32(characters.count + 1) }
    /// The token for characters that were not in the texts, the last but one.
    public var unknownID: Int32? { Int32(characters.count) }
    /// Always `false`.
    public var addsBeginningOfSequence: Bool { false }

    /// What tells this tokenizer from every other: its characters.
    public var fingerprint: Fingerprint {
        var fingerprint = Fingerprint(of: "characters".utf8)
        for character in characters { fingerprint.combine(Int(character.value)) }
        return fingerprint
    }

    /// How the token is written that ends a text; no text leads to it.
    public static let endOfText = BytePairTrainer.endOfText
    /// What the token for unknown characters stands for.
    public static let unknownText = "\u{FFFD}"

    // MARK: - Encoding and decoding

    /// Returns the tokens of a text given as UTF-8, one for each Unicode scalar.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Of no importance here: no text leads to the token that ends one.
    /// - Returns: The IDs, with ``unknownID`` for characters that were not in the texts.
    /// - Throws: ``TokenizerError/invalidUTF8(offset:)``.
    /// - Complexity: O(*n*) for ASCII; other characters are found by bisection.
    public func encode(utf8 bytes: [UInt8], recognizingSpecialTokens: Bool) throws(TokenizerError) -> [Int32] {
        let result = bytes.withUnsafeBytes { bytes -> Result<[Int32], TokenizerError> in
            if let offset = bytes.offsetOfInvalidUTF8 { return .failure(.invalidUTF8(offset: offset)) }
            var ids: [Int32] = []
            ids.reserveCapacity(bytes.count)
            var offset = 0
            while offset < bytes.count {
                let (value, length) = bytes.utf8Scalar(at: offset)
                ids.append(value < 128 ? idOfASCII[Int(value)] : id(of: value))
                offset += length
            }
            return .success(ids)
        }
        return try result.get()
    }

    /// Returns the tokens of a text given as UTF-8, each with the bytes of its character.
    ///
    /// - Throws: ``TokenizerError/invalidUTF8(offset:)``.
    public func spans(
        utf8 bytes: [UInt8], recognizingSpecialTokens: Bool
    ) throws(TokenizerError) -> [TokenSpan] {
        let ids = try encode(utf8: bytes, recognizingSpecialTokens: recognizingSpecialTokens)
        return bytes.withUnsafeBytes { bytes in
            var offset = 0
            return ids.map { id in
                let start = offset
                offset += bytes.utf8Scalar(at: start).length
                return TokenSpan(id: id, range: start..<offset)
            }
        }
    }

    private func id(of value: UInt32) -> Int32 {
        var (low, high) = (0, characters.count)
        while low < high {
            let middle = (low + high) / 2
            if characters[middle].value < value { low = middle + 1 } else { high = middle }
        }
        return Int32(low < characters.count && characters[low].value == value ? low : characters.count)
    }

    /// Returns the UTF-8 of the characters that tokens stand for.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave the end of a text out.
    ///   - isContinued: Of no importance here.
    /// - Returns: The bytes, with U+FFFD for ``unknownID``.
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool, continuing isContinued: Bool
    ) throws(TokenizerError) -> [UInt8] {
        var bytes: [UInt8] = []
        for id in ids {
            let isSkipped = try isControl(id) && skippingSpecialTokens
            if !isSkipped { bytes += try tokenText(id).utf8 }
        }
        return bytes
    }

    /// Returns the UTF-8 of the character that a token stands for.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func bytes(of id: Int32) throws(TokenizerError) -> [UInt8] {
        Array(try tokenText(id).utf8)
    }

    /// Returns the character that a token stands for; U+FFFD for ``unknownID``, `<|endoftext|>` for the end.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func tokenText(_ id: Int32) throws(TokenizerError) -> String {
        guard id >= 0, id < vocabularySize else {
            throw .tokenIDOutOfRange(id: Int(id), vocabularySize: vocabularySize)
        }
        if Int(id) < characters.count { return String(characters[Int(id)]) }
        return id == unknownID ? Self.unknownText : Self.endOfText
    }

    /// Returns whether a token is the end of a text.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func isControl(_ id: Int32) throws(TokenizerError) -> Bool {
        guard id >= 0, id < vocabularySize else {
            throw .tokenIDOutOfRange(id: Int(id), vocabularySize: vocabularySize)
        }
        return id == endOfSequenceID
    }
}

/// Which Unicode scalars have been seen: a bit for each.
private struct SeenCharacters {
    private var words = [UInt64](repeating: 0, count: 0x110000 / 64)

    mutating func insert(_ value: UInt32) {
        words[Int(value >> 6)] |= 1 << UInt64(value & 63)
    }

    var ascending: [Unicode.Scalar] {
        words.enumerated().flatMap { index, word in
            (0..<64).filter { word >> UInt64($0) & 1 == 1 }.compactMap { Unicode.Scalar(UInt32(index * 64 + $0)) }
        }
    }
}
