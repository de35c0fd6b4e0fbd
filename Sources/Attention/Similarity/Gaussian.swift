/// The Gaussian kernel: its logarithm -‖q - k‖² / (2σ²) is the score, so that the weights after the softmax
/// are the kernel's values, normalised.
///
/// Nadaraya, "On Estimating Regression", 1964; Watson, "Smooth Regression Analysis", 1964.
public struct Gaussian: Similarity {
    /// σ, in the unit of the vectors; above 0.
    public let bandwidth: Double
    private let euclidean: Euclidean

    /// Creates the measure.
    ///
    /// - Parameter bandwidth: σ, in the unit of the vectors; above 0.
    public init(bandwidth: Double = 1) {
        self.init(bandwidth, Euclidean(scale: 1 / (2 * bandwidth * bandwidth)))
    }

    /// Creates the measure with a bandwidth that may be tracked.
    ///
    /// - Parameter bandwidth: σ, one element, in the unit of the vectors; above 0.
    public init(bandwidth: Tensor) {
        let reciprocal = bandwidth.reciprocal
        self.init(bandwidth.onlyElement, Euclidean(scale: reciprocal * reciprocal * 0.5))
    }

    private init(_ bandwidth: Double, _ euclidean: Euclidean) {
        require(bandwidth > 0 && bandwidth.isFinite, "The bandwidth is \(bandwidth); it must be above 0.")
        self.bandwidth = bandwidth
        self.euclidean = euclidean
    }

    /// Returns `-‖q - k‖² / (2σ²)`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        euclidean.score(query: query, key: key)
    }

    /// Returns a sum of squared differences.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        euclidean.form(queryDimension: queryDimension)
    }
}

extension Similarity where Self == Gaussian {
    /// The logarithm of a Gaussian kernel.
    ///
    /// - Parameter bandwidth: σ, in the unit of the vectors; above 0.
    /// - Returns: The measure.
    public static func gaussian(bandwidth: Double = 1) -> Gaussian { Gaussian(bandwidth: bandwidth) }

    /// The logarithm of a Gaussian kernel whose bandwidth may be tracked.
    ///
    /// - Parameter bandwidth: σ, one element, in the unit of the vectors; above 0.
    /// - Returns: The measure.
    public static func gaussian(bandwidth: Tensor) -> Gaussian { Gaussian(bandwidth: bandwidth) }
}
