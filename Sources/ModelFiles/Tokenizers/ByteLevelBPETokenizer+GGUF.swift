extension ByteLevelBPETokenizer {
    /// Builds the tokenizer that a GGUF file describes under `tokenizer.ggml`.
    ///
    /// - Parameters:
    ///   - file: The model file.
    ///   - preTokenizer: How to cut texts, or `nil` for what `tokenizer.ggml.pre` says; a file without that key is
    ///     of a time when there was only GPT-2's way.
    /// - Throws: `TokenizerError` when the file lacks a tokenizer, has one of another kind, or contradicts itself.
    /// - Complexity: O(*n*) in the bytes of the vocabulary and the merges.
    public init(_ file: GGUFFile, preTokenizer: PreTokenizer? = nil) throws(TokenizerError) {
        let metadata = file.metadata
        let model = try Self.reading { () throws(GGUFError) in
            try metadata.string("tokenizer.ggml.model")
        }
        guard model == "gpt2" else { throw .unsupportedModel(model, supported: ["gpt2"]) }
        let preTokenizerName = try Self.reading { () throws(GGUFError) in
            try metadata.string("tokenizer.ggml.pre", default: "gpt-2")
        }
        guard let preTokenizer = preTokenizer ?? PreTokenizer(name: preTokenizerName) else {
            throw .unsupportedPreTokenizer(preTokenizerName, supported: PreTokenizer.supportedNames)
        }
        let vocabulary = try Self.vocabulary(metadata)
        self.init(
            vocabulary: vocabulary, merges: try Self.merges(metadata, vocabulary),
            preTokenizer: preTokenizer, roles: try Self.roles(metadata, vocabularySize: vocabulary.count))
    }

    private static func reading<Value>(
        _ body: () throws(GGUFError) -> Value
    ) throws(TokenizerError) -> Value {
        do {
            return try body()
        } catch {
            throw .file(error)
        }
    }

    private static func vocabulary(_ metadata: GGUFFile.Metadata) throws(TokenizerError) -> Vocabulary {
        let tokens = try reading { () throws(GGUFError) in try metadata.strings("tokenizer.ggml.tokens") }
        guard tokens.count > 0 else { throw .emptyVocabulary }
        let typesKey = "tokenizer.ggml.token_type"
        let types =
            metadata.contains(typesKey)
            ? try reading { () throws(GGUFError) in try metadata.integers(typesKey) } : nil
        if let types, types.count != tokens.count {
            throw .tokenTypeCountMismatch(types: types.count, tokens: tokens.count)
        }
        var vocabulary = Vocabulary(capacity: tokens.count)
        for id in 0..<tokens.count {
            let type = types?[id] ?? 1
            guard let kind = UInt8(exactly: type).flatMap(Vocabulary.Kind.init) else {
                throw .unknownTokenType(id: id, type: type)
            }
            try vocabulary.append(text: tokens[id], kind: kind)
        }
        return vocabulary
    }

    private static func merges(
        _ metadata: GGUFFile.Metadata, _ vocabulary: Vocabulary
    ) throws(TokenizerError) -> MergeTable {
        let lines = try reading { () throws(GGUFError) in try metadata.strings("tokenizer.ggml.merges") }
        var merges = MergeTable(capacity: lines.count)
        var bytes: [UInt8] = []
        for index in 0..<lines.count {
            let line = lines[index]
            // The byte alphabet has no space, so there is one only between the parts.
            guard let space = line.firstIndex(of: UInt8(ascii: " ")), line.offsetOfInvalidUTF8 == nil,
                space > 0, space + 1 < line.count
            else {
                throw .malformedMerge(index: index, text: lines.string(at: index))
            }
            bytes.removeAll(keepingCapacity: true)
            guard ByteAlphabet.decode(UnsafeRawBufferPointer(rebasing: line[..<space]), into: &bytes) else {
                throw .malformedMerge(index: index, text: lines.string(at: index))
            }
            let border = bytes.count
            guard ByteAlphabet.decode(UnsafeRawBufferPointer(rebasing: line[(space + 1)...]), into: &bytes)
            else {
                throw .malformedMerge(index: index, text: lines.string(at: index))
            }
            let (left, right, merged) = bytes.withUnsafeBytes { bytes in
                (
                    vocabulary.id(of: UnsafeRawBufferPointer(rebasing: bytes[..<border])),
                    vocabulary.id(of: UnsafeRawBufferPointer(rebasing: bytes[border...])),
                    vocabulary.id(of: bytes)
                )
            }
            guard left >= 0, right >= 0, merged >= 0 else {
                let missing = left < 0 ? bytes[..<border] : right < 0 ? bytes[border...] : bytes[...]
                throw .mergeNotInVocabulary(
                    index: index, text: lines.string(at: index), missing: ByteAlphabet.encode(missing))
            }
            merges.insert(left: left, right: right, MergeTable.Merge(rank: Int32(index), id: merged))
        }
        return merges
    }

    private static func roles(
        _ metadata: GGUFFile.Metadata, vocabularySize: Int
    ) throws(TokenizerError) -> Roles {
        func id(_ name: String) throws(TokenizerError) -> Int32? {
            let key = "tokenizer.ggml.\(name)_token_id"
            guard metadata.contains(key) else { return nil }
            let id = try reading { () throws(GGUFError) in try metadata.integer(key, as: Int64.self) }
            guard id >= 0, id < vocabularySize else {
                throw .specialTokenOutOfRange(key: key, id: id, vocabularySize: vocabularySize)
            }
            return Int32(id)
        }
        return Roles(
            beginningOfSequenceID: try id("bos"), endOfSequenceID: try id("eos"),
            unknownID: try id("unknown"), paddingID: try id("padding"),
            addsBeginningOfSequence: try reading { () throws(GGUFError) in
                try metadata.boolean("tokenizer.ggml.add_bos_token", default: false)
            })
    }
}
