import Synchronization

/// A tokenizer as a `tokenizer.json` describes it: added tokens, a normalizer, a pre-tokenizer, a model, a template and
/// a decoder.
///
/// BERT's WordPiece, byte-level BPE, BPE of characters and SentencePiece's unigram are models of it. It gives the IDs of
/// the Python package `tokenizers`, that package's tables of characters and its peculiarities included; a million texts
/// are compared by `Scripts/check-tokenizers`. Truncation and padding that a file asks for are left to the caller
/// (``truncation``, ``padding``). Texts are compared by their bytes.
public struct PipelineTokenizer: Sendable {
    /// The tokens around a text that the model expects, such as `[CLS]` and `[SEP]`.
    public let template: TokenTemplate
    /// The truncation that the file asks for, which encoding does not heed.
    public let truncation: Truncation?
    /// The padding that the file asks for, which encoding does not heed.
    public let padding: Padding?
    /// The token that begins a text, if there is one.
    public private(set) var beginningOfSequenceID: Int32?
    /// The token that ends a text, if there is one.
    public private(set) var endOfSequenceID: Int32?
    /// The token for what the vocabulary lacks, if there is one.
    public private(set) var unknownID: Int32?
    /// The token that fills batches up, if there is one.
    public private(set) var paddingID: Int32?

    /// How a file asks for texts to be shortened.
    public struct Truncation: Equatable, Sendable {
        /// The most tokens, those around the text included.
        ///
        /// What made the file need not have meant it: all-MiniLM-L6-v2's says 128, and its vectors are those of 256.
        public let maximumTokenCount: Int
    }

    /// How a file asks for batches to be filled up.
    public struct Padding: Equatable, Sendable {
        /// The length to fill up to, or `nil` for that of the longest.
        public let fixedTokenCount: Int?
        /// The token to fill up with.
        public let id: Int32
    }

    /// The longest text that is taken, in bytes.
    ///
    /// A byte may become 18 in normalisation, and places in the text are counted with 31 bits.
    public static let maximumTextByteCount = 1 << 26

    /// All parts but what is above.
    struct Parts: Sendable {
        var added: AddedTokens
        var normalizers: [Normalizer]
        var steps: [PreTokenizationStep]
        var model: TokenModel
        var decoder: TokenDecoder
        /// Texts as the file writes them, those of added tokens among them, normalised where they are looked for so.
        var texts: TokenTable
        var isSpecial: [Bool]

        /// Whether pieces depend on where in the text they come from.
        var needsOrigins: Bool {
            let first = steps.firstIndex {
                if case .metaspace(let metaspace) = $0 { metaspace.prependScheme == .first } else { false }
            }
            return first.map { $0 > 0 || !normalizers.isEmpty } ?? false
        }
    }

    let parts: Parts
    private let needsOrigins: Bool
    /// What the file holds.
    private let source: JSONValue
    private let workspaces = Workspaces()

    init(
        parts: Parts, template: TokenTemplate, truncation: Truncation?, padding: Padding?, roles: Roles,
        json: JSONValue
    ) {
        self.parts = parts
        self.template = template
        self.truncation = truncation
        self.padding = padding
        source = json
        needsOrigins = parts.needsOrigins
        beginningOfSequenceID = roles.beginningOfSequenceID
        endOfSequenceID = roles.endOfSequenceID
        unknownID = roles.unknownID
        paddingID = roles.paddingID
    }

    /// The tokens that have a part of their own.
    struct Roles {
        var beginningOfSequenceID: Int32?
        var endOfSequenceID: Int32?
        var unknownID: Int32?
        var paddingID: Int32?
    }

    /// Takes the tokens with a part of their own from a `tokenizer_config.json`, which knows them better.
    mutating func setRoles(_ configuration: JSONValue) {
        func id(_ names: String...) -> Int32? {
            for name in names {
                // A token with flags is an object.
                let text = configuration[name]?.stringValue ?? configuration[name]?["content"]?.stringValue
                if let id = text.flatMap({ tokenID($0) }) { return id }
            }
            return nil
        }
        beginningOfSequenceID = id("bos_token", "cls_token") ?? beginningOfSequenceID
        endOfSequenceID = id("eos_token", "sep_token") ?? endOfSequenceID
        unknownID = unknownID ?? id("unk_token")
        paddingID = id("pad_token") ?? paddingID
    }

    /// One more than the largest ID; some below it may not be in use.
    public var vocabularySize: Int { parts.texts.count }

    /// Whether ``template`` has a token before the text.
    public var addsBeginningOfSequence: Bool { !template.prefix.isEmpty }

    // MARK: - Encoding

    /// Returns the tokens of a text given as UTF-8.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Whether special tokens such as `[SEP]` are recognised in the text. Leave it off for
    ///     text of users, who could otherwise speak in another's name.
    /// - Returns: The IDs, without those of ``template``; none for an empty text.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    /// - Complexity: O(*n* log *n*) in the bytes of the longest piece of a BPE model, linear in the text otherwise.
    public func encode(
        utf8 bytes: [UInt8], recognizingSpecialTokens: Bool
    ) throws(TokenizerError) -> [Int32] {
        try encode(bytes, recognizingSpecialTokens, spans: nil)
    }

    /// Returns the tokens of a text given as UTF-8, and which of its bytes each was made from.
    ///
    /// - Parameters:
    ///   - bytes: The text.
    ///   - recognizingSpecialTokens: Whether special tokens are recognised in the text.
    /// - Returns: The tokens of ``encode(utf8:recognizingSpecialTokens:)``.
    /// - Throws: `TokenizerError` when the bytes are not UTF-8, are too many, or cannot be encoded.
    public func spans(
        utf8 bytes: [UInt8], recognizingSpecialTokens: Bool
    ) throws(TokenizerError) -> [TokenSpan] {
        var ranges: [Range<Int>] = []
        let ids = try withUnsafeMutablePointer(to: &ranges) { pointer in
            Result { () throws(TokenizerError) in try encode(bytes, recognizingSpecialTokens, spans: pointer) }
        }.get()
        return zip(ids, ranges).map { TokenSpan(id: $0, range: $1) }
    }

    private func encode(
        _ bytes: [UInt8], _ recognizingSpecialTokens: Bool, spans: UnsafeMutablePointer<[Range<Int>]>?
    ) throws(TokenizerError) -> [Int32] {
        guard bytes.count <= Self.maximumTextByteCount else {
            throw .textTooLong(byteCount: bytes.count, limit: Self.maximumTextByteCount)
        }
        let workspace = workspaces.take()
        defer { workspaces.give(workspace) }
        let result = bytes.withUnsafeBytes { text in
            Result { () throws(TokenizerError) -> [Int32] in
                if let offset = text.offsetOfInvalidUTF8 { throw .invalidUTF8(offset: offset) }
                workspace.begin(tracksSpans: spans != nil)
                try parts.added.forEachRaw(in: text, recognizingSpecialTokens: recognizingSpecialTokens) {
                    id, range throws(TokenizerError) in
                    if let id {
                        workspace.append(id, range)
                    } else {
                        try encodeStretch(text, range, recognizingSpecialTokens, workspace)
                    }
                }
                spans?.pointee = workspace.spans
                return workspace.tokens.ids
            }
        }
        return try result.get()
    }

    /// Encodes a stretch between tokens that are found in the text as it comes.
    private func encodeStretch(
        _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ recognizingSpecialTokens: Bool, _ workspace: Workspace
    ) throws(TokenizerError) {
        let tracks = needsOrigins || workspace.tracksSpans
        workspace.normalized.removeAll(trackingOrigins: tracks)
        workspace.normalized.append(UnsafeRawBufferPointer(rebasing: text[range])) { index in
            // A character's bytes all have the whole character's range.
            let offset = range.lowerBound + index
            let start = text.startOfScalar(before: offset + 1)
            let (_, length) = text.utf8Scalar(at: start)
            return TextBuffer.Origin(
                start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: start + length))
        }
        for normalizer in parts.normalizers {
            workspace.other.removeAll(trackingOrigins: tracks)
            normalizer.apply(workspace.normalized, to: &workspace.other)
            if workspace.other.isOverfull { throw Self.overfull }
            swap(&workspace.normalized, &workspace.other)
        }
        let normalized = workspace.normalized.bytes
        try parts.added.forEachNormalized(in: normalized, recognizingSpecialTokens: recognizingSpecialTokens) {
            id, piece throws(TokenizerError) in
            if let id {
                let origin = workspace.normalized.origin(of: piece)
                workspace.append(id, Int(origin.start)..<Int(origin.end))
            } else {
                try encodePieces(piece, stretchStart: range.lowerBound, workspace)
            }
        }
    }

    private static let overfull = TokenizerError.normalizedTextTooLong(limit: TextBuffer.maximumCount)

    /// Encodes a stretch of the normalised text.
    private func encodePieces(
        _ range: Range<Int>, stretchStart: Int, _ workspace: Workspace
    ) throws(TokenizerError) {
        workspace.pieces.removeAll(keepingCapacity: true)
        workspace.pieces.append(range)
        var isRewritten = false
        for step in parts.steps {
            workspace.otherPieces.removeAll(keepingCapacity: true)
            if case .split(let splitter) = step {
                let text = isRewritten ? workspace.rewritten.bytes : workspace.normalized.bytes
                for piece in workspace.pieces { splitter.split(text, piece, into: &workspace.otherPieces) }
            } else {
                workspace.other.removeAll(trackingOrigins: workspace.normalized.tracksOrigins)
                if isRewritten {
                    step.rewrite(
                        workspace.rewritten, workspace.pieces,
                        isFirst: { workspace.rewritten.begins(text: $0, stretchStart: stretchStart) },
                        to: &workspace.other, &workspace.otherPieces)
                } else {
                    step.rewrite(
                        workspace.normalized, workspace.pieces,
                        isFirst: { workspace.normalized.begins(text: $0, stretchStart: stretchStart) },
                        to: &workspace.other, &workspace.otherPieces)
                }
                if workspace.other.isOverfull { throw Self.overfull }
                swap(&workspace.rewritten, &workspace.other)
                isRewritten = true
            }
            swap(&workspace.pieces, &workspace.otherPieces)
        }
        let tracks = workspace.tracksSpans
        let text = isRewritten ? workspace.rewritten.bytes : workspace.normalized.bytes
        guard let base = text.baseAddress else { return }
        for piece in workspace.pieces {
            if !tracks, piece.count <= PieceCache.maximumByteCount {
                let key = PieceCache.key(base + piece.lowerBound, count: piece.count)
                if workspace.cache.find(key, into: &workspace.tokens.ids) { continue }
                let count = workspace.tokens.ids.count
                try parts.model.encode(
                    UnsafeRawBufferPointer(rebasing: text[piece]), &workspace.scratch, into: &workspace.tokens)
                workspace.cache.insert(key, workspace.tokens.ids[count...])
                continue
            }
            let count = workspace.tokens.spans.count
            try parts.model.encode(
                UnsafeRawBufferPointer(rebasing: text[piece]), &workspace.scratch, into: &workspace.tokens)
            if tracks {
                for span in workspace.tokens.spans[count...] {
                    let bytes = piece.lowerBound + Int(span.lowerBound)..<piece.lowerBound + Int(span.upperBound)
                    let origin =
                        isRewritten ? workspace.rewritten.origin(of: bytes) : workspace.normalized.origin(of: bytes)
                    workspace.spans.append(Int(origin.start)..<Int(origin.end))
                }
            }
        }
    }

    // MARK: - Tokens

    /// Returns the token with exactly this text, or `nil`.
    public func tokenID(_ text: String) -> Int32? {
        if let token = parts.added.tokens.first(where: { $0.text.elementsEqual(text.utf8) }) { return token.id }
        let id = parts.texts.id(of: text.utf8)
        return id < 0 ? nil : id
    }

    private func text(_ id: Int32) throws(TokenizerError) -> ArraySlice<UInt8> {
        guard let text = parts.texts[Int(id)] else {
            throw .tokenIDOutOfRange(id: Int(id), vocabularySize: vocabularySize)
        }
        return text
    }
}

extension TextBuffer {
    /// Whether a range comes from the beginning of the original text.
    fileprivate func begins(text range: Range<Int>, stretchStart: Int) -> Bool {
        tracksOrigins ? origin(of: range).start == 0 : stretchStart + range.lowerBound == 0
    }
}

extension PipelineTokenizer: TextTokenizer {
    /// Returns the UTF-8 that tokens stand for, as the file's decoder puts it together.
    ///
    /// - Parameters:
    ///   - ids: The tokens.
    ///   - skippingSpecialTokens: Whether to leave special tokens out.
    ///   - isContinued: Whether tokens come before these, without which a word piece, for instance, has no space in front.
    /// - Returns: The bytes, which need not be UTF-8.
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func decodeBytes(
        _ ids: some Sequence<Int32>, skippingSpecialTokens: Bool, continuing isContinued: Bool
    ) throws(TokenizerError) -> [UInt8] {
        var bytes: [UInt8] = []
        var isFirst = !isContinued
        for id in ids {
            let text = try text(id)
            if skippingSpecialTokens, parts.isSpecial[Int(id)] { continue }
            parts.decoder.append(text, isFirst: isFirst, to: &bytes)
            isFirst = false
        }
        return bytes
    }

    /// Returns the bytes that a token stands for where it is the first of a text.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func bytes(of id: Int32) throws(TokenizerError) -> [UInt8] {
        try decodeBytes(CollectionOfOne(id), skippingSpecialTokens: false, continuing: false)
    }

    /// Returns a token as the file writes it, such as `##ing`.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func tokenText(_ id: Int32) throws(TokenizerError) -> String {
        String(decoding: try text(id), as: UTF8.self)
    }

    /// Returns whether a token is special.
    ///
    /// - Throws: ``TokenizerError/tokenIDOutOfRange(id:vocabularySize:)``.
    public func isControl(_ id: Int32) throws(TokenizerError) -> Bool {
        _ = try text(id)
        return parts.isSpecial[Int(id)]
    }

    /// What tells this tokenizer from every other: all that its file says.
    ///
    /// - Complexity: O(*n*) in the bytes of the file.
    public var fingerprint: Fingerprint {
        // Numbers that were read are finite, so that all of it can be written.
        Fingerprint(of: (try? source.serialized()) ?? [])
    }

    /// Returns what the file holds that this tokenizer was read from.
    ///
    /// - Throws: Nothing.
    public func json() throws(TokenizerError) -> JSONValue {
        source
    }
}

/// What encoding a text needs of memory, and the cache of its pieces.
///
/// Safe: ``Workspaces`` gives one to one call at a time.
private final class Workspace: @unchecked Sendable {
    var normalized = TextBuffer()
    var rewritten = TextBuffer()
    var other = TextBuffer()
    var pieces: [Range<Int>] = []
    var otherPieces: [Range<Int>] = []
    var tokens = TokenModel.Tokens()
    var scratch = TokenModel.Scratch()
    var spans: [Range<Int>] = []
    let cache = PieceCache()

    var tracksSpans: Bool { tokens.tracksSpans }

    func begin(tracksSpans: Bool) {
        tokens.removeAll()
        tokens.tracksSpans = tracksSpans
        spans.removeAll(keepingCapacity: true)
    }

    func append(_ id: Int32, _ range: Range<Int>) {
        tokens.append(id, 0, 0)
        if tracksSpans { spans.append(range) }
    }
}

/// The workspaces of a tokenizer that no call uses at the moment.
private final class Workspaces: Sendable {
    /// Beyond so many bytes of text a workspace is not kept.
    private static let limit = 1 << 20
    private let free = Mutex<[Workspace]>([])

    func take() -> Workspace {
        free.withLock { $0.popLast() } ?? Workspace()
    }

    func give(_ workspace: Workspace) {
        guard workspace.normalized.count <= Self.limit, workspace.rewritten.count <= Self.limit,
            workspace.other.count <= Self.limit
        else { return }
        free.withLock { $0.append(workspace) }
    }
}
