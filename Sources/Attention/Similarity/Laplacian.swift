/// The Laplacian kernel: its logarithm -‖q - k‖₁ / b is the score, so that the weights after the softmax are
/// the kernel's values, normalised.
///
/// Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", 2007, figure 1.
public struct Laplacian: Similarity {
    /// b, in the unit of the vectors; above 0.
    public let bandwidth: Double
    private let scaleTensor: Tensor?

    /// Creates the measure.
    ///
    /// - Parameter bandwidth: b, in the unit of the vectors; above 0.
    public init(bandwidth: Double = 1) {
        self.init(bandwidth, scaleTensor: nil)
    }

    /// Creates the measure with a bandwidth that may be tracked.
    ///
    /// - Parameter bandwidth: b, one element, in the unit of the vectors; above 0.
    public init(bandwidth: Tensor) {
        self.init(bandwidth.onlyElement, scaleTensor: bandwidth.reciprocal * -1)
    }

    private init(_ bandwidth: Double, scaleTensor: Tensor?) {
        require(bandwidth > 0 && bandwidth.isFinite, "The bandwidth is \(bandwidth); it must be above 0.")
        self.bandwidth = bandwidth
        self.scaleTensor = scaleTensor
    }

    /// Returns `-‖q - k‖₁ / b`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for index in query.indices { sum += abs(query[index] - key[index]) }
        return Scalar(-1 / bandwidth) * sum
    }

    /// Returns a sum of absolute differences.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        if let scaleTensor { return ScoreForm(.absoluteDistance, scale: scaleTensor) }
        return ScoreForm(.absoluteDistance, scale: -1 / bandwidth)
    }
}

extension Similarity where Self == Laplacian {
    /// The logarithm of a Laplacian kernel.
    ///
    /// - Parameter bandwidth: b, in the unit of the vectors; above 0.
    /// - Returns: The measure.
    public static func laplacian(bandwidth: Double = 1) -> Laplacian { Laplacian(bandwidth: bandwidth) }

    /// The logarithm of a Laplacian kernel whose bandwidth may be tracked.
    ///
    /// - Parameter bandwidth: b, one element, in the unit of the vectors; above 0.
    /// - Returns: The measure.
    public static func laplacian(bandwidth: Tensor) -> Laplacian { Laplacian(bandwidth: bandwidth) }
}
