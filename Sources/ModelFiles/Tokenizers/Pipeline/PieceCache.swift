/// The tokens of pieces that came lately: two places for each hash, where the last two pieces stay.
///
/// Holds pieces of at most 24 bytes and 9 tokens, which are most of any text. An entry is one line of the processor's
/// cache: three words of the piece's bytes with zeros behind them, then 32 bits with how many bytes and tokens there are,
/// then the tokens.
struct PieceCache: ~Copyable {
    /// A piece's bytes, and how many there are.
    struct Key {
        fileprivate var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
        fileprivate var byteCount: UInt32 = 0

        @inline(__always)
        fileprivate var hash: UInt64 {
            let mixed =
                (words.0 ^ UInt64(byteCount)) &* 0x9E37_79B9_7F4A_7C15 ^ (words.1 &* 0xC2B2_AE3D_27D4_EB4F)
                ^ (words.2 &* 0x1656_67B1_9E37_79F9)
            return (mixed ^ mixed >> 32) &* 0xD6E8_FEB8_6659_FD93
        }
    }

    static let maximumByteCount = 24
    private static let maximumTokenCount = 9
    private static let entryByteCount = 64
    /// There are two entries for each of so many bits.
    private static let bits: UInt64 = 13

    // Safe: owned by this value alone, `2 << bits` entries of 64 bytes, all of them initialised, indexed by `bits` bits.
    private let entries: UnsafeMutableRawPointer

    init() {
        let byteCount = Self.entryByteCount * 2 << Int(Self.bits)
        entries = .allocate(byteCount: byteCount, alignment: Self.entryByteCount)
        // No piece has 0 bytes, so that no key is equal to an empty entry.
        entries.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

    deinit {
        entries.deallocate()
    }

    /// Returns the key of a piece of 1 to ``maximumByteCount`` bytes.
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
        key.byteCount = UInt32(truncatingIfNeeded: count)
        return key
    }

    @inline(__always)
    private func firstEntry(_ key: Key) -> UnsafeMutableRawPointer {
        entries + Int(key.hash >> (64 - Self.bits)) * 2 * Self.entryByteCount
    }

    /// Appends the tokens of a piece, if it is here.
    @inline(__always)
    func find(_ key: Key, into ids: inout [Int32]) -> Bool {
        let first = firstEntry(key)
        return find(key, first, into: &ids) || find(key, first + Self.entryByteCount, into: &ids)
    }

    @inline(__always)
    private func find(_ key: Key, _ entry: UnsafeMutableRawPointer, into ids: inout [Int32]) -> Bool {
        let counts = entry.load(fromByteOffset: 24, as: UInt32.self)
        let difference =
            (entry.load(as: UInt64.self) ^ key.words.0)
            | (entry.load(fromByteOffset: 8, as: UInt64.self) ^ key.words.1)
            | (entry.load(fromByteOffset: 16, as: UInt64.self) ^ key.words.2)
        guard difference == 0, counts & 0xFF == key.byteCount else { return false }
        var count = Int(counts >> 8)
        var offset = 28
        while count > 0 {
            ids.append(entry.load(fromByteOffset: offset, as: Int32.self))
            offset += 4
            count -= 1
        }
        return true
    }

    /// Keeps the tokens of a piece, if there are few enough; of the two that are there the older one goes.
    func insert(_ key: Key, _ ids: ArraySlice<Int32>) {
        guard ids.count <= Self.maximumTokenCount else { return }
        let first = firstEntry(key)
        (first + Self.entryByteCount).copyMemory(from: first, byteCount: Self.entryByteCount)
        first.storeBytes(of: key.words.0, as: UInt64.self)
        first.storeBytes(of: key.words.1, toByteOffset: 8, as: UInt64.self)
        first.storeBytes(of: key.words.2, toByteOffset: 16, as: UInt64.self)
        first.storeBytes(of: key.byteCount | UInt32(ids.count) << 8, toByteOffset: 24, as: UInt32.self)
        for (index, id) in ids.enumerated() {
            first.storeBytes(of: id, toByteOffset: 28 + 4 * index, as: Int32.self)
        }
    }
}
