/// Learns a byte-level byte-pair vocabulary from texts.
///
/// Texts are cut into pieces (``PreTokenizer``), each byte of which is a token at first. Then, again and again, the pair
/// of adjacent tokens that occurs most often becomes a token, until there are as many as asked for (Sennrich et al.,
/// "Neural Machine Translation of Rare Words with Subword Units", 2016, arXiv:1508.07909). Of several pairs that occur
/// equally often the one of the smallest IDs is taken, left before right, so the same texts always give the same
/// vocabulary; so does the trainer of the Python package `tokenizers`.
///
/// IDs are laid out as GPT-2's: the 256 bytes in the order of their characters in its alphabet (`!` is 0), the tokens in
/// the order in which they were learned, and the end-of-text token last.
///
/// ```swift
/// var trainer = try BytePairTrainer(vocabularySize: 4096)
/// try trainer.add(Corpus(["novels"]))
/// let tokenizer = try trainer.train()
/// ```
public struct BytePairTrainer: Sendable {
    /// How many tokens the vocabulary is to have, the 256 bytes and the end of a text included.
    public let vocabularySize: Int
    /// How texts are cut into pieces, across whose borders no tokens merge.
    public let preTokenizer: PreTokenizer
    /// How often a pair must occur to become a token.
    public let minimumPairCount: Int

    private var words = WordCounts()

    /// The smallest vocabulary: every byte, and the end of a text.
    public static let minimumVocabularySize = 257
    /// How the token is written that ends a text.
    public static let endOfText = "<|endoftext|>"

    /// Creates a trainer that has seen no text.
    ///
    /// - Parameters:
    ///   - vocabularySize: How many tokens the vocabulary is to have, from ``minimumVocabularySize`` on.
    ///   - preTokenizer: How to cut texts into pieces.
    ///   - minimumPairCount: How often a pair must occur to become a token; less than 1 counts as 1. A pair that occurs
    ///     once tells nothing of other texts.
    /// - Throws: ``BytePairTrainingError/vocabularyTooSmall(requested:minimum:)``.
    public init(
        vocabularySize: Int, preTokenizer: PreTokenizer = .gpt2, minimumPairCount: Int = 2
    ) throws(BytePairTrainingError) {
        guard vocabularySize >= Self.minimumVocabularySize else {
            throw .vocabularyTooSmall(requested: vocabularySize, minimum: Self.minimumVocabularySize)
        }
        self.vocabularySize = vocabularySize
        self.preTokenizer = preTokenizer
        self.minimumPairCount = max(1, minimumPairCount)
    }

    /// Counts the pieces of a text; pieces do not reach from one text into the next.
    ///
    /// - Throws: ``BytePairTrainingError/tooManyDistinctBytes(limit:)``.
    public mutating func add(_ text: String) throws(BytePairTrainingError) {
        let bytes = Array(text.utf8)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(BytePairTrainingError) in try add(utf8: bytes) }
        }
        try result.get()
    }

    /// Counts the pieces of a text given as UTF-8.
    ///
    /// - Parameter text: The text.
    /// - Throws: ``BytePairTrainingError/invalidUTF8(offset:)``, ``BytePairTrainingError/tooManyDistinctBytes(limit:)``.
    /// - Complexity: Linear in the text; the memory kept is in proportion to the distinct pieces.
    public mutating func add(utf8 text: UnsafeRawBufferPointer) throws(BytePairTrainingError) {
        if let offset = text.offsetOfInvalidUTF8 { throw .invalidUTF8(offset: offset) }
        var pieces = PieceIterator(text, preTokenizer.pattern)
        while let piece = pieces.next() {
            words.add(UnsafeRawBufferPointer(rebasing: text[piece]))
            // Places within the words have 31 bits.
            guard words.words.bytes.count <= Self.distinctByteLimit else {
                throw .tooManyDistinctBytes(limit: Self.distinctByteLimit)
            }
        }
    }

    private static let distinctByteLimit = Int(Int32.max)

    /// Learns the vocabulary from the texts so far.
    ///
    /// - Returns: The tokenizer, whose ``ByteLevelBPETokenizer/endOfSequenceID`` is the end-of-text token.
    /// - Throws: ``BytePairTrainingError/emptyCorpus``;
    ///   ``BytePairTrainingError/vocabularyTooLarge(requested:supported:minimumPairCount:)`` when the texts have too few
    ///   pairs that occur ``minimumPairCount`` times.
    /// - Complexity: O(*n* log *n*) in the bytes of the distinct pieces: a merge looks only at the places where its pair
    ///   stands.
    public func train() throws(BytePairTrainingError) -> ByteLevelBPETokenizer {
        guard words.count > 0 else { throw .emptyCorpus }
        var learner = BytePairLearner(words)
        let wantedCount = vocabularySize - 1
        while learner.tokens.count < wantedCount {
            guard learner.mergeMostFrequentPair(occurring: minimumPairCount) else {
                throw .vocabularyTooLarge(
                    requested: vocabularySize, supported: learner.tokens.count + 1,
                    minimumPairCount: minimumPairCount)
            }
        }
        do {
            return try ByteLevelBPETokenizer(
                tokens: learner.tokens, merges: learner.merges, endOfText: Self.endOfText,
                preTokenizer: preTokenizer)
        } catch {
            throw .tokenizer(error)
        }
    }
}

extension ByteLevelBPETokenizer {
    /// Builds a tokenizer of the bytes' tokens, those that the merges make, in their order, and an end of texts.
    fileprivate init(
        tokens: [[UInt8]], merges: [(left: Int32, right: Int32)], endOfText: String, preTokenizer: PreTokenizer
    ) throws(TokenizerError) {
        var vocabulary = Vocabulary(capacity: tokens.count + 1)
        let texts = tokens.map { (ByteAlphabet.encode($0), Vocabulary.Kind.normal) }
        for (text, kind) in texts + [(endOfText, .control)] {
            let appended = Array(text.utf8).withUnsafeBytes { bytes in
                Result { () throws(TokenizerError) in try vocabulary.append(text: bytes, kind: kind) }
            }
            try appended.get()
        }
        var table = MergeTable(capacity: merges.count)
        for (rank, merge) in merges.enumerated() {
            let result = MergeTable.Merge(rank: Int32(rank), id: Int32(tokens.count - merges.count + rank))
            table.insert(left: merge.left, right: merge.right, result)
        }
        var roles = Roles()
        roles.endOfSequenceID = Int32(tokens.count)
        self.init(vocabulary: vocabulary, merges: table, preTokenizer: preTokenizer, roles: roles)
    }
}

/// The state of learning: all distinct words as tokens, and where each pair of adjacent tokens stands.
///
/// Words are linked lists in arrays, so that a merge costs only the places that it changes, however long a word is.
///
/// No two merges make the same bytes, `ab`+`c` and `a`+`bc`. For what becomes of a stretch of a word depends on its bytes
/// alone, as long as no token reaches across its ends: so wherever these bytes come to be two tokens, they are the same
/// two, at the same time, and are merged. By the same token, a pair that was merged never stands anywhere again.
private struct BytePairLearner {
    /// Two adjacent tokens; the order is that of the left ID, then the right.
    private typealias Pair = UInt64

    /// What is known of a pair.
    private struct PairState {
        /// How often it stands in the texts.
        var count = 0
        /// Where its left token has come to stand, ascending; whether it still does is seen there.
        var places: [Int32] = []
        /// The last round in which it gained a place.
        var round = -1
    }

    /// An entry of the heap, the most frequent first.
    ///
    /// Counts may be out of date, and then are too high.
    private struct Candidate {
        let count: Int
        let pair: Pair
        let index: Int

        func precedes(_ other: Self) -> Bool {
            count != other.count ? count > other.count : pair < other.pair
        }
    }

    /// The bytes of each token.
    private(set) var tokens: [[UInt8]]
    /// The tokens that were merged, in turn.
    private(set) var merges: [(left: Int32, right: Int32)] = []

    private let wordCounts: [Int]
    /// For each place, which is a byte of a word: the token that begins there, or -1; the places of the tokens before
    /// and after it in its word, or -1; and the word.
    private var ids: [Int32]
    private var previous: [Int32]
    private var next: [Int32]
    private let wordOfPlace: [Int32]

    private var pairs: [PairState] = []
    private var pairIndices: [Pair: Int] = [:]
    private var heap: [Candidate] = []
    /// The pairs that gained a place in this round.
    private var gained: [(pair: Pair, index: Int)] = []
    private var round = 0

    init(_ words: WordCounts) {
        let bytes = (0...UInt8.max).sorted { ByteAlphabet.scalars[Int($0)] < ByteAlphabet.scalars[Int($1)] }
        tokens = bytes.map { [$0] }
        var idOfByte = [Int32](repeating: 0, count: 256)
        for (id, byte) in bytes.enumerated() { idOfByte[Int(byte)] = Int32(id) }
        wordCounts = words.counts

        ids = words.words.bytes.map { idOfByte[Int($0)] }
        previous = [Int32](repeating: -1, count: ids.count)
        next = previous
        var wordOfPlace = previous
        for word in 0..<words.count {
            let range = words.words.starts[word]..<words.words.starts[word + 1]
            for place in range {
                wordOfPlace[place] = Int32(word)
                if place > range.lowerBound { previous[place] = Int32(place - 1) }
                if place + 1 < range.upperBound { next[place] = Int32(place + 1) }
            }
        }
        self.wordOfPlace = wordOfPlace
        for place in ids.indices where next[place] >= 0 {
            gain(ids[place], ids[place + 1], at: Int32(place), wordCounts[Int(wordOfPlace[place])])
        }
        pushGained()
    }

    /// Makes the most frequent pair a token, and returns whether one occurs often enough.
    mutating func mergeMostFrequentPair(occurring minimumCount: Int) -> Bool {
        while let candidate = popCandidate() {
            let count = pairs[candidate.index].count
            if count == candidate.count {
                guard count >= minimumCount else { return false }
                merge(candidate.pair, candidate.index)
                pushGained()
                return true
            }
            // Other merges have taken some of its places.
            if count >= minimumCount {
                push(Candidate(count: count, pair: candidate.pair, index: candidate.index))
            }
        }
        return false
    }

    /// Makes the pair a token, and replaces it wherever it stands.
    private mutating func merge(_ pair: Pair, _ index: Int) {
        let (left, right) = (Int32(truncatingIfNeeded: pair >> 32), Int32(truncatingIfNeeded: pair))
        let result = Int32(tokens.count)
        tokens.append(tokens[Int(left)] + tokens[Int(right)])
        merges.append((left, right))
        let places = pairs[index].places
        pairs[index].places = []
        for place in places {
            let first = Int(place)
            // Of places that overlap, as in `aaa`, the leftmost counts, as in encoding.
            guard ids[first] == left, next[first] >= 0, ids[Int(next[first])] == right else { continue }
            let second = Int(next[first])
            let count = wordCounts[Int(wordOfPlace[first])]
            let (before, after) = (previous[first], next[second])
            ids[first] = result
            ids[second] = -1
            next[first] = after
            if before >= 0 {
                lose(ids[Int(before)], left, count)
                gain(ids[Int(before)], result, at: before, count)
            }
            if after >= 0 {
                previous[Int(after)] = place
                lose(right, ids[Int(after)], count)
                gain(result, ids[Int(after)], at: place, count)
            }
        }
    }

    private mutating func lose(_ left: Int32, _ right: Int32, _ count: Int) {
        if let index = pairIndices[Self.pair(left, right)] { pairs[index].count -= count }
    }

    private mutating func gain(_ left: Int32, _ right: Int32, at place: Int32, _ count: Int) {
        let pair = Self.pair(left, right)
        let index: Int
        if let known = pairIndices[pair] {
            index = known
        } else {
            index = pairs.count
            pairIndices[pair] = index
            pairs.append(PairState())
        }
        pairs[index].count += count
        pairs[index].places.append(place)
        if pairs[index].round != round {
            pairs[index].round = round
            gained.append((pair, index))
        }
    }

    private static func pair(_ left: Int32, _ right: Int32) -> Pair {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    // MARK: - The heap

    /// Puts the pairs of this round into the heap, and begins the next round.
    private mutating func pushGained() {
        for (pair, index) in gained where pairs[index].count > 0 {
            push(Candidate(count: pairs[index].count, pair: pair, index: index))
        }
        gained.removeAll(keepingCapacity: true)
        round += 1
    }

    private mutating func push(_ candidate: Candidate) {
        heap.append(candidate)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if !heap[child].precedes(heap[parent]) { break }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func popCandidate() -> Candidate? {
        guard let top = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return top }
        heap[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, heap[child + 1].precedes(heap[child]) { child += 1 }
            if !heap[child].precedes(heap[parent]) { break }
            heap.swapAt(parent, child)
            parent = child
        }
        return top
    }
}
