/// Strings of bytes, numbered in the order in which they were appended, and found again by their bytes.
struct ByteStrings: Sendable {
    /// All strings' bytes, one after another; string i has `starts[i]..<starts[i + 1]`.
    private(set) var bytes: [UInt8] = []
    private(set) var starts: [Int] = [0]
    /// Open addressing with linear probing: a number, or -1 for a free slot.
    ///
    /// `Hasher` is seeded anew in every process, so a file cannot be made to collide, and no order depends on it.
    private var slots: [Int32]
    /// How many slots are taken.
    private var indexedCount = 0

    /// Creates an empty collection with room for so many strings; more is taken when it is needed.
    init(capacity: Int = 0) {
        var slotCount = 16
        while slotCount < 2 * capacity { slotCount *= 2 }
        slots = [Int32](repeating: -1, count: slotCount)
        starts.reserveCapacity(capacity + 1)
    }

    var count: Int { starts.count - 1 }

    subscript(index: Int) -> ArraySlice<UInt8> { bytes[starts[index]..<starts[index + 1]] }

    /// Returns the number of the string with these bytes that ``indexLast()`` was called for, or -1.
    func number(of key: UnsafeRawBufferPointer) -> Int32 { slots[slot(of: key)] }

    /// Appends a string, which is not found before ``indexLast()`` is called.
    mutating func append(_ string: some Collection<UInt8>) {
        bytes.append(contentsOf: string)
        starts.append(bytes.count)
    }

    /// Appends what `write` appends to the bytes.
    mutating func append<Result>(_ write: (inout [UInt8]) -> Result) -> Result {
        let result = write(&bytes)
        starts.append(bytes.count)
        return result
    }

    /// Lets the bytes of the last string lead to it.
    ///
    /// - Returns: The number of the string that they led to before, or -1.
    @discardableResult
    mutating func indexLast() -> Int32 {
        if 2 * indexedCount >= slots.count { grow() }
        let slot = slot(ofString: count - 1)
        let former = slots[slot]
        if former < 0 { indexedCount += 1 }
        slots[slot] = Int32(truncatingIfNeeded: count - 1)
        return former
    }

    private mutating func grow() {
        let numbers = slots.filter { $0 >= 0 }
        slots = [Int32](repeating: -1, count: 2 * slots.count)
        for number in numbers { slots[slot(ofString: Int(number))] = number }
    }

    private func slot(ofString index: Int) -> Int {
        bytes.withUnsafeBytes { slot(of: UnsafeRawBufferPointer(rebasing: $0[starts[index]..<starts[index + 1]])) }
    }

    /// The slot that holds the string with these bytes, or the free one where it belongs.
    private func slot(of key: UnsafeRawBufferPointer) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: key)
        let mask = slots.count - 1
        var slot = hasher.finalize() & mask
        // At least half of the slots are free, so the walk ends.
        while slots[slot] >= 0, !isString(Int(slots[slot]), key) {
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func isString(_ index: Int, _ key: UnsafeRawBufferPointer) -> Bool {
        let start = starts[index]
        guard starts[index + 1] - start == key.count else { return false }
        for offset in 0..<key.count where bytes[start + offset] != key[offset] { return false }
        return true
    }
}
