/// Merges the tokens of one piece of text, pair by pair, until no pair merges.
///
/// Always takes the pair of lowest rank, of several the leftmost (Sennrich et al., "Neural Machine Translation
/// of Rare Words with Subword Units", 2016, arXiv:1508.07909). The tokens are a linked list and the pairs that
/// merge a heap, so a piece of *n* bytes takes O(*n* log *n*), however hostile; short pieces do without. One merger serves many pieces,
/// and keeps its memory.
struct BytePairMerger {
    private static let end: Int32 = -1
    private static let noRank: Int32 = -1
    /// Up to so many tokens a heap costs more than it saves.
    private static let shortCount = 32

    private var ids: [Int32] = []
    /// What each token stands for in the piece.
    private var ranges: [Range<Int>] = []
    private var previous: [Int32] = []
    private var next: [Int32] = []
    /// The rank of each token's merge with the one after it, or `noRank`.
    private var ranks: [Int32] = []
    /// A binary heap of pairs, the smallest first: the rank in the upper half, the left token's index below.
    private var heap: [UInt64] = []

    /// Begins a new piece without tokens.
    mutating func removeAll() {
        ids.removeAll(keepingCapacity: true)
        ranges.removeAll(keepingCapacity: true)
    }

    /// The last token of the piece so far.
    var last: Int32? { ids.last }

    /// Appends a token that stands for a range of the piece, which may have 2^31 - 1.
    mutating func append(_ id: Int32, _ range: Range<Int>) {
        ids.append(id)
        ranges.append(range)
    }

    /// Makes the last token stand for more.
    mutating func extendLast(to end: Int) {
        if let last = ranges.popLast() { ranges.append(last.lowerBound..<end) }
    }

    /// Merges the piece's tokens and calls `body` with each result and what it stands for.
    @inline(__always)
    mutating func merge(by merges: MergeTable, _ body: (Int32, Range<Int>) -> Void) {
        if ids.count <= Self.shortCount { mergeShort(by: merges) } else { mergeLong(by: merges) }
        for index in 0..<ids.count { body(ids[index], ranges[index]) }
    }

    /// Merges few tokens: looks for the lowest rank among all pairs each time, and moves what is behind it up.
    private mutating func mergeShort(by merges: MergeTable) {
        ranks.removeAll(keepingCapacity: true)
        next.removeAll(keepingCapacity: true)
        var pairCount = ids.count - 1
        guard pairCount > 0 else { return }
        for index in 0..<pairCount {
            let merge = merges[ids[index], ids[index + 1]]
            ranks.append(merge?.rank ?? .max)
            next.append(merge?.id ?? Self.end)
        }
        ids.withUnsafeMutableBufferPointer { ids in
            ranks.withUnsafeMutableBufferPointer { ranks in
                func update(_ pair: Int, _ made: inout [Int32]) {
                    let merge = merges[ids[pair], ids[pair + 1]]
                    ranks[pair] = merge?.rank ?? .max
                    made[pair] = merge?.id ?? Self.end
                }
                while pairCount > 0 {
                    var best = 0
                    var rank = ranks[0]
                    for pair in 1..<Swift.max(pairCount, 1) where ranks[pair] < rank {
                        best = pair
                        rank = ranks[pair]
                    }
                    if rank == .max { break }
                    ids[best] = next[best]
                    ranges[best] = ranges[best].lowerBound..<ranges[best + 1].upperBound
                    pairCount -= 1
                    for index in best + 1..<Swift.max(pairCount + 1, best + 1) {
                        ids[index] = ids[index + 1]
                        ranges[index] = ranges[index + 1]
                    }
                    for pair in best + 1..<Swift.max(pairCount, best + 1) {
                        ranks[pair] = ranks[pair + 1]
                        next[pair] = next[pair + 1]
                    }
                    if best < pairCount { update(best, &next) }
                    if best > 0 { update(best - 1, &next) }
                }
            }
        }
        ids.removeSubrange((pairCount + 1)...)
        ranges.removeSubrange((pairCount + 1)...)
    }

    /// Merges any number of tokens, with a heap of the pairs.
    private mutating func mergeLong(by merges: MergeTable) {
        let count = ids.count
        previous.removeAll(keepingCapacity: true)
        next.removeAll(keepingCapacity: true)
        ranks.removeAll(keepingCapacity: true)
        heap.removeAll(keepingCapacity: true)
        for index in 0..<count {
            previous.append(Int32(index) - 1)
            next.append(index + 1 < count ? Int32(index) + 1 : Self.end)
            ranks.append(Self.noRank)
        }
        for index in 0..<Swift.max(count - 1, 0) {
            pushPair(at: Int32(index), merges)
        }

        while let pair = popPair() {
            let left = Int(UInt32(truncatingIfNeeded: pair))
            // A merge nearby may have changed or taken the pair since it was pushed.
            guard ranks[left] == Int32(pair >> 32), next[left] != Self.end else { continue }
            let right = Int(next[left])
            guard let merge = merges[ids[left], ids[right]] else { continue }
            ids[left] = merge.id
            ranks[right] = Self.noRank
            ranks[left] = Self.noRank
            next[left] = next[right]
            if next[left] != Self.end {
                previous[Int(next[left])] = Int32(left)
                pushPair(at: Int32(left), merges)
            }
            if previous[left] != Self.end {
                pushPair(at: previous[left], merges)
            }
        }
        var index: Int32 = 0
        var resultCount = 0
        while index != Self.end {
            let following = next[Int(index)]
            let last = following == Self.end ? count - 1 : Int(following) - 1
            ids[resultCount] = ids[Int(index)]
            ranges[resultCount] = ranges[Int(index)].lowerBound..<ranges[last].upperBound
            resultCount += 1
            index = following
        }
        ids.removeSubrange(resultCount...)
        ranges.removeSubrange(resultCount...)
    }

    /// Puts the pair of the token at `index`, which has one after it, into the heap if it merges.
    private mutating func pushPair(at index: Int32, _ merges: MergeTable) {
        let left = Int(index)
        guard let merge = merges[ids[left], ids[Int(next[left])]] else {
            ranks[left] = Self.noRank
            return
        }
        ranks[left] = merge.rank
        heap.append(UInt64(merge.rank) << 32 | UInt64(index))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent] <= heap[child] { break }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func popPair() -> UInt64? {
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
