public import Attention

/// The parameters of one recurrent layer, of one or both directions, as ONNX lays them out.
///
/// `G` gates: 1 for an RNN; update, reset, candidate for a GRU; input, output, forget, candidate for an LSTM.
public struct ONNXRecurrentWeights: Sendable {
    /// `W`, `[directions, G·H, D]`.
    public var input: Tensor
    /// `R`, `[directions, G·H, H]`.
    public var hidden: Tensor
    /// `B`, `[directions, 2·G·H]`: the biases of `W` and those of `R`; `nil` means 0.
    public var bias: Tensor?
    /// `P`, `[directions, 3·H]`, for the gates input, output, forget of an LSTM; `nil` means 0.
    public var peepholes: Tensor?

    /// Takes the inputs of an ONNX node.
    ///
    /// - Parameters:
    ///   - input: `W`, `[directions, G·H, D]`.
    ///   - hidden: `R`, `[directions, G·H, H]`.
    ///   - bias: `B`, `[directions, 2·G·H]`, or none.
    ///   - peepholes: `P`, `[directions, 3·H]`, or none.
    public init(input: Tensor, hidden: Tensor, bias: Tensor? = nil, peepholes: Tensor? = nil) {
        self.input = input
        self.hidden = hidden
        self.bias = bias
        self.peepholes = peepholes
    }

    /// Converts the parameters of one layer.
    ///
    /// - Parameters:
    ///   - weights: Those of each direction, forward first.
    ///   - cell: What they are parameters of.
    /// - Precondition: There is no projection, which ONNX does not have.
    public init(_ weights: [RecurrentWeights], of cell: RecurrentCell) {
        let order = GateOrder.onnx(cell)
        func stacked(_ parameter: (RecurrentWeights) -> Tensor?) -> Tensor? {
            let tensors = weights.compactMap(parameter)
            return tensors.isEmpty ? nil : Tensor.stacked(tensors)
        }
        guard let input = stacked({ order.fromPyTorch($0.input) }),
            let hidden = stacked({ order.fromPyTorch($0.hidden) })
        else { stop("A layer of no direction has no parameters.") }
        require(weights.allSatisfy { $0.projection == nil }, "ONNX has no LSTM with a projection.")
        self.init(
            input: input, hidden: hidden,
            bias: stacked { weights in
                guard weights.inputBias != nil || weights.hiddenBias != nil else { return nil }
                let zero = Tensor(zeros: [weights.input.shape[0]], elementType: weights.input.elementType)
                return Tensor.concatenated(
                    [weights.inputBias, weights.hiddenBias].map { order.fromPyTorch($0 ?? zero) }, axis: 0)
            },
            peepholes: stacked(\.peepholes))
    }

    /// Returns the parameters in PyTorch's order, as the layers take them.
    ///
    /// - Parameter cell: What they are parameters of.
    /// - Returns: Those of each direction, forward first.
    public func weights(of cell: RecurrentCell) -> [RecurrentWeights] {
        let order = GateOrder.onnx(cell)
        let biases = bias?.unstacked()
        let peepholes = peepholes?.unstacked()
        return zip(input.unstacked(), hidden.unstacked()).enumerated().map { direction, weights in
            var result = RecurrentWeights(
                input: order.toPyTorch(weights.0), hidden: order.toPyTorch(weights.1),
                peepholes: peepholes?[direction])
            if let bias = biases?[direction] {
                let count = bias.shape[0] / 2
                result.inputBias = order.toPyTorch(bias.slice(axis: 0, range: 0..<count))
                result.hiddenBias = order.toPyTorch(bias.slice(axis: 0, range: count..<2 * count))
            }
            return result
        }
    }
}
