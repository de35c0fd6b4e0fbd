public import Attention

/// Which way a recurrent layer goes through a sequence.
public enum RecurrentDirection: String, Sendable, Hashable {
    /// From the first step to the last.
    case forward
    /// From each sequence's own last step to its first.
    case reverse
    /// Both, their outputs side by side.
    case bidirectional

    /// 1 or 2.
    public var count: Int { self == .bidirectional ? 2 : 1 }
}

/// The sizes of a recurrent layer.
public struct RecurrentConfiguration: Sendable, Hashable {
    /// The width of an input vector: `D`.
    public let inputDimension: Int
    /// How many units each layer and direction has: `H`.
    public let hiddenDimension: Int
    /// What an LSTM's output is projected to, if it is.
    public let projectionDimension: Int?
    /// How many layers lie on one another.
    public let layerCount: Int
    /// Which way each layer goes.
    public let direction: RecurrentDirection
    /// Whether there are biases.
    public let hasBias: Bool
    /// How much of each layer's output, but for the last, is dropped in training: from 0 to less than 1.
    public let dropout: Double

    /// The width of a hidden state: `P`.
    public var stateDimension: Int { projectionDimension ?? hiddenDimension }
    /// The width of an output vector: the state's, once for each direction.
    public var outputDimension: Int { direction.count * stateDimension }

    /// Checks and keeps the sizes.
    ///
    /// - Parameters:
    ///   - inputDimension: `D`, at least 1.
    ///   - hiddenDimension: `H`, at least 1.
    ///   - projectionDimension: `P`, at least 1; `nil` means no projection.
    ///   - layerCount: At least 1.
    ///   - direction: Which way each layer goes.
    ///   - hasBias: Whether there are biases.
    ///   - dropout: How much is dropped between layers, from 0 to less than 1.
    public init(
        inputDimension: Int, hiddenDimension: Int, projectionDimension: Int? = nil, layerCount: Int = 1,
        direction: RecurrentDirection = .forward, hasBias: Bool = true, dropout: Double = 0
    ) {
        require(
            inputDimension > 0 && hiddenDimension > 0 && layerCount > 0 && (projectionDimension ?? 1) > 0,
            "A recurrent layer needs inputs (\(inputDimension)), units (\(hiddenDimension)), layers (\(layerCount)) and, "
                + "if any, outputs of its projection (\(projectionDimension ?? 1)).")
        require((0..<1).contains(dropout), "The dropout is \(dropout), not from 0 to less than 1.")
        self.inputDimension = inputDimension
        self.hiddenDimension = hiddenDimension
        self.projectionDimension = projectionDimension
        self.layerCount = layerCount
        self.direction = direction
        self.hasBias = hasBias
        self.dropout = dropout
    }

    /// Reads the sizes off parameters, one for each layer and direction.
    init(of weights: [RecurrentWeights], gateCount: Int, direction: RecurrentDirection, dropout: Double) {
        guard let first = weights.first, weights.count % direction.count == 0 else {
            stop("\(weights.count) sets of parameters are no layers of \(direction.count) directions.")
        }
        self.init(
            inputDimension: first.input.shape[1], hiddenDimension: first.input.shape[0] / gateCount,
            projectionDimension: first.projection?.shape[0], layerCount: weights.count / direction.count,
            direction: direction, hasBias: first.inputBias != nil || first.hiddenBias != nil, dropout: dropout)
    }

    /// How many inputs a layer has: the first gets the vectors, the others what the one below puts out.
    func inputDimension(ofLayer layer: Int) -> Int { layer == 0 ? inputDimension : outputDimension }
}

/// What a recurrent layer computes in each step.
public enum RecurrentCell: Sendable, Hashable {
    /// A plain recurrent network.
    case rnn(RNNOptions)
    /// A long short-term memory.
    case lstm(LSTMOptions)
    /// A gated recurrent unit.
    case gru(GRUOptions)

    /// How many gates there are, the candidate included.
    public var gateCount: Int {
        switch self {
        case .rnn: 1
        case .lstm: 4
        case .gru: 3
        }
    }

    var hasCell: Bool {
        if case .lstm = self { return true }
        return false
    }
}

/// What a recurrent layer remembers of the sequences of a batch.
public struct RecurrentState: Sendable {
    /// The hidden state: `[layers · directions, B, P]`, the directions of the first layer first.
    public var hidden: Tensor
    /// An LSTM's cells, `[layers · directions, B, H]`; `nil` for the other kinds.
    public var cell: Tensor?

    /// Takes the states.
    ///
    /// - Parameters:
    ///   - hidden: `[layers · directions, B, P]`.
    ///   - cell: `[layers · directions, B, H]` for an LSTM, else `nil`.
    public init(hidden: Tensor, cell: Tensor? = nil) {
        self.hidden = hidden
        self.cell = cell
    }
}

/// Layers of one kind of recurrence: ``RNN``, ``LSTM`` or ``GRU``.
///
/// Sequences of a batch may have different lengths, in any order. What lies beyond a sequence's length is never read;
/// the outputs there are 0, the final state is the one at the length, and the reverse direction starts at each
/// sequence's own last step.
public protocol RecurrentLayer: Layer {
    /// The sizes.
    var configuration: RecurrentConfiguration { get }
    /// What is computed in each step.
    var cell: RecurrentCell { get }
    /// The parameters of each layer and direction: those of the first layer first, forward before reverse.
    var weights: [RecurrentWeights] { get set }
}

extension RecurrentLayer {
    /// Returns what the layers make of sequences.
    ///
    /// - Parameters:
    ///   - x: `[B, T, D]`.
    ///   - lengths: How many steps each sequence has, from 0 to `T`; `nil` means that all have `T`.
    ///   - initialState: Where each sequence starts from; `nil` means zeros.
    ///   - dropout: Where the random numbers come from that say what is dropped between layers; `nil` means that
    ///     nothing is.
    /// - Returns: The last layer's state after each step, `[B, T, directions · P]`, and the state of all layers after
    ///   the last step of each sequence, which in the reverse direction is the first.
    public func callAsFunction(
        _ x: Tensor, lengths: [Int]? = nil, initialState: RecurrentState? = nil, dropout: inout RandomStream?
    ) -> (outputs: Tensor, finalState: RecurrentState) {
        require(
            x.rank == 3 && x.shape[2] == configuration.inputDimension,
            "The input is \(x.shape), not [B, T, \(configuration.inputDimension)].")
        let schedule = RecurrentSchedule(batchCount: x.shape[0], stepCount: x.shape[1], lengths: lengths)
        let (outputs, finalState) = run(
            schedule.packed(x), schedule: schedule, initialState: initialState, dropout: &dropout)
        return (schedule.padded(outputs), finalState)
    }

    /// Returns what the layers make of sequences when nothing is dropped.
    ///
    /// - Parameters:
    ///   - x: `[B, T, D]`.
    ///   - lengths: How many steps each sequence has, from 0 to `T`; `nil` means that all have `T`.
    ///   - initialState: Where each sequence starts from; `nil` means zeros.
    /// - Returns: The last layer's state after each step, `[B, T, directions · P]`, and the state of all layers after
    ///   the last step of each sequence, which in the reverse direction is the first.
    public func callAsFunction(
        _ x: Tensor, lengths: [Int]? = nil, initialState: RecurrentState? = nil
    ) -> (outputs: Tensor, finalState: RecurrentState) {
        var none: RandomStream?
        return self(x, lengths: lengths, initialState: initialState, dropout: &none)
    }

    /// Takes one step of each sequence: what a stream of vectors needs.
    ///
    /// The numbers are those of a whole sequence, but for rounding.
    ///
    /// - Parameters:
    ///   - x: `[B, D]`.
    ///   - state: Where the sequences are; see ``zeroState(batchCount:elementType:)``. Becomes where they are then.
    /// - Returns: The last layer's state after the step: `[B, P]`.
    /// - Precondition: The direction is forward: the others begin at the end.
    public func step(_ x: Tensor, state: inout RecurrentState) -> Tensor {
        require(
            configuration.direction == .forward,
            "A layer whose direction is \(configuration.direction) needs whole sequences, and takes no single step.")
        require(
            x.rank == 2 && x.shape[1] == configuration.inputDimension,
            "The input of a step is \(x.shape), not [B, \(configuration.inputDimension)].")
        var none: RandomStream?
        let (outputs, next) = run(
            x, schedule: RecurrentSchedule(batchCount: x.shape[0], stepCount: 1), initialState: state, dropout: &none)
        state = next
        return outputs
    }

    /// Returns the state in which nothing was seen yet: zeros.
    ///
    /// - Parameters:
    ///   - batchCount: How many sequences there are.
    ///   - elementType: float32 or float64.
    /// - Returns: A state of all layers and directions.
    public func zeroState(batchCount: Int, elementType: ElementType = .float32) -> RecurrentState {
        let count = configuration.layerCount * configuration.direction.count
        return RecurrentState(
            hidden: Tensor(zeros: [count, batchCount, configuration.stateDimension], elementType: elementType),
            cell: cell.hasCell
                ? Tensor(zeros: [count, batchCount, configuration.hiddenDimension], elementType: elementType) : nil)
    }

    /// Runs all layers on vectors as a schedule lays them out.
    private func run(
        _ x: Tensor, schedule: RecurrentSchedule, initialState: RecurrentState?, dropout: inout RandomStream?
    ) -> (outputs: Tensor, finalState: RecurrentState) {
        let (configuration, cell, weights) = (configuration, cell, weights)
        let directionCount = configuration.direction.count
        if let initialState { requireShapes(of: initialState, batchCount: schedule.batchCount) }
        var outputs = x
        var finalHidden: [Tensor] = []
        var finalCells: [Tensor] = []
        for layer in 0..<configuration.layerCount {
            var directions: [Tensor] = []
            for direction in 0..<directionCount {
                let index = layer * directionCount + direction
                let isReverse = configuration.direction == .reverse || direction == 1
                let hidden = initialState?.hidden.part(index)
                switch cell {
                case .rnn(let options):
                    let (outputs, final) = rnnSequence(
                        outputs, schedule: schedule, isReverse: isReverse, weights: weights[index],
                        initialHidden: hidden, options: options)
                    directions.append(outputs)
                    finalHidden.append(final)
                case .gru(let options):
                    let (outputs, final) = gruSequence(
                        outputs, schedule: schedule, isReverse: isReverse, weights: weights[index],
                        initialHidden: hidden, options: options)
                    directions.append(outputs)
                    finalHidden.append(final)
                case .lstm(let options):
                    let (outputs, final, cell) = lstmSequence(
                        outputs, schedule: schedule, isReverse: isReverse, weights: weights[index],
                        initialHidden: hidden, initialCell: initialState?.cell?.part(index), options: options)
                    directions.append(outputs)
                    finalHidden.append(final)
                    finalCells.append(cell)
                }
            }
            outputs = directions.count == 1 ? directions[0] : Tensor.concatenated(directions, axis: 1)
            if layer + 1 < configuration.layerCount {
                outputs = dropped(outputs, rate: configuration.dropout, &dropout)
            }
        }
        return (
            outputs,
            RecurrentState(hidden: Tensor.parts(finalHidden), cell: cell.hasCell ? Tensor.parts(finalCells) : nil)
        )
    }

    private func requireShapes(of state: RecurrentState, batchCount: Int) {
        let count = configuration.layerCount * configuration.direction.count
        let hidden = [count, batchCount, configuration.stateDimension]
        let cells = cell.hasCell ? [count, batchCount, configuration.hiddenDimension] : nil
        require(
            state.hidden.shape == hidden && state.cell?.shape == cells,
            "The state is \(state.hidden.shape), its cell \(state.cell?.shape ?? []), not \(hidden) and \(cells ?? [])."
        )
    }

    // MARK: - Parameters

    /// Calls `visit` with each parameter by PyTorch's names, such as `weight_ih_l0` and `bias_hh_l1_reverse`; an LSTM's
    /// peepholes are called `weight_peephole_l0`.
    ///
    /// - Parameter visit: Gets the name and the parameter, which it may replace.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(
        _ visit: (_ name: String, _ parameter: inout Tensor) throws -> Void
    ) rethrows {
        let directionCount = configuration.direction.count
        for index in weights.indices {
            let suffix = "_l\(index / directionCount)" + (index % directionCount == 1 ? "_reverse" : "")
            try visit("weight_ih" + suffix, &weights[index].input)
            try visit("weight_hh" + suffix, &weights[index].hidden)
            try visitParameter(&weights[index].inputBias, "bias_ih" + suffix, visit)
            try visitParameter(&weights[index].hiddenBias, "bias_hh" + suffix, visit)
            try visitParameter(&weights[index].projection, "weight_hr" + suffix, visit)
            try visitParameter(&weights[index].peepholes, "weight_peephole" + suffix, visit)
        }
    }
}

extension Tensor {
    /// One of the tensors that lie along the first dimension.
    fileprivate func part(_ index: Int) -> Tensor {
        shape[0] == 1 ? reshaped(to: Array(shape[1...])) : slice(axis: 0, range: index..<index + 1).removing(axis: 0)
    }

    /// Tensors along a new first dimension; one alone is not copied.
    fileprivate static func parts(_ tensors: [Tensor]) -> Tensor {
        tensors.count == 1 ? tensors[0].reshaped(to: [1] + tensors[0].shape) : stacked(tensors)
    }
}
