/// Which pairs of tokens merge into which token, and in which order.
struct MergeTable: Sendable {
    /// A merge: its rank, the lowest first, and the token it makes.
    struct Merge {
        let rank: Int32
        let id: Int32
    }

    fileprivate struct Slot {
        var pair: UInt64
        var merge: Merge
    }

    /// No pair of IDs is this, since IDs are not negative.
    fileprivate static let free = UInt64.max

    /// Open addressing with linear probing.
    private var slots: [Slot]
    private let shift: UInt64
    /// Multiplying by a random odd number makes a hash that a file cannot be made to collide in
    /// (Dietzfelbinger et al., "A Reliable Randomized Algorithm for the Closest-Pair Problem", 1997).
    private let multiplier: UInt64

    /// Creates an empty table with room for `capacity` merges.
    init(capacity: Int) {
        var bits: UInt64 = 4
        while 1 << bits < 2 * capacity { bits += 1 }
        slots = [Slot](
            repeating: Slot(pair: Self.free, merge: Merge(rank: -1, id: -1)), count: 1 << bits)
        shift = 64 - bits
        multiplier = UInt64.random(in: 0 ... .max) | 1
    }

    /// Adds a merge, of which at most `capacity` may be added; the first of a pair counts.
    mutating func insert(left: Int32, right: Int32, _ merge: Merge) {
        let pair = Self.pair(left, right)
        if let slot = withLookup({ $0.slot(of: pair) }), slots[slot].pair == Self.free {
            slots[slot] = Slot(pair: pair, merge: merge)
        }
    }

    /// The table's slots at one place, for a piece's many look-ups.
    struct Lookup {
        // Safe: valid within `withLookup` alone; a slot's index is below the number of slots, a power of two.
        fileprivate let slots: UnsafePointer<Slot>
        fileprivate let mask: Int
        fileprivate let shift: UInt64
        fileprivate let multiplier: UInt64

        /// Returns the merge of two tokens, or `nil` when they do not merge.
        @inline(__always)
        subscript(left: Int32, right: Int32) -> Merge? {
            let pair = MergeTable.pair(left, right)
            let slot = slots[slot(of: pair)]
            return slot.pair == pair ? slot.merge : nil
        }

        /// The slot that holds the pair, or the free one where it belongs.
        @inline(__always)
        fileprivate func slot(of pair: UInt64) -> Int {
            var slot = Int(truncatingIfNeeded: (pair &* multiplier) >> shift)
            // At least half of the slots are free, so the walk ends.
            while slots[slot].pair != pair, slots[slot].pair != MergeTable.free { slot = (slot &+ 1) & mask }
            return slot
        }
    }

    /// Calls `body` with the slots.
    @inline(__always)
    func withLookup<Result>(_ body: (Lookup) -> Result) -> Result? {
        slots.withUnsafeBufferPointer { slots in
            slots.baseAddress.map {
                body(Lookup(slots: $0, mask: slots.count - 1, shift: shift, multiplier: multiplier))
            }
        }
    }

    /// All merges, the lowest rank first.
    var inOrder: [(left: Int32, right: Int32, merge: Merge)] {
        slots.filter { $0.pair != Self.free }.sorted { $0.merge.rank < $1.merge.rank }.map { slot in
            (Int32(truncatingIfNeeded: slot.pair >> 32), Int32(truncatingIfNeeded: slot.pair), slot.merge)
        }
    }

    fileprivate static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }
}
