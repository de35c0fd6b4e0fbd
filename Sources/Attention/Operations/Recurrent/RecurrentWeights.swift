/// The parameters of one direction of one recurrent layer, in PyTorch's shapes and order of gates.
///
/// `D` inputs, `H` units, `P` the state's width (`H`, unless there is a projection), `G` gates: 1 for a plain network, 3
/// for a GRU (reset, update, new), 4 for an LSTM (input, forget, candidate, output).
public struct RecurrentWeights: Sendable {
    /// `W_ih`, `[G·H, D]`.
    public var input: Tensor
    /// `W_hh`, `[G·H, P]`.
    public var hidden: Tensor
    /// `b_ih`, `[G·H]`.
    public var inputBias: Tensor?
    /// `b_hh`, `[G·H]`.
    public var hiddenBias: Tensor?
    /// `W_hr`, `[P, H]`: what an LSTM's output is multiplied by (Sak et al., 2014, arXiv:1402.1128).
    public var projection: Tensor?
    /// `[3·H]`, for the gates input, output, forget: what they see of an LSTM's cell (Gers and Schmidhuber, "Recurrent
    /// Nets that Time and Count", 2000).
    public var peepholes: Tensor?

    /// Takes parameters.
    ///
    /// - Parameters:
    ///   - input: `W_ih`, `[G·H, D]`.
    ///   - hidden: `W_hh`, `[G·H, P]`.
    ///   - inputBias: `b_ih`, `[G·H]`, or none.
    ///   - hiddenBias: `b_hh`, `[G·H]`, or none.
    ///   - projection: `W_hr`, `[P, H]`, or none.
    ///   - peepholes: `[3·H]`, for the gates input, output, forget, or none.
    public init(
        input: Tensor, hidden: Tensor, inputBias: Tensor? = nil, hiddenBias: Tensor? = nil, projection: Tensor? = nil,
        peepholes: Tensor? = nil
    ) {
        self.input = input
        self.hidden = hidden
        self.inputBias = inputBias
        self.hiddenBias = hiddenBias
        self.projection = projection
        self.peepholes = peepholes
    }

    /// The parameters as operands: input and hidden weight, input and hidden bias, projection, peepholes.
    var operands: [Tensor?] { [input, hidden, inputBias, hiddenBias, projection, peepholes] }

    /// Whether something holds of each parameter and of each other operand that there is.
    func allSatisfy(_ x: Tensor, _ hidden: Tensor?, _ cell: Tensor? = nil, _ holds: (Tensor) -> Bool) -> Bool {
        func holdsOf(_ operand: Tensor?) -> Bool { operand.map(holds) ?? true }
        return holds(x) && holdsOf(hidden) && holdsOf(cell) && allSatisfy(holds)
    }

    /// Whether something holds of each parameter that there is.
    private func allSatisfy(_ holds: (Tensor) -> Bool) -> Bool {
        func holdsOf(_ parameter: Tensor?) -> Bool { parameter.map(holds) ?? true }
        return holds(input) && holds(hidden) && holdsOf(inputBias) && holdsOf(hiddenBias) && holdsOf(projection)
            && holdsOf(peepholes)
    }

    /// Returns the parameters without their past, as `type`.
    func converted<Scalar: KernelScalar>(as type: Scalar.Type) -> RecurrentWeights {
        if allSatisfy({ $0.isOperand(as: type) }) { return self }
        return RecurrentWeights(
            input: input.operand(as: type), hidden: hidden.operand(as: type), inputBias: inputBias?.operand(as: type),
            hiddenBias: hiddenBias?.operand(as: type), projection: projection?.operand(as: type),
            peepholes: peepholes?.operand(as: type))
    }

    /// Stops with both shapes unless the parameters fit.
    func requireShapes(gateCount: Int, inputs: Int, units: Int, width: Int) {
        func requireShape(_ name: String, _ tensor: Tensor?, _ shape: [Int]) {
            require(tensor == nil || tensor?.shape == shape, "The \(name) is \(tensor?.shape ?? []), not \(shape).")
        }
        requireShape("input weight", input, [gateCount * units, inputs])
        requireShape("recurrent weight", hidden, [gateCount * units, width])
        requireShape("input bias", inputBias, [gateCount * units])
        requireShape("recurrent bias", hiddenBias, [gateCount * units])
        requireShape("projection", projection, [width, units])
        requireShape("peepholes", peepholes, [3 * units])
    }
}

/// Stops with both shapes unless a state, if there is one, has a vector of `width` for each sequence.
func requireState(_ name: String, _ state: Tensor?, _ batchCount: Int, _ width: Int) {
    guard let state else { return }
    require(
        state.rank == 2 && state.shape[0] == batchCount && state.shape[1] == width,
        "The \(name) is \(state.shape), not \([batchCount, width]).")
}
