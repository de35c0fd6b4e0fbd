/// The tokens of pieces that came lately: one place for each hash, where the last piece stays.
///
/// Holds pieces of at most 24 bytes and 5 tokens, which are most of any text.
struct PieceCache: ~Copyable {
    private struct Entry {
        var key = Key()
        var count: Int8 = -1
        var ids: (Int32, Int32, Int32, Int32, Int32) = (0, 0, 0, 0, 0)
    }

    /// A piece's bytes with zeros behind them, and how many there are.
    struct Key: Equatable {
        fileprivate var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
        fileprivate var count: UInt8 = 0

        @inline(__always)
        static func == (left: Self, right: Self) -> Bool {
            (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1) | (left.words.2 ^ right.words.2)
                | UInt64(left.count ^ right.count) == 0
        }

        @inline(__always)
        fileprivate var hash: UInt64 {
            let mixed =
                (words.0 ^ UInt64(count)) &* 0x9E37_79B9_7F4A_7C15 ^ (words.1 &* 0xC2B2_AE3D_27D4_EB4F)
                ^ (words.2 &* 0x1656_67B1_9E37_79F9)
            return (mixed ^ mixed >> 32) &* 0xD6E8_FEB8_6659_FD93
        }
    }

    static let maximumByteCount = 24
    private static let bits: UInt64 = 13

    // Safe: owned by this value alone, `1 << bits` entries, all of them initialised, indexed by `bits` bits.
    private let entries: UnsafeMutablePointer<Entry>

    init() {
        entries = .allocate(capacity: 1 << Int(Self.bits))
        entries.initialize(repeating: Entry(), count: 1 << Int(Self.bits))
    }

    deinit {
        entries.deallocate()
    }

    /// Returns the key of a piece of at most ``maximumByteCount`` bytes.
    ///
    /// As many bytes as that must be readable, as in a ``TextBuffer``.
    @inline(__always)
    static func key(_ start: UnsafeRawPointer, count: Int) -> Key {
        func word(_ index: Int) -> UInt64 {
            let remaining = count - 8 * index
            if remaining <= 0 { return 0 }
            let word = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
            return remaining >= 8 ? word : word & (1 << UInt64(8 * remaining) - 1)
        }
        var key = Key()
        key.words.0 = word(0)
        if count > 8 { key.words = (key.words.0, word(1), word(2)) }
        key.count = UInt8(truncatingIfNeeded: count)
        return key
    }

    /// Appends the tokens of a piece, if it is here.
    @inline(__always)
    func find(_ key: Key, into ids: inout [Int32]) -> Bool {
        let entry = entries + Int(key.hash >> (64 - Self.bits))
        guard entry.pointee.count >= 0, entry.pointee.key == key else { return false }
        let found = entry.pointee.ids
        ids.append(found.0)
        if entry.pointee.count > 1 {
            ids.append(found.1)
            if entry.pointee.count > 2 { ids.append(found.2) }
            if entry.pointee.count > 3 { ids.append(found.3) }
            if entry.pointee.count > 4 { ids.append(found.4) }
        }
        return true
    }

    /// Keeps the tokens of a piece, of which there are 1 to 5.
    func insert(_ key: Key, _ ids: ArraySlice<Int32>) {
        guard let first = ids.first, ids.count <= 5 else { return }
        func id(_ index: Int) -> Int32 { index < ids.count ? ids[ids.startIndex + index] : 0 }
        entries[Int(key.hash >> (64 - Self.bits))] = Entry(
            key: key, count: Int8(truncatingIfNeeded: ids.count), ids: (first, id(1), id(2), id(3), id(4)))
    }
}
