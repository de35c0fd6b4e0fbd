#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Random numbers by counter: the same seed gives the same numbers, and the place in the stream is one number that a
/// checkpoint can hold.
///
/// SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014): the n-th number is a mix of
/// `seed + n · γ`, and does not need those before it.
public struct RandomStream: RandomNumberGenerator, Sendable, Hashable {
    /// Which stream it is.
    public let seed: UInt64
    /// How many numbers were taken.
    public private(set) var position: UInt64

    /// Creates a stream.
    ///
    /// - Parameters:
    ///   - seed: Which stream it is.
    ///   - position: How many numbers were taken already.
    public init(seed: UInt64, position: UInt64 = 0) {
        self.seed = seed
        self.position = position
    }

    /// Returns the next number.
    ///
    /// - Returns: 64 random bits.
    public mutating func next() -> UInt64 {
        defer { position &+= 1 }
        return number(0)
    }

    /// Returns one of the numbers to come, without taking it.
    ///
    /// - Parameter index: 0 is what ``next()`` would return.
    /// - Returns: 64 random bits.
    func number(_ index: Int) -> UInt64 {
        let place = position &+ UInt64(truncatingIfNeeded: index) &+ 1
        return Self.mixed(Self.mixed(seed) &+ place &* 0x9E37_79B9_7F4A_7C15)
    }

    /// Takes numbers all at once.
    ///
    /// - Parameter count: How many.
    /// - Returns: The stream before they were taken, to look them up in: see ``number(_:)``.
    mutating func take(_ count: Int) -> RandomStream {
        defer { position &+= UInt64(truncatingIfNeeded: count) }
        return self
    }

    /// Returns a stream of its own for a part, such as a step or a layer.
    ///
    /// - Parameter part: Which part.
    /// - Returns: A stream whose numbers have nothing to do with this one's.
    public func stream(for part: UInt64) -> RandomStream {
        RandomStream(seed: Self.mixed(seed ^ Self.mixed(part &+ 0x632B_E59B_D9B4_E019)))
    }

    private static func mixed(_ bits: UInt64) -> UInt64 {
        var mixed = bits
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to less than 1, evenly distributed.
    ///
    /// - Returns: A multiple of 2⁻⁵³.
    public mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Returns numbers from `-bound` to `bound`, evenly distributed.
    ///
    /// - Parameters:
    ///   - shape: The extent of each dimension.
    ///   - bound: The largest magnitude.
    /// - Returns: A float32 tensor.
    public mutating func uniform(_ shape: [Int], bound: Double) -> Tensor {
        let values = (0..<shape.reduce(1, *)).map { _ in
            Float((2 * fraction() - 1) * bound)
        }
        return Tensor(values, shape: shape)
    }

    /// Returns normally distributed numbers of mean 0.
    ///
    /// Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    ///
    /// - Parameters:
    ///   - shape: The extent of each dimension.
    ///   - deviation: The standard deviation.
    /// - Returns: A float32 tensor.
    public mutating func normal(_ shape: [Int], deviation: Double) -> Tensor {
        let values = (0..<shape.reduce(1, *)).map { _ in
            // From above 0, so that the logarithm is finite.
            let radius = (-2 * Double.log(fraction() + 0x1p-53)).squareRoot()
            let angle = 2 * Double.pi * fraction()
            return Float(deviation * radius * cos(angle))
        }
        return Tensor(values, shape: shape)
    }
}
