/// How often each piece of the texts occurs, the pieces in the order in which they were first seen.
struct WordCounts: Sendable {
    /// All words' bytes, one after another; word i has `starts[i]..<starts[i + 1]`.
    private(set) var bytes: [UInt8] = []
    private(set) var starts: [Int] = [0]
    private(set) var counts: [Int] = []

    /// Open addressing with linear probing: the index of a word, or -1 for a free slot.
    ///
    /// `Hasher` is seeded anew in every process; the order of the words does not depend on it.
    private var slots = [Int32](repeating: -1, count: 1 << 12)

    var count: Int { counts.count }

    /// Counts one more occurrence of a word.
    mutating func add(_ word: UnsafeRawBufferPointer) {
        let slot = slot(of: word)
        if slots[slot] >= 0 {
            counts[Int(slots[slot])] += 1
            return
        }
        slots[slot] = Int32(truncatingIfNeeded: count)
        bytes.append(contentsOf: word)
        starts.append(bytes.count)
        counts.append(1)
        if 2 * count > slots.count { grow() }
    }

    private mutating func grow() {
        slots = [Int32](repeating: -1, count: 2 * slots.count)
        bytes.withUnsafeBytes { bytes in
            for index in 0..<counts.count {
                let word = UnsafeRawBufferPointer(rebasing: bytes[starts[index]..<starts[index + 1]])
                slots[slot(of: word)] = Int32(truncatingIfNeeded: index)
            }
        }
    }

    /// The slot that holds the word, or the free one where it belongs.
    private func slot(of word: UnsafeRawBufferPointer) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: word)
        let mask = slots.count - 1
        var slot = hasher.finalize() & mask
        // At least half of the slots are free, so the walk ends.
        while slots[slot] >= 0, !isWord(Int(slots[slot]), word) {
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func isWord(_ index: Int, _ word: UnsafeRawBufferPointer) -> Bool {
        let start = starts[index]
        guard starts[index + 1] - start == word.count else { return false }
        for offset in 0..<word.count where bytes[start + offset] != word[offset] { return false }
        return true
    }
}
