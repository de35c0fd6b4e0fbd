public import Attention

/// `x Wᵀ + b`.
public struct Linear: Layer {
    /// `[F, D]`.
    public var weight: Tensor
    /// `[F]`, or none.
    public var bias: Tensor?

    /// Creates a layer from its parameters.
    ///
    /// - Parameters:
    ///   - weight: `[F, D]`.
    ///   - bias: `[F]`, or none.
    public init(weight: Tensor, bias: Tensor? = nil) {
        require(weight.rank == 2, "The weight of a linear layer is [F, D], not \(weight.shape).")
        require(
            bias == nil || bias?.shape == [weight.shape[0]],
            "The bias is \(bias?.shape ?? []), but the weight is \(weight.shape).")
        self.weight = weight
        self.bias = bias
    }

    /// Creates a layer with parameters evenly distributed within ±1/√D, PyTorch's default.
    ///
    /// - Parameters:
    ///   - inputDimension: `D`.
    ///   - outputDimension: `F`.
    ///   - hasBias: Whether there is a bias.
    ///   - random: Where the parameters come from.
    public init(inputDimension: Int, outputDimension: Int, hasBias: Bool = true, random: inout RandomStream) {
        let bound = 1 / Double(max(1, inputDimension)).squareRoot()
        self.init(
            weight: random.uniform([outputDimension, inputDimension], bound: bound),
            bias: hasBias ? random.uniform([outputDimension], bound: bound) : nil)
    }

    /// Calls `visit` with `weight` and `bias`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try visit("weight", &weight)
        try visitParameter(&bias, "bias", visit)
    }

    /// Returns `x Wᵀ + b`.
    ///
    /// - Parameter x: `[…, D]`.
    /// - Returns: `[…, F]`.
    public func callAsFunction(_ x: Tensor) -> Tensor { linear(x, weight: weight, bias: bias) }
}
