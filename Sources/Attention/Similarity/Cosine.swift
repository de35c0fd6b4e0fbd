/// The cosine of the angle between query and key, divided by a temperature.
///
/// A zero vector has cosine 0 with everything.
///
/// Graves et al., "Neural Turing Machines", 2014 (arXiv:1410.5401), equation 6, with the temperature 1/β.
public struct Cosine: Similarity {
    /// Divides the cosine: not 0; the smaller, the sharper.
    public let temperature: Double
    private let scaleTensor: Tensor?

    /// Creates the measure.
    ///
    /// - Parameter temperature: Divides the cosine; not 0.
    public init(temperature: Double = 1) {
        self.init(temperature, scaleTensor: nil)
    }

    /// Creates the measure with a temperature that may be tracked.
    ///
    /// - Parameter temperature: One element, which divides the cosine; not 0.
    public init(temperature: Tensor) {
        self.init(temperature.onlyElement, scaleTensor: temperature.reciprocal)
    }

    private init(_ temperature: Double, scaleTensor: Tensor?) {
        require(temperature != 0 && temperature.isFinite, "The temperature is \(temperature); it must not be 0.")
        self.temperature = temperature
        self.scaleTensor = scaleTensor
    }

    /// Returns `q·k / (‖q‖ ‖k‖) / temperature`.
    ///
    /// - Parameters:
    ///   - query: `[D]`.
    ///   - key: `[D]`.
    /// - Returns: The score.
    public func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        let (queryNorm, keyNorm) = (query.dot(query).squareRoot(), key.dot(key).squareRoot())
        if queryNorm == 0 || keyNorm == 0 { return 0 }
        var sum: Scalar = 0
        // Each vector is normalised first: a product of the norms could overflow.
        for index in query.indices { sum += (query[index] / queryNorm) * (key[index] / keyNorm) }
        return sum / Scalar(temperature)
    }

    /// Returns a product of the normalised vectors.
    ///
    /// - Parameter queryDimension: `D`.
    /// - Returns: The form.
    public func form(queryDimension: Int) -> ScoreForm {
        if let scaleTensor {
            return ScoreForm(.product, queries: .normalized, keys: .normalized, scale: scaleTensor)
        }
        return ScoreForm(.product, queries: .normalized, keys: .normalized, scale: 1 / temperature)
    }
}

extension Similarity where Self == Cosine {
    /// The cosine of the angle between query and key, divided by a temperature.
    ///
    /// - Parameter temperature: Not 0; the smaller, the sharper.
    /// - Returns: The measure.
    public static func cosine(temperature: Double = 1) -> Cosine { Cosine(temperature: temperature) }

    /// The cosine of the angle between query and key, divided by a temperature that may be tracked.
    ///
    /// - Parameter temperature: One element, not 0.
    /// - Returns: The measure.
    public static func cosine(temperature: Tensor) -> Cosine { Cosine(temperature: temperature) }
}
