/// SplitMix64 (Steele et al., 2014): the same numbers in every run.
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Returns numbers from `-bound` to `bound`.
    package mutating func floats(_ count: Int, bound: Float = 1) -> [Float] {
        (0..<count).map { _ in Float.random(in: -bound...bound, using: &self) }
    }
}

extension SeededGenerator {
    /// Lengths, counts and offsets at which arithmetic breaks.
    private static let extremes: [UInt64] = [
        0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
        0x1_0000_0000, 0x3FFF_FFFF, 0x4000_0000, 0x7FC0_0000, 0x7F80_0000, 0x4000_0000_0000_0000,
        0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFE0, 0xFFFF_FFFF_FFFF_FFFF,
    ]

    /// Returns `bytes` with one to four changes of the kinds that fuzzers make, the first of each within `range`.
    package mutating func mutation(of bytes: [UInt8], in range: Range<Int>) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &self) {
            let place = min(Int.random(in: range, using: &self), bytes.count - 1)
            guard place >= 0 else { return bytes }
            let end = min(bytes.count, place + Int.random(in: 1...24, using: &self))
            switch Int.random(in: 0..<8, using: &self) {
            case 0, 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 2: bytes[place] = UInt8.random(in: 0 ... .max, using: &self)
            case 3, 4: overwrite(&bytes, at: place, width: 4)
            case 5: overwrite(&bytes, at: place, width: 8)
            case 6: bytes.removeSubrange(place..<end)
            default: bytes.insert(contentsOf: bytes[place..<end], at: place)
            }
        }
        return bytes
    }

    private mutating func overwrite(_ bytes: inout [UInt8], at place: Int, width: Int) {
        let value = Self.extremes[Int.random(in: 0..<Self.extremes.count, using: &self)]
        for index in 0..<min(width, bytes.count - place) {
            bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
