/// How often each piece of the texts occurs, the pieces in the order in which they were first seen.
struct WordCounts: Sendable {
    private(set) var words = ByteStrings(capacity: 1 << 11)
    private(set) var counts: [Int] = []

    var count: Int { counts.count }

    /// Counts one more occurrence of a word.
    mutating func add(_ word: UnsafeRawBufferPointer) {
        let known = words.number(of: word)
        if known >= 0 {
            counts[Int(known)] += 1
            return
        }
        words.append(word)
        words.indexLast()
        counts.append(1)
    }
}
