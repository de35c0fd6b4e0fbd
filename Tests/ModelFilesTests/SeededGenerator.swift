/// SplitMix64 (Steele et al., 2014): the same numbers in every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Damages files as fuzzers do: small and large overwrites, and ranges that go missing or come twice.
struct Mutator {
    var generator: SeededGenerator

    /// Lengths, counts and offsets at which arithmetic breaks.
    private static let extremes: [UInt64] = [
        0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000,
        0xFFFF_FFFF,
        0x1_0000_0000, 0x3FFF_FFFF, 0x4000_0000, 0x4000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF,
        0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFE0, 0xFFFF_FFFF_FFFF_FFFF,
    ]

    /// Returns `bytes` with one to four changes.
    mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            guard bytes.count > 8 else { return bytes }
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            let end = min(bytes.count, place + Int.random(in: 1...24, using: &generator))
            switch Int.random(in: 0..<7, using: &generator) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: bytes[place] = UInt8.random(in: 0 ... .max, using: &generator)
            case 2, 3: overwrite(&bytes, at: place, width: 8)
            case 4: overwrite(&bytes, at: place, width: 4)
            case 5: bytes.removeSubrange(place..<end)
            default: bytes.insert(contentsOf: bytes[place..<end], at: place)
            }
        }
        return bytes
    }

    private mutating func overwrite(_ bytes: inout [UInt8], at place: Int, width: Int) {
        let value = Self.extremes[Int.random(in: 0..<Self.extremes.count, using: &generator)]
        for index in 0..<min(width, bytes.count - place) {
            bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
