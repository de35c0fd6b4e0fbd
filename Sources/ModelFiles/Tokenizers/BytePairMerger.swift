/// Merges the tokens of one piece of text, pair by pair, until no pair merges.
///
/// Always takes the pair of lowest rank, of several the leftmost (Sennrich et al., "Neural Machine Translation
/// of Rare Words with Subword Units", 2016, arXiv:1508.07909). The tokens are a linked list and the pairs that
/// merge a heap, so a piece of *n* bytes takes O(*n* log *n*), however hostile. One merger serves many pieces,
/// and keeps its memory.
struct BytePairMerger {
    private static let end: Int32 = -1
    private static let noRank: Int32 = -1

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
        mergeAll(by: merges)
        var index = ids.isEmpty ? Self.end : 0
        while index != Self.end {
            let following = next[Int(index)]
            let last = following == Self.end ? ids.count - 1 : Int(following) - 1
            body(ids[Int(index)], ranges[Int(index)].lowerBound..<ranges[last].upperBound)
            index = following
        }
    }

    private mutating func mergeAll(by merges: MergeTable) {
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
