/// Merges the tokens of one piece of text, pair by pair, until no pair merges.
///
/// Always takes the pair of lowest rank, of several the leftmost (Sennrich et al., "Neural Machine Translation
/// of Rare Words with Subword Units", 2016, arXiv:1508.07909). The tokens are a linked list and the pairs that
/// merge a heap, so a piece of *n* bytes takes O(*n* log *n*), however hostile; short pieces do without the heap. One merger
/// serves many pieces, and keeps its memory.
struct BytePairMerger: ~Copyable {
    private static let end: Int32 = -1
    /// No pair that merges is this, since ranks are not negative.
    private static let noPair = UInt64.max
    /// Up to so many tokens a heap costs more than it saves.
    private static let shortCount = 32

    private struct Token {
        var id: Int32
        /// What it stands for in the piece.
        var start: Int32
        var end: Int32
        /// The tokens beside it, or `end`.
        var previous: Int32
        var next: Int32
        /// What its merge with the one after it makes.
        var made: Int32
    }

    // Safe: owned by this value alone; the first `count` of `capacity` places of each are initialised.
    private var tokens: UnsafeMutablePointer<Token>
    /// Each token's merge with the one after it, the rank in the upper half and the token's index below, or `noPair`.
    private var pairs: UnsafeMutablePointer<UInt64>
    private var capacity = 64
    private var count = 0
    /// A binary heap of pairs, the smallest first.
    private var heap: [UInt64] = []

    init() {
        tokens = .allocate(capacity: capacity)
        pairs = .allocate(capacity: capacity)
    }

    deinit {
        tokens.deallocate()
        pairs.deallocate()
    }

    /// Begins a new piece without tokens.
    mutating func removeAll() { count = 0 }

    /// The last token of the piece so far.
    var last: Int32? { count > 0 ? tokens[count - 1].id : nil }

    /// Appends a token that stands for a range of the piece, which may have 2^31 - 1.
    @inline(__always)
    mutating func append(_ id: Int32, _ range: Range<Int>) {
        if count == capacity { grow() }
        let index = Int32(truncatingIfNeeded: count)
        (tokens + count).initialize(
            to: Token(
                id: id, start: Int32(truncatingIfNeeded: range.lowerBound),
                end: Int32(truncatingIfNeeded: range.upperBound), previous: index &- 1, next: index &+ 1,
                made: Self.end))
        count &+= 1
    }

    private mutating func grow() {
        let tokens = UnsafeMutablePointer<Token>.allocate(capacity: 2 * capacity)
        tokens.moveInitialize(from: self.tokens, count: count)
        self.tokens.deallocate()
        self.tokens = tokens
        pairs.deallocate()
        capacity *= 2
        pairs = .allocate(capacity: capacity)
    }

    /// Makes the last token stand for more.
    mutating func extendLast(to end: Int) {
        if count > 0 { tokens[count - 1].end = Int32(truncatingIfNeeded: end) }
    }

    /// Merges the piece's tokens and calls `body` with each result and what it stands for.
    @inline(__always)
    mutating func merge(by merges: borrowing MergeTable, _ body: (Int32, Range<Int>) -> Void) {
        guard count > 0 else { return }
        tokens[count - 1].next = Self.end
        merges.withLookup { merges in
            for index in 0..<count { update(index, merges) }
            if count <= Self.shortCount { mergeShort(by: merges) } else { mergeLong(by: merges) }
        }
        var index: Int32 = 0
        while index != Self.end {
            let token = tokens[Int(index)]
            body(token.id, Int(token.start)..<Int(token.end))
            index = token.next
        }
    }

    /// Looks up the merge of a token with the one after it.
    @inline(__always)
    private func update(_ index: Int, _ merges: MergeTable.Lookup) {
        let next = tokens[index].next
        if next != Self.end, let merge = merges[tokens[index].id, tokens[Int(next)].id] {
            tokens[index].made = merge.id
            pairs[index] = UInt64(UInt32(bitPattern: merge.rank)) << 32 | UInt64(index)
        } else {
            pairs[index] = Self.noPair
        }
    }

    /// Merges the pair of a token and the one after it, and looks up the two pairs that this makes.
    @inline(__always)
    private func mergePair(at left: Int, _ merges: MergeTable.Lookup) {
        let right = Int(tokens[left].next)
        let next = tokens[right].next
        tokens[left].id = tokens[left].made
        tokens[left].end = tokens[right].end
        tokens[left].next = next
        pairs[right] = Self.noPair
        if next != Self.end { tokens[Int(next)].previous = Int32(truncatingIfNeeded: left) }
        update(left, merges)
        let previous = tokens[left].previous
        if previous != Self.end { update(Int(previous), merges) }
    }

    /// Merges few tokens: looks for the lowest rank among all pairs each time.
    private func mergeShort(by merges: MergeTable.Lookup) {
        while true {
            var best = Self.noPair
            for index in 0..<count { best = min(best, pairs[index]) }
            if best == Self.noPair { return }
            mergePair(at: Int(UInt32(truncatingIfNeeded: best)), merges)
        }
    }

    /// Merges any number of tokens, with a heap of the pairs.
    private mutating func mergeLong(by merges: MergeTable.Lookup) {
        heap.removeAll(keepingCapacity: true)
        for index in 0..<count where pairs[index] != Self.noPair { push(pairs[index]) }
        while let pair = pop() {
            let left = Int(UInt32(truncatingIfNeeded: pair))
            // A merge nearby may have changed or taken the pair since it was pushed.
            guard pairs[left] == pair else { continue }
            mergePair(at: left, merges)
            if pairs[left] != Self.noPair { push(pairs[left]) }
            let previous = tokens[left].previous
            if previous != Self.end, pairs[Int(previous)] != Self.noPair { push(pairs[Int(previous)]) }
        }
    }

    private mutating func push(_ pair: UInt64) {
        heap.append(pair)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent] <= heap[child] { break }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func pop() -> UInt64? {
        guard let smallest = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return smallest }
        heap[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            if heap[parent] <= heap[child] { break }
            heap.swapAt(parent, child)
            parent = child
        }
        return smallest
    }
}
