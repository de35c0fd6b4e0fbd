/// The parameters of ``lstmn(_:weights:lengths:returningWeights:)``.
///
/// `D` input, `H` hidden state, `A` units of the attention.
public struct LSTMNWeights: Sendable {
    /// From the input to the gates, `[4H, D]`: input gate, forget gate, candidate, output gate.
    public var inputWeight: Tensor
    /// From what was attended to, h̃, to the gates, `[4H, H]`.
    public var contextWeight: Tensor
    /// `[4H]`.
    public var bias: Tensor
    /// From a hidden state on the tape to the attention's units, `W_h`, `[A, H]`.
    public var tapeWeight: Tensor
    /// From the input to the attention's units, `W_x`, `[A, D]`.
    public var queryInputWeight: Tensor
    /// From what was attended to a step before to the attention's units, `W_h̃`, `[A, H]`.
    public var queryContextWeight: Tensor
    /// From the attention's units to the score, `v`, `[A]`.
    public var scoreWeight: Tensor

    /// Creates the parameters.
    ///
    /// - Parameters:
    ///   - inputWeight: `[4H, D]`, the gates in the order input, forget, candidate, output.
    ///   - contextWeight: `[4H, H]`.
    ///   - bias: `[4H]`.
    ///   - tapeWeight: `[A, H]`.
    ///   - queryInputWeight: `[A, D]`.
    ///   - queryContextWeight: `[A, H]`.
    ///   - scoreWeight: `[A]`.
    public init(
        inputWeight: Tensor, contextWeight: Tensor, bias: Tensor, tapeWeight: Tensor, queryInputWeight: Tensor,
        queryContextWeight: Tensor, scoreWeight: Tensor
    ) {
        let (hidden, inputs) = (contextWeight.shape.last ?? 0, inputWeight.shape.last ?? 0)
        let units = scoreWeight.elementCount
        for (name, weight, shape) in [
            ("input weight", inputWeight, [4 * hidden, inputs]),
            ("context weight", contextWeight, [4 * hidden, hidden]),
            ("bias", bias, [4 * hidden]), ("tape weight", tapeWeight, [units, hidden]),
            ("query's input weight", queryInputWeight, [units, inputs]),
            ("query's context weight", queryContextWeight, [units, hidden]), ("score weight", scoreWeight, [units]),
        ] {
            require(weight.shape == shape, "The \(name) of an LSTMN is \(weight.shape), not \(shape).")
        }
        self.inputWeight = inputWeight
        self.contextWeight = contextWeight
        self.bias = bias
        self.tapeWeight = tapeWeight
        self.queryInputWeight = queryInputWeight
        self.queryContextWeight = queryContextWeight
        self.scoreWeight = scoreWeight
    }

    /// The length of an input, `D`.
    public var inputDimension: Int { inputWeight.shape[1] }
    /// The length of a hidden state, `H`.
    public var hiddenDimension: Int { contextWeight.shape[1] }
    /// The number of the attention's units, `A`.
    public var attentionDimension: Int { scoreWeight.shape[0] }

    /// The part of the gates that the inputs alone decide.
    fileprivate func gateInputs(_ x: Tensor) -> Tensor { linear(x, weight: inputWeight, bias: bias) }
    /// The part of the attention's query that the inputs alone decide.
    fileprivate func queryInputs(_ x: Tensor) -> Tensor { linear(x, weight: queryInputWeight) }
}

/// What ``lstmn(_:weights:lengths:returningWeights:)`` returns.
public struct LSTMNResult: Sendable {
    /// `[B, T, H]`; zeros beyond a sequence's length.
    public var hiddenStates: Tensor
    /// How much each position attended to each earlier one, `[B, T, T]`.
    ///
    /// The rows below the diagonal sum to 1, and all else is 0. No gradient passes through them.
    public var attentionWeights: Tensor?
}

/// Returns what an LSTM makes of sequences whose memory is not one cell but a tape of all cells so far, which each step
/// attends to: intra-attention.
///
/// ```
/// a_i = softmax_i vᵀ tanh(W_h h_i + W_x x_t + W_h̃ h̃_{t-1})          over i < t
/// h̃_t = Σ a_i h_i         c̃_t = Σ a_i c_i                            zeros at the first step
/// c_t = forget ⊙ c̃_t + input ⊙ candidate        h_t = output ⊙ tanh(c_t)
/// ```
///
/// with gates and candidate from `x_t` and `h̃_t`. `B` batch, `T` length.
///
/// - Parameters:
///   - x: `[B, T, D]`.
///   - weights: The parameters.
///   - lengths: How many positions each sequence has, from 0 to `T`; `nil` means `T`.
///   - returningWeights: Whether to return the attention weights.
/// - Returns: The hidden states and, if asked for, the attention weights.
/// - Complexity: O(B·T²·(A + H)) time. For the way back it keeps the two tapes, the gates and the attention weights,
///   not the `B·T²·A` units.
///
/// Cheng et al., "Long Short-Term Memory-Networks for Machine Reading", 2016 (arXiv:1601.06733), section 3.1.
public func lstmn(
    _ x: Tensor, weights: LSTMNWeights, lengths: [Int]? = nil, returningWeights: Bool = false
) -> LSTMNResult {
    require(
        x.rank == 3 && x.shape[2] == weights.inputDimension,
        "An LSTMN takes [B, T, \(weights.inputDimension)], not \(x.shape).")
    let lengths = lengths ?? [Int](repeating: x.shape[1], count: x.shape[0])
    require(
        lengths.count == x.shape[0] && lengths.allSatisfy { 0...x.shape[1] ~= $0 },
        "The lengths \(lengths) are not \(x.shape[0]) numbers from 0 to \(x.shape[1]).")
    let operands = [
        weights.gateInputs(x), weights.queryInputs(x), weights.contextWeight, weights.tapeWeight,
        weights.queryContextWeight, weights.scoreWeight,
    ]
    return operands.allSatisfy { $0.elementType == .float64 }
        ? lstmn(operands, lengths, returningWeights, as: Double.self)
        : lstmn(operands, lengths, returningWeights, as: Float.self)
}

/// What an LSTMN has read so far: its tapes, for one more step.
public struct LSTMNTape: Sendable {
    /// How many positions were read.
    public private(set) var count = 0
    /// How much the last position attended to each earlier one, `[B, count - 1]`.
    public private(set) var lastAttentionWeights: Tensor
    /// h, `[B, capacity, H]`.
    private var hidden: Tensor
    /// c, `[B, capacity, H]`.
    private var cells: Tensor
    /// W_h h, `[B, A, capacity]`.
    private var keys: Tensor
    /// h̃ of the last position, `[B, H]`.
    private var context: Tensor

    /// Creates an empty tape.
    ///
    /// - Parameters:
    ///   - batchCount: `B`, sequences.
    ///   - weights: Of the layer that writes it.
    ///   - capacity: For how many positions to take memory at once; more is taken when it is needed.
    public init(batchCount: Int, weights: LSTMNWeights, capacity: Int = 64) {
        let type: ElementType = weights.contextWeight.elementType == .float64 ? .float64 : .float32
        let (hiddenDimension, capacity) = (weights.hiddenDimension, max(1, capacity))
        hidden = Tensor(zeros: [batchCount, capacity, hiddenDimension], elementType: type)
        cells = hidden
        keys = Tensor(zeros: [batchCount, weights.attentionDimension, capacity], elementType: type)
        context = Tensor(zeros: [batchCount, hiddenDimension], elementType: type)
        lastAttentionWeights = Tensor(zeros: [batchCount, 0], elementType: type)
    }

    /// Reads one position of each sequence; nothing is recorded for gradients.
    ///
    /// - Parameters:
    ///   - x: `[B, D]`.
    ///   - weights: Those that the tape was made for.
    /// - Returns: `[B, H]`.
    public mutating func step(_ x: Tensor, weights: LSTMNWeights) -> Tensor {
        require(
            x.shape == [hidden.shape[0], weights.inputDimension],
            "A step takes [\(hidden.shape[0]), \(weights.inputDimension)], not \(x.shape).")
        return hidden.elementType == .float64
            ? step(x, weights, as: Double.self) : step(x, weights, as: Float.self)
    }

    private mutating func step<Scalar: KernelScalar>(
        _ x: Tensor, _ weights: LSTMNWeights, as type: Scalar.Type
    ) -> Tensor {
        makeRoom()
        let operands = withoutGradients {
            [
                weights.gateInputs(x), weights.queryInputs(x), weights.contextWeight, weights.tapeWeight,
                weights.queryContextWeight, weights.scoreWeight,
            ].map { $0.converted(to: Scalar.elementType).contiguous() }
        }
        let (batchCount, capacity, dimension) = (hidden.shape[0], hidden.shape[1], hidden.shape[2])
        let units = keys.shape[1]
        let newWeights = Tensor(uninitialized: [batchCount, count], elementType: Scalar.elementType)
        let step = LSTMNSteps<Scalar>(
            positions: count..<count + 1, hiddenDimension: dimension, units: units,
            contextWeight: MatrixOperand(transposed: operands[2].pointer(as: Scalar.self), rowStride: dimension),
            tapeWeight: MatrixOperand(transposed: operands[3].pointer(as: Scalar.self), rowStride: dimension),
            queryContextWeight: MatrixOperand(transposed: operands[4].pointer(as: Scalar.self), rowStride: dimension),
            scoreWeight: operands[5].pointer(as: Scalar.self), gateInputs: operands[0].pointer(as: Scalar.self),
            queryInputs: operands[1].pointer(as: Scalar.self), hidden: hidden.pointer(as: Scalar.self),
            cells: cells.pointer(as: Scalar.self), keys: keys.pointer(as: Scalar.self), capacity: capacity,
            context: context.pointer(as: Scalar.self), weights: newWeights.pointer(as: Scalar.self),
            weightStride: (sequence: count, step: count), gates: nil)
        step.run(lengths: [Int](repeating: count + 1, count: batchCount))
        withExtendedLifetime(operands) {}
        count += 1
        lastAttentionWeights = newWeights
        return hidden.slice(axis: 1, range: count - 1..<count).removing(axis: 1).contiguous()
    }

    /// Sees that there is a place for one more position, and that nobody else looks at it.
    private mutating func makeRoom() {
        if count == hidden.shape[1] {
            func doubled(_ tensor: Tensor, axis: Int) -> Tensor {
                var shape = tensor.shape
                shape[axis] *= 2
                var larger = Tensor(zeros: shape, elementType: tensor.elementType)
                larger.write(tensor, axis: axis, at: 0)
                return larger
            }
            hidden = doubled(hidden, axis: 1)
            cells = doubled(cells, axis: 1)
            keys = doubled(keys, axis: 2)
        }
        hidden.makeUnique()
        cells.makeUnique()
        keys.makeUnique()
        context.makeUnique()
    }
}

/// The forward pass over some positions, the tapes of those before being there already.
///
/// Sequences are independent. A block of them is one thread's, so that a step multiplies a weight by several states.
private struct LSTMNSteps<Scalar: KernelScalar>: @unchecked Sendable {
    // Safe: a block of sequences writes its own rows alone, and the caller keeps the memory alive.

    /// Which positions are read.
    let positions: Range<Int>
    let hiddenDimension: Int
    let units: Int
    /// `[H, 4H]`.
    let contextWeight: MatrixOperand<Scalar>
    /// `[H, A]`.
    let tapeWeight: MatrixOperand<Scalar>
    /// `[H, A]`.
    let queryContextWeight: MatrixOperand<Scalar>
    /// `[A]`.
    let scoreWeight: UnsafePointer<Scalar>
    /// `[B, positions.count, 4H]`.
    let gateInputs: UnsafePointer<Scalar>
    /// `[B, positions.count, A]`.
    let queryInputs: UnsafePointer<Scalar>
    /// `[B, capacity, H]`.
    let hidden: UnsafeMutablePointer<Scalar>
    /// `[B, capacity, H]`.
    let cells: UnsafeMutablePointer<Scalar>
    /// `[B, A, capacity]`, so that one vector holds the same unit of many positions.
    let keys: UnsafeMutablePointer<Scalar>
    let capacity: Int
    /// `[B, H]`: h̃ of the position before.
    let context: UnsafeMutablePointer<Scalar>
    /// Where the attention weights go, `nil` for nowhere.
    let weights: UnsafeMutablePointer<Scalar>?
    let weightStride: (sequence: Int, step: Int)
    /// `[B, positions.count, 4H]`, or nowhere.
    let gates: UnsafeMutablePointer<Scalar>?

    func run(lengths: [Int]) {
        let size = max(1, blocks(of: lengths.count, by: ComputeThreads.count))
        parallel(blocks(of: lengths.count, by: size)) { block in
            read(range(block, by: size, upTo: lengths.count), lengths)
        }
    }

    private func read(_ rows: Range<Int>, _ lengths: [Int]) {
        let width = hiddenDimension
        let end = min(positions.upperBound, rows.map { lengths[$0] }.max() ?? 0)
        guard positions.lowerBound < end else { return }
        withScratch(rows.count * units, rows.count * 4 * width, rows.count * width, capacity) {
            read(rows, lengths, upTo: end, query: $0[0], gate: $0[1], cellContext: $0[2], weightRow: $0[3])
        }
    }

    /// Reads positions of a block of sequences, with memory for their queries, gates and c̃, and for a row of weights
    /// where they are not kept.
    private func read(
        _ rows: Range<Int>, _ lengths: [Int], upTo end: Int, query: UnsafeMutablePointer<Scalar>,
        gate: UnsafeMutablePointer<Scalar>, cellContext: UnsafeMutablePointer<Scalar>,
        weightRow: UnsafeMutablePointer<Scalar>
    ) {
        let (width, first) = (hiddenDimension, rows.lowerBound)
        for position in positions.lowerBound..<end {
            let step = position - positions.lowerBound
            let active = rows.filter { position < lengths[$0] }
            for row in active {
                (query + (row - first) * units).update(
                    from: queryInputs + (row * positions.count + step) * units, count: units)
                (gate + (row - first) * 4 * width).update(
                    from: gateInputs + (row * positions.count + step) * 4 * width, count: 4 * width)
            }
            multiply(
                MatrixOperand(rows: context + first * width, rowStride: width), queryContextWeight, rows: rows.count,
                columns: units, depth: width, into: query, outStride: units, isAccumulating: true)
            for row in active {
                let weights =
                    weights.map { $0 + row * weightStride.sequence + step * weightStride.step } ?? weightRow
                attend(
                    from: query + (row - first) * units, row: row, count: position, weights: weights,
                    cellContext: cellContext + (row - first) * width)
            }
            multiply(
                MatrixOperand(rows: context + first * width, rowStride: width), contextWeight, rows: rows.count,
                columns: 4 * width, depth: width, into: gate, outStride: 4 * width, isAccumulating: true)
            for row in active {
                let gate = gate + (row - first) * 4 * width
                activate(gate)
                gates.map { $0 + (row * positions.count + step) * 4 * width }?.update(from: gate, count: 4 * width)
                let place = (row * capacity + position) * width
                remember(gate, cellContext + (row - first) * width, hidden + place, cells + place)
            }
            multiply(
                MatrixOperand(rows: hidden + (first * capacity + position) * width, rowStride: capacity * width),
                tapeWeight, rows: rows.count, columns: units, depth: width, into: query, outStride: units)
            for row in active {
                let (column, key) = (keys + row * units * capacity + position, query + (row - first) * units)
                for unit in 0..<units { column[unit * capacity] = key[unit] }
            }
        }
    }

    /// Computes the weights of the first `count` positions, and h̃ and c̃.
    private func attend(
        from query: UnsafePointer<Scalar>, row: Int, count: Int, weights: UnsafeMutablePointer<Scalar>,
        cellContext: UnsafeMutablePointer<Scalar>
    ) {
        let (width, context) = (hiddenDimension, context + row * hiddenDimension)
        guard count > 0 else {
            context.update(repeating: 0, count: width)
            cellContext.update(repeating: 0, count: width)
            return
        }
        Scalar.additive(
            TileOperands(
                out: weights, outStride: count, a: query, aStride: units, b: keys + row * units * capacity,
                bStride: capacity, rows: 1, columns: count, depth: units), weights: scoreWeight)
        let sum = Scalar.expSum(weights, count, shift: Scalar.maximum(weights, count))
        Scalar.scale(weights, count, by: 1 / sum)
        for (tape, out) in [(hidden, context), (cells, cellContext)] {
            Scalar.product(
                TileOperands(
                    out: out, outStride: width, a: weights, aStride: count, b: tape + row * capacity * width,
                    bStride: width, rows: 1, columns: width, depth: count))
        }
    }

    /// Turns pre-activations into input gate, forget gate, candidate and output gate, in place.
    private func activate(_ gates: UnsafeMutablePointer<Scalar>) {
        let width = hiddenDimension
        // σ(x) = (1 + tanh(x / 2)) / 2, so that one pass of tanh does for all four.
        Scalar.scale(gates, 2 * width, by: 0.5)
        Scalar.scale(gates + 3 * width, width, by: 0.5)
        Scalar.softCap(gates, 4 * width, cap: 1)
        for index in 0..<2 * width { gates[index] = (1 + gates[index]) / 2 }
        for index in 3 * width..<4 * width { gates[index] = (1 + gates[index]) / 2 }
    }

    private func remember(
        _ gates: UnsafePointer<Scalar>, _ cellContext: UnsafePointer<Scalar>, _ hidden: UnsafeMutablePointer<Scalar>,
        _ cell: UnsafeMutablePointer<Scalar>
    ) {
        let width = hiddenDimension
        let (input, forget, candidate, output) = (gates, gates + width, gates + 2 * width, gates + 3 * width)
        for index in 0..<width {
            cell[index] = forget[index] * cellContext[index] + input[index] * candidate[index]
            hidden[index] = cell[index]
        }
        Scalar.softCap(hidden, width, cap: 1)
        for index in 0..<width { hidden[index] *= output[index] }
    }
}

/// Calls `body` with as many pieces of memory, zeros at first.
private func withScratch<Scalar: KernelScalar>(
    _ counts: Int..., body: ([UnsafeMutablePointer<Scalar>]) -> Void
) {
    withUnsafeTemporaryAllocation(of: Scalar.self, capacity: max(1, counts.reduce(0, +))) { memory in
        memory.initialize(repeating: 0)
        guard var next = memory.baseAddress else { return }
        body(
            counts.map { count in
                defer { next += count }
                return next
            })
    }
}

// MARK: - Whole sequences

private func lstmn<Scalar: KernelScalar>(
    _ operands: [Tensor], _ lengths: [Int], _ returningWeights: Bool, as type: Scalar.Type
) -> LSTMNResult {
    let parts = LSTMNParts<Scalar>(operands)
    let (batchCount, length, width, units) = (parts.batchCount, parts.length, parts.width, parts.units)
    let hidden = Tensor(zeros: [batchCount, length, width], elementType: Scalar.elementType)
    let cells = Tensor(zeros: [batchCount, length, width], elementType: Scalar.elementType)
    let keys = Tensor(uninitialized: [batchCount, units, length], elementType: Scalar.elementType)
    let context = Tensor(zeros: [batchCount, width], elementType: Scalar.elementType)
    let recorded = isRecorded(operands)
    let attentionWeights =
        recorded || returningWeights
        ? Tensor(zeros: [batchCount, length, length], elementType: Scalar.elementType) : nil
    let gates =
        recorded ? Tensor(uninitialized: [batchCount, length, 4 * width], elementType: Scalar.elementType) : nil
    let transposed = [parts.contextWeight, parts.tapeWeight, parts.queryContextWeight].map {
        $0.transposed(0, 1).contiguous()
    }
    func operand(_ index: Int) -> MatrixOperand<Scalar> {
        MatrixOperand(rows: transposed[index].pointer(as: Scalar.self), rowStride: transposed[index].shape[1])
    }
    LSTMNSteps<Scalar>(
        positions: 0..<length, hiddenDimension: width, units: units, contextWeight: operand(0), tapeWeight: operand(1),
        queryContextWeight: operand(2), scoreWeight: parts.scoreWeight.pointer(as: Scalar.self),
        gateInputs: parts.gateInputs.pointer(as: Scalar.self), queryInputs: parts.queryInputs.pointer(as: Scalar.self),
        hidden: hidden.pointer(as: Scalar.self), cells: cells.pointer(as: Scalar.self),
        keys: keys.pointer(as: Scalar.self), capacity: length, context: context.pointer(as: Scalar.self),
        weights: attentionWeights?.pointer(as: Scalar.self), weightStride: (length * length, length),
        gates: gates?.pointer(as: Scalar.self)
    ).run(lengths: lengths)
    withExtendedLifetime((parts, transposed, keys, context, hidden, cells, gates, attentionWeights)) {}
    guard recorded, let gates, let attentionWeights else {
        return LSTMNResult(hiddenStates: hidden, attentionWeights: attentionWeights)
    }
    let output = hidden.recorded(from: operands) { gradient, isWanted in
        LSTMNBackward(
            parts: parts, lengths: lengths, hidden: hidden, cells: cells, gates: gates, weights: attentionWeights,
            gradient: gradient.contiguous()
        ).gradients(isWanted)
    }
    return LSTMNResult(hiddenStates: output, attentionWeights: returningWeights ? attentionWeights : nil)
}

/// What a pass over whole sequences computes from, without a past.
private struct LSTMNParts<Scalar: KernelScalar>: Sendable {
    /// `[B, T, 4H]`.
    let gateInputs: Tensor
    /// `[B, T, A]`.
    let queryInputs: Tensor
    /// `[4H, H]`.
    let contextWeight: Tensor
    /// `[A, H]`.
    let tapeWeight: Tensor
    /// `[A, H]`.
    let queryContextWeight: Tensor
    /// `[A]`.
    let scoreWeight: Tensor

    init(_ operands: [Tensor]) {
        let data = operands.map { $0.detached.converted(to: Scalar.elementType).contiguous() }
        (gateInputs, queryInputs, contextWeight) = (data[0], data[1], data[2])
        (tapeWeight, queryContextWeight, scoreWeight) = (data[3], data[4], data[5])
    }

    var batchCount: Int { gateInputs.shape[0] }
    var length: Int { gateInputs.shape[1] }
    var width: Int { contextWeight.shape[1] }
    var units: Int { scoreWeight.shape[0] }
}

/// The way back through whole sequences.
///
/// h̃, c̃, the keys and the queries are matrix products of what was kept, and are made again; so are the attention's
/// units, one position's at a time.
private struct LSTMNBackward<Scalar: KernelScalar>: @unchecked Sendable {
    // Safe: a block of sequences writes its own rows of the gradients alone; everything else is only read.

    let parts: LSTMNParts<Scalar>
    let lengths: [Int]
    /// `[B, T, H]`.
    let hidden: Tensor
    /// `[B, T, H]`.
    let cells: Tensor
    /// `[B, T, 4H]`.
    let gates: Tensor
    /// `[B, T, T]`.
    let weights: Tensor

    // Made again.
    /// `[B, T, H]`: h̃.
    private let context: Tensor
    /// `[B, T, H]`: c̃.
    private let cellContext: Tensor
    /// `[B, T, A]`.
    private let keys: Tensor
    /// `[B, T, A]`.
    private let queries: Tensor

    // Gradients.
    /// Of the result, `[B, T, H]`.
    private let gradient: Tensor
    private let gateGradient: Tensor
    private let queryGradient: Tensor
    private let keyGradient: Tensor
    private let contextGradient: Tensor
    private let cellContextGradient: Tensor
    /// `[B, A]`: each sequence's part.
    private let scoreWeightGradient: Tensor

    init(
        parts: LSTMNParts<Scalar>, lengths: [Int], hidden: Tensor, cells: Tensor, gates: Tensor, weights: Tensor,
        gradient: Tensor
    ) {
        self.parts = parts
        self.lengths = lengths
        self.hidden = hidden
        self.cells = cells
        self.gates = gates
        self.weights = weights
        self.gradient = gradient
        let (batchCount, length, width, units) = (parts.batchCount, parts.length, parts.width, parts.units)
        func zeros(_ shape: Int...) -> Tensor { Tensor(zeros: shape, elementType: Scalar.elementType) }
        gateGradient = zeros(batchCount, length, 4 * width)
        queryGradient = zeros(batchCount, length, units)
        keyGradient = zeros(batchCount, length, units)
        contextGradient = zeros(batchCount, length, width)
        cellContextGradient = zeros(batchCount, length, width)
        scoreWeightGradient = zeros(batchCount, units)

        (context, cellContext) = (zeros(batchCount, length, width), zeros(batchCount, length, width))
        keys = zeros(batchCount, length, units)
        // forward: key = W_h h
        multiply(
            Self.rows(hidden), Self.transposed(parts.tapeWeight), rows: batchCount * length, columns: units,
            depth: width, into: keys.pointer(as: Scalar.self), outStride: units)
        queries = parts.queryInputs.copied(to: Scalar.elementType)
        for (tape, out) in [(hidden, context), (cells, cellContext)] {
            // forward: h̃_t = Σ a_i h_i
            parallel(batchCount) { row in
                multiply(
                    MatrixOperand(
                        rows: weights.pointer(as: Scalar.self) + row * length * length, rowStride: length),
                    MatrixOperand(rows: tape.pointer(as: Scalar.self) + row * length * width, rowStride: width),
                    rows: lengths[row], columns: width, depth: lengths[row],
                    into: out.pointer(as: Scalar.self) + row * length * width, outStride: width)
            }
        }
        for row in 0..<batchCount where lengths[row] > 1 {
            // forward: query_t = W_x x_t + W_h̃ h̃_{t-1}
            multiply(
                MatrixOperand(rows: context.pointer(as: Scalar.self) + row * length * width, rowStride: width),
                Self.transposed(parts.queryContextWeight), rows: lengths[row] - 1, columns: units, depth: width,
                into: queries.pointer(as: Scalar.self) + (row * length + 1) * units, outStride: units,
                isAccumulating: true)
        }
    }

    private static func rows(_ matrix: Tensor) -> MatrixOperand<Scalar> {
        MatrixOperand(rows: matrix.pointer(as: Scalar.self), rowStride: matrix.shape.last ?? 1)
    }

    private static func transposed(_ matrix: Tensor) -> MatrixOperand<Scalar> {
        MatrixOperand(transposed: matrix.pointer(as: Scalar.self), rowStride: matrix.shape.last ?? 1)
    }

    /// Returns the gradients of the six operands.
    func gradients(_ isWanted: [Bool]) -> [Tensor?] {
        let size = max(1, blocks(of: parts.batchCount, by: ComputeThreads.count))
        parallel(blocks(of: parts.batchCount, by: size)) { block in
            goBack(through: range(block, by: size, upTo: parts.batchCount))
        }
        let (positions, units) = (parts.batchCount * parts.length, parts.units)
        func product(_ outputs: Tensor, skipping skipped: Int = 0, _ inputs: Tensor) -> Tensor {
            let (count, inner) = (outputs.shape[2], inputs.shape[2])
            let result = Tensor(uninitialized: [count, inner], elementType: Scalar.elementType)
            multiply(
                MatrixOperand(transposed: outputs.pointer(as: Scalar.self) + skipped * count, rowStride: count),
                Self.rows(inputs), rows: count, columns: inner, depth: max(0, positions - skipped),
                into: result.pointer(as: Scalar.self), outStride: inner)
            return result
        }
        return withExtendedLifetime(self) {
            [
                isWanted[0] ? gateGradient : nil,
                isWanted[1] ? queryGradient : nil,
                // forward: gates = … + W h̃
                isWanted[2] ? product(gateGradient, context) : nil,
                // forward: key = W_h h
                isWanted[3] ? product(keyGradient, hidden) : nil,
                // forward: query_t = … + W_h̃ h̃_{t-1}. A sequence's first query has no gradient, so that it does not
                // matter what stands before it.
                isWanted[4] ? product(queryGradient, skipping: 1, context) : nil,
                isWanted[5] ? scoreWeightGradient.summed(to: [units]) : nil,
            ]
        }
    }

    private func goBack(through rows: Range<Int>) {
        let (length, width, units) = (parts.length, parts.width, parts.units)
        withScratch(rows.count * width, rows.count * width, max(1, length), max(1, length), length * units) {
            goBack(
                through: rows, hiddenGradient: $0[0], cellGradient: $0[1],
                attention: LSTMNAttentionScratch(row: $0[2], other: $0[3], unit: $0[4]))
        }
    }

    private func goBack(
        through rows: Range<Int>, hiddenGradient: UnsafeMutablePointer<Scalar>,
        cellGradient: UnsafeMutablePointer<Scalar>, attention: LSTMNAttentionScratch<Scalar>
    ) {
        let (length, width, units, first) = (parts.length, parts.width, parts.units, rows.lowerBound)
        let (gateGradients, contextGradients) = (
            gateGradient.pointer(as: Scalar.self), contextGradient.pointer(as: Scalar.self)
        )
        let queryGradients = queryGradient.pointer(as: Scalar.self)
        for position in (0..<(rows.map { lengths[$0] }.max() ?? 0)).reversed() {
            let active = rows.filter { position < lengths[$0] }
            for row in active {
                gatherFromLaterPositions(
                    row, position, hiddenGradient + (row - first) * width, cellGradient + (row - first) * width,
                    column: attention.row)
            }
            // forward: key = W_h h
            multiply(
                MatrixOperand(
                    rows: keyGradient.pointer(as: Scalar.self) + (first * length + position) * units,
                    rowStride: length * units), Self.rows(parts.tapeWeight), rows: rows.count, columns: width,
                depth: units, into: hiddenGradient, outStride: width, isAccumulating: true)
            for row in active {
                goBackThroughGates(
                    row, position, hiddenGradient + (row - first) * width, cellGradient + (row - first) * width)
            }
            // forward: gates = … + W h̃
            let out = contextGradients + (first * length + position) * width
            multiply(
                MatrixOperand(
                    rows: gateGradients + (first * length + position) * 4 * width, rowStride: length * 4 * width),
                Self.rows(parts.contextWeight), rows: rows.count, columns: width, depth: 4 * width, into: out,
                outStride: length * width)
            if position + 1 < length {
                // forward: query_{t+1} = … + W_h̃ h̃_t
                multiply(
                    MatrixOperand(
                        rows: queryGradients + (first * length + position + 1) * units, rowStride: length * units),
                    Self.rows(parts.queryContextWeight), rows: rows.count, columns: width, depth: units, into: out,
                    outStride: length * width, isAccumulating: true)
            }
            for row in active where position > 0 { goBackThroughAttention(row, position, attention) }
        }
    }

    /// Writes the gradients of h and c at a position: of the result itself, and of what later positions took from there.
    private func gatherFromLaterPositions(
        _ row: Int, _ position: Int, _ hiddenGradient: UnsafeMutablePointer<Scalar>,
        _ cellGradient: UnsafeMutablePointer<Scalar>, column: UnsafeMutablePointer<Scalar>
    ) {
        let (length, width, later) = (parts.length, parts.width, lengths[row] - position - 1)
        let place = (row * length + position) * width
        hiddenGradient.update(from: gradient.pointer(as: Scalar.self) + place, count: width)
        cellGradient.update(repeating: 0, count: width)
        guard later > 0 else { return }
        let weights = weights.pointer(as: Scalar.self) + (row * length + position + 1) * length + position
        for index in 0..<later { column[index] = weights[index * length] }
        // forward: h̃_t = Σ a_i h_i and c̃_t = Σ a_i c_i
        for (taken, sum) in [(contextGradient, hiddenGradient), (cellContextGradient, cellGradient)] {
            Scalar.productAdd(
                TileOperands(
                    out: sum, outStride: width, a: column, aStride: later,
                    b: taken.pointer(as: Scalar.self) + place + width, bStride: width, rows: 1, columns: width,
                    depth: later))
        }
    }

    private func goBackThroughGates(
        _ row: Int, _ position: Int, _ hiddenGradient: UnsafePointer<Scalar>, _ cellGradient: UnsafePointer<Scalar>
    ) {
        let (width, place) = (parts.width, row * parts.length + position)
        let gates = gates.pointer(as: Scalar.self) + place * 4 * width
        let result = gateGradient.pointer(as: Scalar.self) + place * 4 * width
        let cell = cells.pointer(as: Scalar.self) + place * width
        let context = cellContext.pointer(as: Scalar.self) + place * width
        let contextGradient = cellContextGradient.pointer(as: Scalar.self) + place * width
        // tanh c, where its gradient will stand.
        contextGradient.update(from: cell, count: width)
        Scalar.softCap(contextGradient, width, cap: 1)
        for index in 0..<width {
            let (input, forget) = (gates[index], gates[width + index])
            let (candidate, output) = (gates[2 * width + index], gates[3 * width + index])
            let squashed = contextGradient[index]
            // forward: h = output ⊙ tanh(c)
            let outputGradient = hiddenGradient[index] * squashed
            let gradient = cellGradient[index] + hiddenGradient[index] * output * (1 - squashed * squashed)
            // forward: c = forget ⊙ c̃ + input ⊙ candidate
            result[index] = gradient * candidate * input * (1 - input)
            result[width + index] = gradient * context[index] * forget * (1 - forget)
            result[2 * width + index] = gradient * input * (1 - candidate * candidate)
            result[3 * width + index] = outputGradient * output * (1 - output)
            contextGradient[index] = gradient * forget
        }
    }

    private func goBackThroughAttention(_ row: Int, _ position: Int, _ scratch: LSTMNAttentionScratch<Scalar>) {
        let (length, width, units) = (parts.length, parts.width, parts.units)
        let (start, place) = (row * length, row * length + position)
        let scoreGradient = scratch.row
        for (taken, tape, out) in [
            (contextGradient, hidden, scratch.row), (cellContextGradient, cells, scratch.other),
        ] {
            // forward: h̃_t = Σ a_i h_i and c̃_t = Σ a_i c_i
            Scalar.dotRows(
                TileOperands(
                    out: out, outStride: position, a: taken.pointer(as: Scalar.self) + place * width, aStride: width,
                    b: tape.pointer(as: Scalar.self) + start * width, bStride: width, rows: 1, columns: position,
                    depth: width))
        }
        // forward: a = softmax(score)
        let weights = weights.pointer(as: Scalar.self) + place * length
        var mean: Scalar = 0
        for index in 0..<position {
            scoreGradient[index] += scratch.other[index]
            mean += weights[index] * scoreGradient[index]
        }
        for index in 0..<position { scoreGradient[index] = weights[index] * (scoreGradient[index] - mean) }
        // forward: score_i = v · unit_i, unit_i = tanh(key_i + query)
        let query = queries.pointer(as: Scalar.self) + place * units
        let keys = keys.pointer(as: Scalar.self) + start * units
        let unit = scratch.unit
        for index in 0..<position {
            for column in 0..<units { unit[index * units + column] = keys[index * units + column] + query[column] }
        }
        Scalar.softCap(unit, position * units, cap: 1)
        let queryGradient = queryGradient.pointer(as: Scalar.self) + place * units
        let keyGradients = keyGradient.pointer(as: Scalar.self) + start * units
        let scoreWeightGradient = scoreWeightGradient.pointer(as: Scalar.self) + row * units
        let scoreWeight = parts.scoreWeight.pointer(as: Scalar.self)
        for index in 0..<position {
            let (gradient, unit, keyGradient) = (
                scoreGradient[index], unit + index * units, keyGradients + index * units
            )
            for column in 0..<units {
                scoreWeightGradient[column] += gradient * unit[column]
                let inner = gradient * scoreWeight[column] * (1 - unit[column] * unit[column])
                keyGradient[column] += inner
                queryGradient[column] += inner
            }
        }
    }
}

/// Memory for the way back through one position's attention.
private struct LSTMNAttentionScratch<Scalar> {
    /// `[T]`.
    let row: UnsafeMutablePointer<Scalar>
    /// `[T]`.
    let other: UnsafeMutablePointer<Scalar>
    /// `[T, A]`.
    let unit: UnsafeMutablePointer<Scalar>
}
