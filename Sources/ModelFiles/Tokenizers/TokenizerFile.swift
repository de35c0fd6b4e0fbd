/// Tokenizers in files named `tokenizer.json`.
///
/// Reads those of the Python package `tokenizers`. A byte-level BPE tokenizer that was trained here is written in the same
/// layout, so that that package loads the file and gives the same IDs. A tokenizer of characters has a `model` of the
/// type `Characters`, which is our own. Nothing in a file is trusted; what it asks for and is not implemented is
/// refused by name, never ignored, since the IDs would be others.
public enum TokenizerFile {
    /// The most bytes that are read; the largest vocabularies in use take some 40 MB.
    public static let maximumByteCount = 1 << 28

    /// Reads a tokenizer.
    ///
    /// - Parameter path: A `tokenizer.json`, a `vocab.txt` of BERT, or a folder that holds one of them. Of a folder a
    ///   `tokenizer_config.json` is read as well: it says which tokens begin and end texts and fill batches up, and how
    ///   BERT's texts are normalised.
    /// - Returns: A ``ByteLevelBPETokenizer`` or a ``CharacterTokenizer`` where it was written by ``write(_:to:)``, and a
    ///   ``PipelineTokenizer`` otherwise.
    /// - Throws: ``TokenizerFileError`` when a file cannot be read, is damaged, or asks for what is not implemented.
    public static func read(_ path: String) throws(TokenizerFileError) -> any TextTokenizer {
        guard try kind(of: path) == .folder else {
            let file = try open(path)
            return path.utf8.suffix(4).elementsEqual(".txt".utf8)
                ? try BERTVocabulary.tokenizer(file, configuration: nil) : try read(file)
        }
        let configurationPath = "\(path)/tokenizer_config.json"
        let configuration =
            try kind(of: configurationPath) == .file ? try parse(open(configurationPath)) : nil
        let vocabularyPath = "\(path)/vocab.txt"
        if try kind(of: "\(path)/tokenizer.json") != .file, try kind(of: vocabularyPath) == .file {
            return try BERTVocabulary.tokenizer(open(vocabularyPath), configuration: configuration)
        }
        let tokenizer = try read(open("\(path)/tokenizer.json"))
        guard var pipeline = tokenizer as? PipelineTokenizer, let configuration else { return tokenizer }
        pipeline.setRoles(configuration)
        return pipeline
    }

    private static func kind(of path: String) throws(TokenizerFileError) -> Folder.Kind {
        do {
            return try Folder.kind(of: path)
        } catch {
            throw TokenizerFileError(path: path, problem: .fileFailed(error))
        }
    }

    private static func open(_ path: String) throws(TokenizerFileError) -> MappedFile {
        do {
            return try MappedFile(reading: path)
        } catch {
            throw TokenizerFileError(path: path, problem: .fileFailed(error))
        }
    }

    private static func parse(_ file: MappedFile) throws(TokenizerFileError) -> JSONValue {
        guard file.count <= maximumByteCount else {
            throw TokenizerFileError(path: file.path, problem: .tooLong(byteCount: file.count))
        }
        do {
            return try file.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes) }
        } catch {
            throw TokenizerFileError(path: file.path, problem: .notJSON(error))
        }
    }

    /// Reads a tokenizer from a file's bytes.
    ///
    /// - Throws: ``TokenizerFileError`` when the bytes are damaged or ask for what is not implemented.
    public static func read(_ file: MappedFile) throws(TokenizerFileError) -> any TextTokenizer {
        try tokenizer(try parse(file), path: file.path)
    }

    /// Builds the tokenizer that a parsed file describes.
    static func tokenizer(_ json: JSONValue, path: String) throws(TokenizerFileError) -> any TextTokenizer {
        do {
            let reader = TokenizerReader(json)
            // What was written here; all else is the layout of the Python package `tokenizers`.
            if json["model"]?["type"] == .string("Characters") { return try reader.characters() }
            if json["model"]?["roles"] != nil { return try reader.byteLevelBPE() }
            return try PipelineReader(json).tokenizer()
        } catch let problem as TokenizerFileError.Problem {
            throw TokenizerFileError(path: path, problem: problem)
        } catch let error as TokenizerError {
            throw TokenizerFileError(path: path, problem: .tokenizer(error))
        } catch {
            throw TokenizerFileError(path: path, problem: .malformed(field: "model", wanted: "\(error)"))
        }
    }

    /// Writes a tokenizer to a file, which appears whole or not at all.
    ///
    /// - Parameters:
    ///   - tokenizer: The tokenizer.
    ///   - path: Where to write.
    /// - Throws: ``TokenizerFileError`` when the format has no place for something of it, or the system refuses; the
    ///   file at `path`, if any, is unchanged then.
    public static func write(_ tokenizer: any TextTokenizer, to path: String) throws(TokenizerFileError) {
        do {
            try AtomicFile.write(try serialized(tokenizer), to: path)
        } catch let error as FileError {
            throw TokenizerFileError(path: path, problem: .fileFailed(error))
        } catch let error as TokenizerError {
            throw TokenizerFileError(path: path, problem: .tokenizer(error))
        } catch {
            throw TokenizerFileError(path: path, problem: .malformed(field: "model", wanted: "\(error)"))
        }
    }

    /// Returns the bytes that ``write(_:to:)`` writes, the same for the same tokenizer.
    ///
    /// - Throws: `TokenizerError` when the format has no place for something of it.
    public static func serialized(_ tokenizer: any TextTokenizer) throws(TokenizerError) -> [UInt8] {
        do {
            return try tokenizer.json().serialized() + [UInt8(ascii: "\n")]
        } catch let error as TokenizerError {
            throw error
        } catch {
            throw .notWritable("\(error)")
        }
    }
}

/// A `tokenizer.json` that cannot be used or written.
public struct TokenizerFileError: Error, Equatable, CustomStringConvertible {
    /// What went wrong.
    public enum Problem: Error, Equatable, Sendable {
        /// The file could not be opened, read or written.
        case fileFailed(FileError)
        /// The file is beyond the limit.
        case tooLong(byteCount: Int)
        /// The file is not JSON.
        case notJSON(JSONError)
        /// A field is absent or not what it should be.
        case malformed(field: String, wanted: String)
        /// A field asks for what is not implemented.
        case unsupported(field: String, value: String)
        /// The fields contradict each other.
        case tokenizer(TokenizerError)
    }

    /// The file's path.
    public let path: String
    /// What went wrong.
    public let problem: Problem

    /// What went wrong, where, and what to try.
    public var description: String {
        let damaged = "The file is damaged or was not written whole; write or fetch it again."
        switch problem {
        case .fileFailed(let error):
            return error.description
        case .tooLong(let byteCount):
            return "tokenizer file '\(path)': it has \(byteCount) bytes, and at most \(TokenizerFile.maximumByteCount) "
                + "are read. Name a tokenizer.json."
        case .notJSON(let error):
            return "tokenizer file '\(path)': \(error) \(damaged)"
        case .malformed(let field, let wanted):
            return "tokenizer file '\(path)': '\(field)' is not \(wanted). \(damaged)"
        case .unsupported(let field, let value):
            return "tokenizer file '\(path)': '\(field)' is \(value), which is not implemented. Use a model with "
                + "another tokenizer."
        case .tokenizer(let error):
            return "tokenizer file '\(path)': \(error)"
        }
    }
}

// MARK: - Writing

extension CharacterTokenizer {
    /// Returns what a `tokenizer.json` holds that describes this tokenizer: its characters in one string.
    ///
    /// - Throws: Nothing; any tokenizer of characters can be written.
    public func json() throws(TokenizerError) -> JSONValue {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: characters)
        return .object([
            ("version", .string("1.0")),
            ("model", .object([("type", .string("Characters")), ("characters", .string(String(text)))])),
        ])
    }
}

extension ByteLevelBPETokenizer {
    /// Returns what a `tokenizer.json` holds that describes this tokenizer, in the layout of the Python package
    /// `tokenizers`.
    ///
    /// What the layout has no place for, which token begins a text and the like, stands under `model.roles`; that
    /// package passes over it.
    ///
    /// - Throws: ``TokenizerError/notWritable(_:)`` when a token's kind has no place, or two tokens have one text.
    public func json() throws(TokenizerError) -> JSONValue {
        var texts = JSONObject()
        var addedTokens: [JSONValue] = []
        for id in 0..<vocabularySize {
            let text = vocabulary.text(of: id)
            let kind = vocabulary.kinds[id]
            guard texts.append(text, .integer(Int64(id))) else {
                throw .notWritable("two tokens with the text '\(text)'")
            }
            switch kind {
            case .normal: break
            case .unknown where Int32(id) == unknownID: break
            case .control, .userDefined:
                addedTokens.append(
                    .object([
                        ("id", .integer(Int64(id))), ("content", .string(text)), ("single_word", .boolean(false)),
                        ("lstrip", .boolean(false)), ("rstrip", .boolean(false)), ("normalized", .boolean(false)),
                        ("special", .boolean(kind == .control)),
                    ]))
            case .unknown, .unused, .byte: throw .notWritable("token \(id), '\(text)', of the kind \(kind)")
            }
        }
        let merges = merges.inOrder.map { merge in
            JSONValue.array([
                .string(vocabulary.text(of: Int(merge.left))), .string(vocabulary.text(of: Int(merge.right))),
            ])
        }
        var model: [(String, JSONValue)] = [
            ("type", .string("BPE")), ("dropout", .null),
            ("unk_token", unknownID.map { .string(vocabulary.text(of: Int($0))) } ?? .null),
            ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null), ("fuse_unk", .boolean(true)),
            ("byte_fallback", .boolean(false)), ("ignore_merges", .boolean(false)),
            ("vocab", .object(texts)), ("merges", .array(merges)),
        ]
        var roles: [(String, JSONValue)] = [("adds_beginning_of_text", .boolean(addsBeginningOfSequence))]
        for (name, id) in [
            ("beginning_of_text", beginningOfSequenceID), ("end_of_text", endOfSequenceID), ("padding", paddingID),
        ] {
            roles.append((name, id.map { .integer(Int64($0)) } ?? .null))
        }
        model.append(("roles", .object(roles)))
        let byteLevel: [(String, JSONValue)] = [
            ("type", .string("ByteLevel")), ("add_prefix_space", .boolean(false)), ("trim_offsets", .boolean(true)),
            ("use_regex", .boolean(true)),
        ]
        let digits: [(String, JSONValue)] = [("type", .string("Digits")), ("individual_digits", .boolean(true))]
        return .object([
            ("version", .string("1.0")), ("truncation", .null), ("padding", .null),
            ("added_tokens", .array(addedTokens)), ("normalizer", .null),
            (
                "pre_tokenizer",
                preTokenizer == .gpt2
                    ? .object(byteLevel)
                    : .object([
                        ("type", .string("Sequence")),
                        ("pretokenizers", .array([.object(digits), .object(byteLevel)])),
                    ])
            ),
            ("post_processor", .null), ("decoder", .object(byteLevel)), ("model", .object(model)),
        ])
    }
}

extension JSONValue {
    /// An object of members with distinct keys.
    static func object(_ members: [(String, JSONValue)]) -> JSONValue {
        var object = JSONObject()
        for (key, value) in members { object.append(key, value) }
        return .object(object)
    }
}

// MARK: - Reading

/// Finds in a parsed file what a tokenizer needs, and refuses what it does not understand.
private struct TokenizerReader {
    private typealias Problem = TokenizerFileError.Problem

    private let json: JSONValue

    init(_ json: JSONValue) {
        self.json = json
    }

    /// The value at a path of keys with points between them; `null` counts as absent.
    private func value(_ field: String) -> JSONValue? {
        var value: JSONValue? = json
        for key in field.split(separator: ".") { value = value?[String(key)] }
        if case .null? = value { return nil }
        return value
    }

    func string(_ field: String) throws -> String {
        guard let string = value(field)?.stringValue else { throw Problem.malformed(field: field, wanted: "a string") }
        return string
    }

    func characters() throws -> CharacterTokenizer {
        let characters = Array(try string("model.characters").unicodeScalars)
        guard !characters.isEmpty else { throw TokenizerError.emptyVocabulary }
        guard zip(characters, characters.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw Problem.malformed(field: "model.characters", wanted: "in ascending order")
        }
        return CharacterTokenizer(ascending: characters)
    }

    func byteLevelBPE() throws -> ByteLevelBPETokenizer {
        for field in ["normalizer", "model.dropout"] where value(field) != nil {
            throw Problem.unsupported(field: field, value: "set")
        }
        for field in ["model.continuing_subword_prefix", "model.end_of_word_suffix"] {
            if let text = value(field), text != .string("") { throw Problem.unsupported(field: field, value: "set") }
        }
        for field in ["model.byte_fallback", "model.ignore_merges"] {
            if let flag = value(field), flag != .boolean(false) {
                throw Problem.unsupported(field: field, value: "true")
            }
        }
        if let type = value("post_processor.type"), type != .string("ByteLevel") {
            throw Problem.unsupported(field: "post_processor", value: "set")
        }
        let preTokenizer = try preTokenizer()
        let vocabulary = try vocabulary()
        return ByteLevelBPETokenizer(
            vocabulary: vocabulary, merges: try merges(vocabulary), preTokenizer: preTokenizer,
            roles: try roles(vocabulary))
    }

    private func preTokenizer() throws -> PreTokenizer {
        func isByteLevel(_ value: JSONValue?) -> Bool {
            value?["type"] == .string("ByteLevel") && value?["add_prefix_space"] == .boolean(false)
                && value?["use_regex"] ?? .boolean(true) == .boolean(true)
        }
        let preTokenizer = value("pre_tokenizer")
        if isByteLevel(preTokenizer) { return .gpt2 }
        if preTokenizer?["type"] == .string("Sequence"), let parts = preTokenizer?["pretokenizers"]?.arrayValue,
            parts.count == 2, parts[0]["type"] == .string("Digits"),
            parts[0]["individual_digits"] == .boolean(true), isByteLevel(parts[1])
        {
            return .smollm
        }
        throw Problem.unsupported(
            field: "pre_tokenizer", value: "other than ByteLevel without a space in front, or Digits before it")
    }

    private func vocabulary() throws -> Vocabulary {
        guard let texts = value("model.vocab")?.objectValue else {
            throw Problem.malformed(field: "model.vocab", wanted: "an object of IDs")
        }
        let added = try addedTokens()
        // An added token need not be in the model's own vocabulary; its ID then follows.
        let limit = texts.count + added.count
        var tokens = [(text: String, kind: Vocabulary.Kind)?](repeating: nil, count: limit)
        for (text, id) in texts.members {
            guard let id = id.integerValue, id >= 0, id < limit, tokens[Int(id)] == nil else {
                throw Problem.malformed(field: "model.vocab", wanted: "an object of distinct IDs from 0 on")
            }
            tokens[Int(id)] = (text, .normal)
        }
        if let unknown = value("model.unk_token") {
            guard let text = unknown.stringValue, let id = texts[text]?.integerValue else {
                throw Problem.malformed(field: "model.unk_token", wanted: "a token of the vocabulary")
            }
            tokens[Int(id)] = (text, .unknown)
        }
        for token in added {
            guard token.id >= 0, token.id < limit,
                tokens[Int(token.id)].map({ ExactString($0.text) == ExactString(token.text) }) ?? true
            else {
                throw Problem.malformed(field: "added_tokens", wanted: "of the vocabulary's IDs, or those after them")
            }
            tokens[Int(token.id)] = (token.text, token.kind)
        }
        // Without holes: as many tokens as there are IDs up to the last.
        let count = (tokens.lastIndex { $0 != nil } ?? -1) + 1
        guard count > 0 else { throw TokenizerError.emptyVocabulary }
        var vocabulary = Vocabulary(capacity: count)
        for token in tokens[..<count] {
            guard let token else {
                throw Problem.malformed(field: "model.vocab", wanted: "an object of IDs without holes")
            }
            let appended = Array(token.text.utf8).withUnsafeBytes { bytes in
                Result { () throws(TokenizerError) in try vocabulary.append(text: bytes, kind: token.kind) }
            }
            try appended.get()
        }
        return vocabulary
    }

    private func addedTokens() throws -> [(id: Int64, text: String, kind: Vocabulary.Kind)] {
        guard let tokens = value("added_tokens") else { return [] }
        let malformed = Problem.malformed(
            field: "added_tokens", wanted: "an array of objects with an id, a content and a flag special")
        guard let tokens = tokens.arrayValue else { throw malformed }
        return try tokens.map { token in
            for flag in ["single_word", "lstrip", "rstrip"] where token[flag] ?? .boolean(false) != .boolean(false) {
                throw Problem.unsupported(field: "added_tokens.\(flag)", value: "true")
            }
            guard let id = token["id"]?.integerValue, let text = token["content"]?.stringValue, !text.isEmpty,
                let isSpecial = token["special"]?.booleanValue
            else { throw malformed }
            return (id, text, isSpecial ? .control : .userDefined)
        }
    }

    private func merges(_ vocabulary: Vocabulary) throws -> MergeTable {
        guard let lines = value("model.merges")?.arrayValue, lines.count <= Int32.max else {
            throw Problem.malformed(field: "model.merges", wanted: "an array of pairs")
        }
        var merges = MergeTable(capacity: lines.count)
        for (index, line) in lines.enumerated() {
            let parts: [String]
            if let text = line.stringValue {
                // As files were before tokenizers 0.20. The byte alphabet has no space.
                parts = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            } else {
                parts = line.arrayValue?.compactMap(\.stringValue) ?? []
            }
            guard parts.count == 2 else {
                throw TokenizerError.malformedMerge(index: index, text: parts.joined(separator: " "))
            }
            let merge = parts.joined(separator: " ")
            var (left, right): ([UInt8], [UInt8]) = ([], [])
            guard decode(parts[0], into: &left), decode(parts[1], into: &right), !left.isEmpty, !right.isEmpty else {
                throw TokenizerError.malformedMerge(index: index, text: merge)
            }
            let ids = [left, right, left + right].map { bytes in bytes.withUnsafeBytes { vocabulary.id(of: $0) } }
            if let missing = ids.firstIndex(of: -1) {
                throw TokenizerError.mergeNotInVocabulary(
                    index: index, text: merge, missing: ([parts[0], parts[1], parts.joined()])[missing])
            }
            merges.insert(left: ids[0], right: ids[1], MergeTable.Merge(rank: Int32(index), id: ids[2]))
        }
        return merges
    }

    private func decode(_ text: String, into bytes: inout [UInt8]) -> Bool {
        Array(text.utf8).withUnsafeBytes { ByteAlphabet.decode($0, into: &bytes) }
    }

    private func roles(_ vocabulary: Vocabulary) throws -> ByteLevelBPETokenizer.Roles {
        var roles = ByteLevelBPETokenizer.Roles()
        func role(_ name: String) throws -> Int32? {
            guard let value = value("model.roles.\(name)") else { return nil }
            guard let id = value.integerValue, id >= 0, id < vocabulary.count else {
                throw Problem.malformed(field: "model.roles.\(name)", wanted: "a token of the vocabulary")
            }
            return Int32(id)
        }
        if value("model.roles") != nil {
            roles.beginningOfSequenceID = try role("beginning_of_text")
            roles.endOfSequenceID = try role("end_of_text")
            roles.paddingID = try role("padding")
            roles.addsBeginningOfSequence = value("model.roles.adds_beginning_of_text") == .boolean(true)
        } else {
            // The format itself does not say which token ends a text; this is GPT-2's.
            roles.endOfSequenceID = (0..<vocabulary.count).first {
                vocabulary.kinds[$0] == .control && vocabulary.tokenBytes($0).elementsEqual("<|endoftext|>".utf8)
            }.map { Int32($0) }
        }
        if let unknown = value("model.unk_token")?.stringValue {
            roles.unknownID = value("model.vocab")?[unknown]?.integerValue.flatMap { Int32(exactly: $0) }
        }
        return roles
    }
}
