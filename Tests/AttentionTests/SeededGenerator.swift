import Attention

/// Random numbers that are the same in every run: SplitMix64.
///
/// Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014.
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

    /// Returns numbers spread evenly over a range.
    mutating func numbers(_ count: Int, in range: ClosedRange<Double> = -2...2) -> [Double] {
        (0..<count).map { _ in
            range.lowerBound + Double(next() >> 11) * 0x1p-53 * (range.upperBound - range.lowerBound)
        }
    }

    /// Returns a tensor of numbers spread evenly over a range, rounded to the type.
    mutating func tensor(
        _ shape: [Int], in range: ClosedRange<Double> = -2...2, as type: ElementType = .float32
    ) -> Tensor {
        Tensor(numbers(shape.reduce(1, *), in: range), shape: shape).converted(to: type)
    }

    /// Returns booleans of which about three in four are true.
    mutating func booleans(_ shape: [Int]) -> Tensor {
        Tensor((0..<shape.reduce(1, *)).map { _ in next() % 4 != 0 }, shape: shape)
    }
}
