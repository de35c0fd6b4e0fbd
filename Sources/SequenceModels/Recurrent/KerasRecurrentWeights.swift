public import Attention

/// The parameters of one recurrent layer and direction, as Keras lays them out.
///
/// `G` gates: 1 for a `SimpleRNN`; update, reset, candidate for a `GRU`; input, forget, candidate, output for an `LSTM`.
public struct KerasRecurrentWeights: Sendable {
    /// `[D, G·H]`.
    public var kernel: Tensor
    /// `[H, G·H]`.
    public var recurrentKernel: Tensor
    /// `[G·H]`, or `[2, 3·H]` for a `GRU` with `reset_after`; `nil` means 0.
    public var bias: Tensor?

    /// Takes the weights of a Keras layer.
    ///
    /// - Parameters:
    ///   - kernel: `[D, G·H]`.
    ///   - recurrentKernel: `[H, G·H]`.
    ///   - bias: `[G·H]`, or `[2, 3·H]` for a `GRU` with `reset_after`, or none.
    public init(kernel: Tensor, recurrentKernel: Tensor, bias: Tensor? = nil) {
        self.kernel = kernel
        self.recurrentKernel = recurrentKernel
        self.bias = bias
    }

    /// Converts the parameters of one layer and direction.
    ///
    /// - Parameters:
    ///   - weights: Without projection and peepholes, which Keras does not have.
    ///   - cell: What they are parameters of.
    public init(_ weights: RecurrentWeights, of cell: RecurrentCell) {
        require(
            weights.projection == nil && weights.peepholes == nil, "Keras has no LSTM with a projection or peepholes.")
        let order = GateOrder.keras(cell)
        self.init(
            kernel: order.fromPyTorch(weights.input).transposed(0, 1).contiguous(),
            recurrentKernel: order.fromPyTorch(weights.hidden).transposed(0, 1).contiguous())
        guard weights.inputBias != nil || weights.hiddenBias != nil else { return }
        let zero = Tensor(zeros: [weights.input.shape[0]], elementType: weights.input.elementType)
        let (inputBias, hiddenBias) = (
            order.fromPyTorch(weights.inputBias ?? zero), order.fromPyTorch(weights.hiddenBias ?? zero)
        )
        bias = cell.hasTwoBiasesInKeras ? Tensor.stacked([inputBias, hiddenBias]) : inputBias + hiddenBias
    }

    /// Returns the parameters in PyTorch's order, as the layers take them: with two biases, the second of which is 0
    /// where Keras has one.
    ///
    /// - Parameter cell: What they are parameters of.
    /// - Returns: The parameters of one layer and direction.
    public func weights(of cell: RecurrentCell) -> RecurrentWeights {
        let order = GateOrder.keras(cell)
        var result = RecurrentWeights(
            input: order.toPyTorch(kernel.transposed(0, 1)), hidden: order.toPyTorch(recurrentKernel.transposed(0, 1)))
        guard let bias else { return result }
        let count = kernel.shape[1]
        let wanted = cell.hasTwoBiasesInKeras ? [2, count] : [count]
        require(bias.shape == wanted, "The bias is \(bias.shape), not \(wanted).")
        let biases = cell.hasTwoBiasesInKeras ? bias.unstacked().map(order.toPyTorch) : [order.toPyTorch(bias)]
        result.inputBias = biases[0]
        result.hiddenBias = biases.count == 2 ? biases[1] : Tensor(zeros: [count], elementType: bias.elementType)
        return result
    }
}

extension RecurrentCell {
    /// Whether one bias cannot stand for both: the second is multiplied by the reset gate.
    fileprivate var hasTwoBiasesInKeras: Bool {
        if case .gru(let options) = self { return options.resetsAfterProduct }
        return false
    }
}
