/// What a fuzzer calls with bytes, again and again.
///
/// A finding is a trap: of the code itself, of AddressSanitizer, or of ``hold(_:_:)``, where something is not as promised.
public struct FuzzTarget: Sendable {
    /// The name on the command line, and of the folder of its seeds and findings.
    public let name: String
    /// Longer inputs find nothing more, and take longer.
    public let maximumByteCount: Int
    /// Reads an input.
    public let run: @Sendable (UnsafeRawBufferPointer) -> Void
    /// Returns an input changed in one place so that it keeps its form, or `nil` where it has none.
    public let mutate: @Sendable ([UInt8], inout FuzzRandom) -> [UInt8]?
    /// Inputs to begin with, by name.
    public let seeds: @Sendable () -> [(name: String, bytes: [UInt8])]

    package init(
        _ name: String, maximumByteCount: Int, seeds: @escaping @Sendable () -> [(name: String, bytes: [UInt8])],
        mutate: @escaping @Sendable ([UInt8], inout FuzzRandom) -> [UInt8]?,
        run: @escaping @Sendable (UnsafeRawBufferPointer) -> Void
    ) {
        self.name = name
        self.maximumByteCount = maximumByteCount
        self.seeds = seeds
        self.mutate = mutate
        self.run = run
    }

    /// Stops the program where a promise is broken.
    package static func hold(_ promise: Bool, _ message: @autoclosure () -> String) {
        // Unlike others, this keeps its message where code is optimised.
        if !promise { fatalError(message()) }
    }
}

/// Random numbers that follow from a seed: SplitMix64, by Steele, Lea and Flood, 2014.
public struct FuzzRandom: RandomNumberGenerator {
    private var state: UInt64

    /// Creates the stream of a seed.
    public init(seed: UInt64) {
        state = seed
    }

    /// Returns the next number.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Returns whether something happens that does so one time in `count`.
    package mutating func oneIn(_ count: UInt64) -> Bool { next() % count == 0 }

    /// Returns a place among `count`, which is above 0.
    package mutating func index(_ count: Int) -> Int { Int(next() % UInt64(count)) }

    /// Returns one of some choices, which there are.
    package mutating func pick<Choice>(_ choices: [Choice]) -> Choice { choices[index(choices.count)] }

    /// Numbers at which arithmetic goes wrong.
    package mutating func edge() -> UInt64 {
        let near = UInt64(truncatingIfNeeded: Int64(index(3)) - 1)
        return oneIn(3) ? next() % 300 : (oneIn(8) ? next() : 1 << (next() % 64)) &+ near
    }
}
