public import Attention

extension Transformer {
    /// What products with quantised weights compute with: of the matrix for predictions, and of all layers when it is set.
    ///
    /// 8-bit integers are several times as fast, and are off by about a hundredth of a logit's spread. Matrices that are not
    /// quantised compute as ever.
    public var arithmetic: WeightMatrix.Arithmetic {
        get { outputWeight.usedArithmetic }
        set { visitMatrices { $0.arithmetic = newValue } }
    }

    /// The same model, and the same weights, with another arithmetic.
    ///
    /// - Parameter arithmetic: What products with quantised weights compute with.
    /// - Returns: A model that shares all weights with this one.
    public func computing(with arithmetic: WeightMatrix.Arithmetic) -> Transformer {
        var copy = self
        copy.arithmetic = arithmetic
        return copy
    }

    /// The same model with its matrices stored as another type; quantised ones stay as they are, and so do norms and biases.
    ///
    /// float16 and bfloat16 take half the memory, and a token as little as half the time, which goes to reading weights.
    /// bfloat16 has the range of float32 with 8 significant bits, float16 has 11 and ends at 65,504.
    ///
    /// - Parameter type: float32, float16 or bfloat16.
    /// - Returns: A model to compute with; to train, take the original.
    public func storingWeights(as type: ElementType) -> Transformer {
        var copy = self
        copy.visitMatrices { $0 = $0.stored(as: type) }
        return copy
    }

    private mutating func visitMatrices(_ visit: (inout WeightMatrix) -> Void) {
        visit(&embedding)
        if var output = untiedOutput {
            visit(&output)
            untiedOutput = output
        }
        encoder?.visitMatrices(visit)
        stack.visitMatrices(visit)
    }
}

extension TransformerStack {
    fileprivate mutating func visitMatrices(_ visit: (inout WeightMatrix) -> Void) {
        for index in layers.indices {
            layers[index].attention.visitMatrices(visit)
            layers[index].crossAttention?.visitMatrices(visit)
            layers[index].feedForward.visitMatrices(visit)
        }
    }
}

extension MultiHeadAttention {
    fileprivate mutating func visitMatrices(_ visit: (inout WeightMatrix) -> Void) {
        visit(&query.weight)
        visit(&key.weight)
        visit(&value.weight)
        visit(&output.weight)
    }
}

extension FeedForward {
    fileprivate mutating func visitMatrices(_ visit: (inout WeightMatrix) -> Void) {
        if var layer = gate {
            visit(&layer.weight)
            gate = layer
        }
        visit(&up.weight)
        visit(&down.weight)
    }
}
