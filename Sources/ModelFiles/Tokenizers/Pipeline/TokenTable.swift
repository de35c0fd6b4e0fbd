/// Texts of tokens by ID, where IDs may be missing, and IDs by text, compared by bytes.
struct TokenTable: Sendable {
    /// All texts' bytes, one after another; token i has `starts[i]..<starts[i + 1]`.
    private var bytes: [UInt8] = []
    private var starts: [Int] = [0]
    private var isPresent: [Bool] = []
    /// Open addressing with linear probing: an ID, or -1 for a free slot.
    ///
    /// `Hasher` is seeded anew in every process, so a file cannot be made to collide.
    private var slots: [Int32]

    /// Creates a table of the given texts, of which the last counts where several are the same.
    init(_ texts: [[UInt8]?]) {
        var slotCount = 16
        while slotCount < 2 * texts.count { slotCount *= 2 }
        slots = [Int32](repeating: -1, count: slotCount)
        starts.reserveCapacity(texts.count + 1)
        isPresent.reserveCapacity(texts.count)
        for (id, text) in texts.enumerated() {
            if let text { bytes += text }
            starts.append(bytes.count)
            isPresent.append(text != nil)
            guard let text else { continue }
            let place = text.withUnsafeBytes { slot(of: $0) }
            slots[place] = Int32(truncatingIfNeeded: id)
        }
    }

    /// One more than the largest ID.
    var count: Int { isPresent.count }

    /// Returns a token's text, or `nil` where there is no such token.
    subscript(id: Int) -> ArraySlice<UInt8>? {
        guard id >= 0, id < count, isPresent[id] else { return nil }
        return bytes[starts[id]..<starts[id + 1]]
    }

    /// Returns the ID of the token with this text, or -1.
    func id(of text: UnsafeRawBufferPointer) -> Int32 {
        slots[slot(of: text)]
    }

    /// Returns the ID of the token with this text, or -1.
    func id(of text: some Sequence<UInt8>) -> Int32 {
        Array(text).withUnsafeBytes { id(of: $0) }
    }

    /// The slot that holds the token with this text, or the free one where it belongs.
    private func slot(of text: UnsafeRawBufferPointer) -> Int {
        var hasher = Hasher()
        hasher.combine(bytes: text)
        let mask = slots.count - 1
        var slot = hasher.finalize() & mask
        // At least half of the slots are free, so the walk ends.
        while slots[slot] >= 0, !isText(Int(slots[slot]), text) {
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func isText(_ id: Int, _ text: UnsafeRawBufferPointer) -> Bool {
        let start = starts[id]
        guard starts[id + 1] - start == text.count else { return false }
        for index in 0..<text.count where bytes[start + index] != text[index] { return false }
        return true
    }
}
