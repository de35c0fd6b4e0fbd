/// The upper half of a `Float`: its range with 8 significant bits.
public struct BFloat16: Sendable, Hashable {
    /// Sign, 8 bits of exponent, 7 of significand.
    public var bitPattern: UInt16

    /// Creates a number from its bits.
    public init(bitPattern: UInt16) {
        self.bitPattern = bitPattern
    }

    /// Creates the nearest number, ties to even; NaN stays NaN.
    public init(_ value: Float) {
        let bits = value.bitPattern
        if value.isNaN {
            // Rounding could carry a NaN's payload into infinity: keep its top and set the quiet bit.
            bitPattern = UInt16(truncatingIfNeeded: bits >> 16) | 0x0040
        } else {
            // An addend of one half, less one unit where the kept part is even, rounds ties to even.
            bitPattern = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
        }
    }
}

extension Float {
    /// Creates the same number.
    public init(_ value: BFloat16) {
        self.init(bitPattern: UInt32(value.bitPattern) << 16)
    }
}
