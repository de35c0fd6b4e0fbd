/// The negative squared Euclidean distance -‖q - k‖², times a scale.
///
/// Computed from the differences, not as 2 q·k - ‖q‖² - ‖k‖²: that cancels where query and key are close
/// compared with their norms, and its error would then exceed a plain loop's many times over.
///
/// Kim et al., "The Lipschitz Constant of Self-Attention", 2021 (arXiv:2006.04710), section 3.2.
public struct Euclidean: Similarity {
    /// Multiplies the squared distance, before the sign.
    public var scale: Double { didSet { scaleTensor = nil } }
    private var scaleTensor: Tensor?

    /// Creates the measure.
    ///
    /// - Parameter scale: Multiplies the squared distance; 1 by default.
    public init(scale: Double = 1) {
        self.scale = scale
    }

    /// Creates the measure with a scale that may be tracked.
    ///
    /// - Parameter scale: One element, which multiplies the squared distance.
    public init(scale: Tensor) {
        self.scale = scale.onlyElement
        scaleTensor = scale
    }

    /// Returns `-scale · ‖q - k‖²`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for index in query.indices {
            let difference = query[index] - key[index]
            sum += difference * difference
        }
        return Scalar(-scale) * sum
    }

    /// Returns a sum of squared differences.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        if let scaleTensor { return ScoreForm(.squaredDistance, scale: scaleTensor * -1) }
        return ScoreForm(.squaredDistance, scale: -scale)
    }
}

extension Similarity where Self == Euclidean {
    /// The negative squared Euclidean distance.
    public static var negativeSquaredEuclidean: Euclidean { Euclidean() }
    /// The negative squared Euclidean distance times a scale.
    ///
    /// - Parameter scale: Multiplies the squared distance.
    /// - Returns: The measure.
    public static func negativeSquaredEuclidean(scale: Double) -> Euclidean { Euclidean(scale: scale) }
    /// The negative squared Euclidean distance times a scale that may be tracked.
    ///
    /// - Parameter scale: One element, which multiplies the squared distance.
    /// - Returns: The measure.
    public static func negativeSquaredEuclidean(scale: Tensor) -> Euclidean { Euclidean(scale: scale) }
}
