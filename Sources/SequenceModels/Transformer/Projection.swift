public import Attention

/// `x Wᵀ + b` with weights as a checkpoint stores them, quantised perhaps: a linear layer of the Transformer.
public struct Projection: Layer {
    /// `[F, D]`.
    public var weight: WeightMatrix
    /// `[F]`, or none.
    public var bias: Tensor?

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - weight: `[F, D]`.
    ///   - bias: `[F]`, or none.
    public init(weight: WeightMatrix, bias: Tensor? = nil) {
        require(
            bias == nil || bias?.shape == [weight.rowCount],
            "The bias is \(bias?.shape ?? []), but the weights are [\(weight.rowCount), \(weight.columnCount)].")
        self.weight = weight
        self.bias = bias
    }

    /// Creates a layer with normally distributed weights and a bias of zeros.
    ///
    /// - Parameters:
    ///   - inputDimension: `D`.
    ///   - outputDimension: `F`.
    ///   - hasBias: Whether there is a bias.
    ///   - deviation: The weights' standard deviation.
    ///   - random: Where the weights come from.
    public init(
        inputDimension: Int, outputDimension: Int, hasBias: Bool, deviation: Double, random: inout RandomStream
    ) {
        self.init(
            weight: WeightMatrix(random.normal([outputDimension, inputDimension], deviation: deviation)),
            bias: hasBias ? Tensor(zeros: [outputDimension]) : nil)
    }

    /// Calls `visit` with `weight`, decoded if it is quantised, and `bias`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visitParameter(&weight, "weight", visit)
        try visitParameter(&bias, "bias", visit)
    }

    /// Returns `x Wᵀ + b`.
    ///
    /// - Parameter x: `[…, D]`.
    /// - Returns: `[…, F]`.
    public func callAsFunction(_ x: Tensor) -> Tensor { matmul(x, weight, bias: bias) }
}

/// Returns what each of several layers makes of the same vectors, with all products computed at once where no layer has a
/// bias.
func project(_ x: Tensor, by projections: [Projection]) -> [Tensor] {
    projections.allSatisfy { $0.bias == nil } ? matmul(x, projections.map(\.weight)) : projections.map { $0(x) }
}

/// Calls `visit` with a matrix as a tensor, decoded if it is quantised.
func visitParameter(
    _ matrix: inout WeightMatrix, _ name: String, _ visit: (String, inout Tensor) throws -> Void
) rethrows {
    var tensor = matrix.decoded
    // Given up here, so that it may be written in place.
    matrix = WeightMatrix(Tensor(zeros: [0, 0]))
    defer { matrix = WeightMatrix(tensor) }
    try visit(name, &tensor)
}
