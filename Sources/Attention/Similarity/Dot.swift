/// The dot product q·k times a scale; with 1/√D the measure of the Transformer.
///
/// Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762), equation 1.
public struct Dot: Similarity {
    /// Multiplies the dot product: any number, negative and zero too; `nil` means `1 / √D`.
    public var scale: Double? { didSet { scaleTensor = nil } }
    private var scaleTensor: Tensor?

    /// Creates the measure.
    ///
    /// - Parameter scale: Multiplies the dot product; `nil` means `1 / √D`.
    public init(scale: Double? = nil) {
        self.scale = scale
    }

    /// Creates the measure with a scale that may be tracked.
    ///
    /// - Parameter scale: One element, which multiplies the dot product.
    public init(scale: Tensor) {
        self.scale = scale.onlyElement
        scaleTensor = scale
    }

    private func scale(dimension: Int) -> Double {
        scale ?? 1 / Double(max(1, dimension)).squareRoot()
    }

    /// Returns `scale · q·k`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        Scalar(scale(dimension: query.count)) * query.dot(key)
    }

    /// Returns a product of the vectors as they are.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        if let scaleTensor { return ScoreForm(.product, scale: scaleTensor) }
        return ScoreForm(.product, scale: scale(dimension: queryDimension))
    }
}

extension Similarity where Self == Dot {
    /// The dot product q·k.
    public static var dot: Dot { Dot(scale: 1) }
    /// The dot product divided by √D.
    public static var scaledDotProduct: Dot { Dot() }
    /// The dot product times a scale.
    ///
    /// - Parameter scale: Any number, negative and zero too.
    /// - Returns: The measure.
    public static func scaledDotProduct(scale: Double) -> Dot { Dot(scale: scale) }
    /// The dot product times a scale that may be tracked.
    ///
    /// - Parameter scale: One element, any number.
    /// - Returns: The measure.
    public static func scaledDotProduct(scale: Tensor) -> Dot { Dot(scale: scale) }
}
