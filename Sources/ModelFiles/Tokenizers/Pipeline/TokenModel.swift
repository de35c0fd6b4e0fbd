/// What makes tokens of a piece of text: one of the models of the Python package `tokenizers`.
enum TokenModel: Sendable {
    case wordPiece(WordPieceModel)
    case bytePair(BytePairModel)
    case unigram(UnigramModel)
    case wordLevel(WordLevelModel)

    /// Appends the tokens of a piece, which is valid UTF-8 and not empty.
    func encode(
        _ piece: UnsafeRawBufferPointer, _ scratch: inout Scratch, into tokens: inout Tokens
    ) throws(TokenizerError) {
        switch self {
        case .wordPiece(let model): model.encode(piece, into: &tokens)
        case .bytePair(let model): model.encode(piece, &scratch.merger, into: &tokens)
        case .unigram(let model): try model.encode(piece, &scratch.lattice, into: &tokens)
        case .wordLevel(let model): model.encode(piece, into: &tokens)
        }
    }

    /// The tokens of pieces so far.
    struct Tokens {
        var ids: [Int32] = []
        /// The bytes of the piece that each token stands for, where anyone asks.
        var spans: [Range<Int32>] = []
        var tracksSpans = false

        @inline(__always)
        mutating func append(_ id: Int32, _ start: Int, _ end: Int) {
            ids.append(id)
            if tracksSpans {
                spans.append(Int32(truncatingIfNeeded: start)..<Int32(truncatingIfNeeded: end))
            }
        }

        mutating func removeAll() {
            ids.removeAll(keepingCapacity: true)
            spans.removeAll(keepingCapacity: true)
        }

        mutating func removeTokens(behind count: Int) {
            ids.removeSubrange(count...)
            if tracksSpans { spans.removeSubrange(count...) }
        }
    }

    /// Memory that models use again.
    struct Scratch: ~Copyable {
        var merger = BytePairMerger()
        var lattice: [UnigramModel.Node] = []
    }
}

/// A model that takes whole words only.
struct WordLevelModel: Sendable {
    let keys: TokenTable
    let unknownID: Int32

    func encode(_ piece: UnsafeRawBufferPointer, into tokens: inout TokenModel.Tokens) {
        let id = keys.id(of: piece)
        tokens.append(id < 0 ? unknownID : id, 0, piece.count)
    }
}

/// The longest known part of a word, then of what remains, and so on.
///
/// Schuster and Nakajima, "Japanese and Korean Voice Search", 2012; as BERT uses it. Parts behind the first have a
/// prefix in the vocabulary, `##`. A word of which some part is unknown, or which is too long, is one unknown token.
struct WordPieceModel: Sendable {
    private let beginnings: ByteTrie
    private let continuations: ByteTrie
    private let unknownID: Int32
    private let maximumCharacterCount: Int

    init(keys: TokenTable, prefix: [UInt8], unknownID: Int32, maximumCharacterCount: Int) {
        let texts = (0..<keys.count).compactMap { id in keys[id].map { (text: $0, value: Int32(id)) } }
        beginnings = ByteTrie(texts)
        continuations = ByteTrie(
            texts.filter { $0.text.starts(with: prefix) }.map { ($0.text.dropFirst(prefix.count), $0.value) })
        self.unknownID = unknownID
        self.maximumCharacterCount = maximumCharacterCount
    }

    func encode(_ piece: UnsafeRawBufferPointer, into tokens: inout TokenModel.Tokens) {
        let count = tokens.ids.count
        if piece.count <= maximumCharacterCount || piece.scalarCount <= maximumCharacterCount {
            var start = 0
            while start < piece.count {
                let trie = start == 0 ? beginnings : continuations
                guard let (end, id) = trie.longestMatch(in: piece, from: start) else { break }
                tokens.append(id, start, end)
                start = end
            }
            if start == piece.count { return }
            tokens.removeTokens(behind: count)
        }
        tokens.append(unknownID, 0, piece.count)
    }
}

/// Merges pairs of tokens, as ``ByteLevelBPETokenizer`` does it, but of any alphabet.
struct BytePairModel: Sendable {
    /// What becomes of a piece's characters at first.
    enum Alphabet: Sendable {
        /// Each byte is a token, or -1.
        case bytes([Int32])
        /// Each character is a token; here those of ASCII, or -1.
        case characters(ascii: [Int32])
    }

    /// IDs by what stands in pieces: for a byte-level vocabulary bytes, not the characters it writes them in.
    let keys: TokenTable
    let merges: MergeTable
    let alphabet: Alphabet
    let unknownID: Int32?
    let fusesUnknown: Bool
    /// The token of each byte of a character that has none itself, or -1.
    let byteFallback: [Int32]?
    /// Whether a piece that is a token is not merged.
    let ignoresMerges: Bool
    /// What the vocabulary writes before each character but the first, and behind the last.
    let prefix: [UInt8]
    let suffix: [UInt8]

    func encode(
        _ piece: UnsafeRawBufferPointer, _ merger: inout BytePairMerger, into tokens: inout TokenModel.Tokens
    ) {
        if ignoresMerges {
            let id = keys.id(of: piece)
            if id >= 0 {
                tokens.append(id, 0, piece.count)
                return
            }
        }
        if case .bytes(let ids) = alphabet, Self.begin(piece, ids, in: &merger) {
            // Nothing is unknown.
        } else {
            begin(piece, in: &merger)
        }
        merger.merge(by: merges) { tokens.append($0, $1.lowerBound, $1.upperBound) }
    }

    /// Begins a piece with a token for each character.
    private func begin(_ piece: UnsafeRawBufferPointer, in merger: inout BytePairMerger) {
        merger.removeAll()
        // What comes before a known token is unknown: one token of so many bytes.
        var unknown: Range<Int>?
        var offset = 0
        while offset < piece.count {
            let length = length(of: piece, at: offset)
            let range = offset..<offset + length
            offset += length
            let id = symbol(piece, range)
            if id >= 0 {
                flush(&unknown, &merger)
                merger.append(id, range)
                continue
            }
            if let byteFallback, range.allSatisfy({ byteFallback[Int(piece[$0])] >= 0 }) {
                for index in range { merger.append(byteFallback[Int(piece[index])], index..<index + 1) }
                continue
            }
            // Without an unknown token the character is passed over, as that package does it.
            guard unknownID != nil else { continue }
            if fusesUnknown, let start = unknown?.lowerBound {
                unknown = start..<range.upperBound
            } else {
                flush(&unknown, &merger)
                unknown = range
            }
        }
        flush(&unknown, &merger)
    }

    /// Begins a piece with a token for each byte, and returns whether each has one.
    @inline(__always)
    private static func begin(
        _ piece: UnsafeRawBufferPointer, _ ids: [Int32], in merger: inout BytePairMerger
    ) -> Bool {
        merger.removeAll()
        return ids.withUnsafeBufferPointer { ids in
            for offset in 0..<piece.count {
                let id = ids[Int(piece[offset])]
                if id < 0 { return false }
                merger.append(id, offset..<offset + 1)
            }
            return true
        }
    }

    private func flush(_ unknown: inout Range<Int>?, _ merger: inout BytePairMerger) {
        if let range = unknown, let unknownID { merger.append(unknownID, range) }
        unknown = nil
    }

    @inline(__always)
    private func length(of piece: UnsafeRawBufferPointer, at offset: Int) -> Int {
        if case .bytes = alphabet { return 1 }
        return piece.utf8Scalar(at: offset).length
    }

    @inline(__always)
    private func symbol(_ piece: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int32 {
        switch alphabet {
        case .bytes(let ids):
            return ids[Int(piece[range.lowerBound])]
        case .characters(let ascii):
            let text = UnsafeRawBufferPointer(rebasing: piece[range])
            if prefix.isEmpty, suffix.isEmpty {
                return text[0] < 0x80 ? ascii[Int(text[0])] : keys.id(of: text)
            }
            var key = range.lowerBound > 0 ? prefix : []
            key += text
            if range.upperBound == piece.count { key += suffix }
            return keys.id(of: key)
        }
    }
}

/// The most likely way to cut a piece into tokens, each of which has a logarithm of its probability.
///
/// Kudo, "Subword Regularization", 2018 (arXiv:1804.10959), found by Viterbi's algorithm: O(*n* · *m*) for *n* bytes and
/// tokens of at most *m*.
struct UnigramModel: Sendable {
    /// The best way to a place in the piece.
    struct Node {
        var score = 0.0
        var start: Int32 = -1
        var id: Int32 = -1
    }

    private let keys: TokenTable
    private let trie: ByteTrie
    private let scores: [Double]
    private let unknownID: Int32?
    private let unknownScore: Double
    private let byteFallback: [Int32]?

    init(keys: TokenTable, scores: [Double], unknownID: Int32?, byteFallback: [Int32]?) {
        self.keys = keys
        self.scores = scores
        self.unknownID = unknownID
        self.byteFallback = byteFallback
        trie = ByteTrie((0..<keys.count).compactMap { id in keys[id].map { ($0, Int32(id)) } })
        unknownScore = (scores.min() ?? 0) - 10
    }

    func encode(
        _ piece: UnsafeRawBufferPointer, _ nodes: inout [Node], into tokens: inout TokenModel.Tokens
    ) throws(TokenizerError) {
        nodes.removeAll(keepingCapacity: true)
        nodes.append(contentsOf: repeatElement(Node(), count: piece.count + 1))
        var start = 0
        while start < piece.count {
            let score = nodes[start].score
            let single = start + piece.utf8Scalar(at: start).length
            var hasSingle = false
            trie.forEachMatch(in: piece, from: start) { end, id in
                let candidate = score + scores[Int(id)]
                if nodes[end].start < 0 || candidate > nodes[end].score {
                    nodes[end] = Node(score: candidate, start: Int32(truncatingIfNeeded: start), id: id)
                }
                if end == single { hasSingle = true }
            }
            if !hasSingle {
                guard let unknownID else {
                    throw .byteWithoutToken(byte: piece[start], offset: start)
                }
                let candidate = score + unknownScore
                if nodes[single].start < 0 || candidate > nodes[single].score {
                    nodes[single] = Node(score: candidate, start: Int32(truncatingIfNeeded: start), id: unknownID)
                }
            }
            start = single
        }
        // From the end to the beginning, each node knows where it comes from: turn the chain around.
        var end = Int32(truncatingIfNeeded: piece.count)
        var next: Int32 = -1
        while end > 0 {
            let start = nodes[Int(end)].start
            nodes[Int(end)].start = next
            next = end
            end = start
        }
        start = 0
        while next > 0 {
            // Unknown characters in a row are one token.
            while nodes[Int(next)].id == unknownID, nodes[Int(next)].start > 0,
                nodes[Int(nodes[Int(next)].start)].id == unknownID
            {
                next = nodes[Int(next)].start
            }
            append(piece, start..<Int(next), nodes[Int(next)].id, into: &tokens)
            start = Int(next)
            next = nodes[start].start
        }
    }

    private func append(
        _ piece: UnsafeRawBufferPointer, _ range: Range<Int>, _ id: Int32, into tokens: inout TokenModel.Tokens
    ) {
        guard id == unknownID else {
            tokens.append(id, range.lowerBound, range.upperBound)
            return
        }
        let known = keys.id(of: UnsafeRawBufferPointer(rebasing: piece[range]))
        if known < 0, let byteFallback, range.allSatisfy({ byteFallback[Int(piece[$0])] >= 0 }) {
            for index in range { tokens.append(byteFallback[Int(piece[index])], index, index + 1) }
            return
        }
        tokens.append(known < 0 ? id : known, range.lowerBound, range.upperBound)
    }
}

extension UnsafeRawBufferPointer {
    /// The number of scalars in valid UTF-8.
    fileprivate var scalarCount: Int {
        reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
    }
}
