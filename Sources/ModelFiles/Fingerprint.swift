/// A number of 128 bits that tells whether bytes are the ones seen before.
///
/// FNV-1a (Fowler, Noll and Vo; "The FNV Non-Cryptographic Hash Algorithm", draft-eastlake-fnv): each byte is combined
/// with `hash = (hash ^ byte) * (2^88 + 0x13B)`. Every step is a bijection of the hash, so that two texts which differ
/// in one byte always differ in their fingerprints. It finds damage and change, not fraud: who wants two texts with
/// one fingerprint can make them.
public struct Fingerprint: Hashable, Sendable, CustomStringConvertible {
    private var high: UInt64 = 0x6C62_272E_07BB_0142
    private var low: UInt64 = 0x62B8_2175_6295_C58D

    /// Creates the fingerprint of no bytes.
    public init() {}

    /// Creates the fingerprint of the given bytes.
    public init(of bytes: some Sequence<UInt8>) {
        for byte in bytes { combine(byte) }
    }

    /// Creates the fingerprint that ``description`` has written, or `nil` when the text is not 32 hexadecimal digits.
    public init?(_ description: String) {
        let digits = Array(description.utf8)
        guard digits.count == 32, digits.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 }),
            let high = UInt64(String(decoding: digits[..<16], as: UTF8.self), radix: 16),
            let low = UInt64(String(decoding: digits[16...], as: UTF8.self), radix: 16)
        else { return nil }
        self.high = high
        self.low = low
    }

    /// The number in 32 lower-case hexadecimal digits.
    public var description: String {
        [high, low].map { half in
            let digits = String(half, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    /// Goes on with bytes that follow those seen so far.
    ///
    /// - Complexity: O(*n*), about 2 ns per byte.
    public mutating func combine(bytes: UnsafeRawBufferPointer) {
        for byte in bytes { combine(byte) }
    }

    /// Goes on with a number, as its eight bytes from the lowest on.
    public mutating func combine(_ number: Int) {
        withUnsafeBytes(of: UInt64(bitPattern: Int64(number)).littleEndian) { combine(bytes: $0) }
    }

    @inline(__always)
    private mutating func combine(_ byte: UInt8) {
        low ^= UInt64(byte)
        let (carry, product) = low.multipliedFullWidth(by: 0x13B)
        // 2^88 times the hash leaves its low 40 bits, 24 places up in the high half.
        high = high &* 0x13B &+ carry &+ low << 24
        low = product
    }
}
