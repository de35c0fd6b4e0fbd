import Attention
import ModelFiles
import SequenceModels

extension ONNXOperator {
    private static let recurrentAttributes = [
        "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout",
    ]

    /// ONNX's `RNN`, opset 7 on.
    static let rnn = ONNXOperator(since: 7, attributes: recurrentAttributes, inputCount: 6, outputCount: 2) { node in
        let clip = try node.number("clip")
        return try node.recurrentOutputs(activations: [.tanh]) { activations in
            .rnn(RNNOptions(activation: activations[0], clip: clip))
        }
    }

    /// ONNX's `GRU`, opset 7 on.
    static let gru = ONNXOperator(
        since: 7, attributes: recurrentAttributes + ["linear_before_reset"], inputCount: 6, outputCount: 2
    ) { node in
        var options = GRUOptions()
        options.clip = try node.number("clip")
        options.resetsAfterProduct = try node.flag("linear_before_reset")
        return try node.recurrentOutputs(activations: [.sigmoid, .tanh]) { [options] activations in
            var options = options
            options.gateActivation = activations[0]
            options.candidateActivation = activations[1]
            return .gru(options)
        }
    }

    /// ONNX's `LSTM`, opset 7 on.
    static let lstm = ONNXOperator(
        since: 7, attributes: recurrentAttributes + ["input_forget"], inputCount: 8, outputCount: 3
    ) { node in
        var options = LSTMOptions()
        options.clip = try node.number("clip")
        options.hasCoupledGates = try node.flag("input_forget")
        return try node.recurrentOutputs(activations: [.sigmoid, .tanh, .tanh]) { [options] activations in
            var options = options
            options.gateActivation = activations[0]
            options.candidateActivation = activations[1]
            options.cellActivation = activations[2]
            return .lstm(options)
        }
    }
}

extension ONNXNode {
    /// Runs a recurrent node and returns `Y`, `Y_h` and, of an LSTM, `Y_c`.
    ///
    /// `activations` are the functions of one
    /// direction, unless the node names others; `cell` returns what is computed in each step with such functions.
    fileprivate func recurrentOutputs(
        activations: [RecurrentActivation], cell: ([RecurrentActivation]) -> RecurrentCell
    ) throws -> [Tensor?] {
        guard let direction = RecurrentDirection(rawValue: attributes["direction"]?.stringValue ?? "forward") else {
            throw ConformanceProblem("There is no direction '\(attributes["direction"]?.stringValue ?? "")'.")
        }
        // With `layout` 1 the batch comes first: in x, Y and the states.
        let isBatchFirst = try flag("layout")
        func batchFirst(_ tensor: Tensor) -> Tensor { isBatchFirst ? tensor : tensor.transposed(0, 1) }
        func state(_ index: Int) -> Tensor? {
            input(index).map { isBatchFirst ? $0.transposed(0, 1) : $0 }
        }
        let weights = try ONNXRecurrentWeights(
            input: requiredInput(1), hidden: requiredInput(2), bias: input(3), peepholes: input(7))
        let units = weights.hidden.shape[2]
        guard try integer("hidden_size") ?? units == units, weights.input.shape[0] == direction.count else {
            throw ConformanceProblem(
                "The weights \(weights.input.shape) do not suit \(direction) or the hidden size.")
        }
        let x = try batchFirst(requiredInput(0))
        let functions = try self.activations() ?? (0..<direction.count).flatMap { _ in activations }
        guard functions.count == direction.count * activations.count else {
            throw ConformanceProblem("There are \(functions.count) activations.")
        }
        // The directions may have other functions: each is a layer of its own.
        let results = (0..<direction.count).map { index in
            let own = Array(functions[index * activations.count..<(index + 1) * activations.count])
            let cell = cell(own)
            let layer = cell.layer(
                [weights.weights(of: cell)[index]], isReverse: direction == .reverse || index == 1)
            var initialState = layer.zeroState(batchCount: x.shape[0])
            if let hidden = state(5) { initialState.hidden = hidden.slice(axis: 0, range: index..<index + 1) }
            if let cells = state(6) { initialState.cell = cells.slice(axis: 0, range: index..<index + 1) }
            return layer(x, lengths: input(4)?.integers, initialState: initialState)
        }
        // [B, T, H] of each direction to [T, directions, B, H], or [B, T, directions, H].
        let outputs = results.map { isBatchFirst ? $0.outputs : $0.outputs.transposed(0, 1) }
        func final(_ state: (RecurrentState) -> Tensor?) -> Tensor? {
            let states = results.compactMap { state($0.finalState) }
            return states.isEmpty ? nil : batchFirst(Tensor.concatenated(states, axis: 0).transposed(0, 1))
        }
        return [
            Tensor.stacked(outputs, axis: isBatchFirst ? 2 : 1), final(\.hidden), final(\.cell),
        ]
    }

    /// The functions that the node names, or `nil`.
    private func activations() throws -> [RecurrentActivation]? {
        guard let names = attributes["activations"]?.arrayValue?.map({ $0.stringValue ?? "" }) else { return nil }
        func numbers(_ name: String) -> [Double] {
            attributes[name]?.arrayValue?.compactMap(\.doubleValue) ?? []
        }
        // They are taken in turn by the functions that have any.
        var (alphas, betas) = (numbers("activation_alpha")[...], numbers("activation_beta")[...])
        return try names.map { name in
            switch name.lowercased() {
            case "relu": return .relu
            case "tanh": return .tanh
            case "sigmoid": return .sigmoid
            case "affine": return .affine(alpha: alphas.popFirst() ?? 1, beta: betas.popFirst() ?? 0)
            case "leakyrelu": return .leakyRelu(alpha: alphas.popFirst() ?? 0.01)
            case "thresholdedrelu": return .thresholdedRelu(alpha: alphas.popFirst() ?? 1)
            case "scaledtanh": return .scaledTanh(alpha: alphas.popFirst() ?? 1, beta: betas.popFirst() ?? 1)
            case "hardsigmoid":
                return .hardSigmoid(alpha: alphas.popFirst() ?? 0.2, beta: betas.popFirst() ?? 0.5)
            case "elu": return .elu(alpha: alphas.popFirst() ?? 1)
            case "softsign": return .softsign
            case "softplus": return .softplus
            default: throw ConformanceProblem("There is no activation '\(name)'.")
            }
        }
    }
}

extension RecurrentCell {
    /// Returns one direction of one layer with these parameters.
    fileprivate func layer(_ weights: [RecurrentWeights], isReverse: Bool) -> any RecurrentLayer {
        let direction: RecurrentDirection = isReverse ? .reverse : .forward
        switch self {
        case .rnn(let options): return RNN(weights: weights, direction: direction, options: options)
        case .gru(let options): return GRU(weights: weights, direction: direction, options: options)
        case .lstm(let options): return LSTM(weights: weights, direction: direction, options: options)
        }
    }
}
