/// What linear attention returns.
public struct LinearAttentionResult: Sendable {
    /// `[B, H, T, V]`.
    public let output: Tensor
    /// The state after the last step, `[B, G, D, V]`.
    public let state: Tensor
}

/// Returns attention without a softmax: keys and values are added up in a state of fixed size, which queries read.
///
/// At each step, with the state `S` a matrix `[D, V]` for each key-value head, at first zeros:
///
/// ```
/// S ← diag(e^decay) S                   if there is a decay
/// u = v                                 or, with an update rate β, the delta rule:  u = β (v - Sᵀ k)
/// S ← S + k uᵀ
/// o = scale · Sᵀ q
/// ```
///
/// Without either it is the linear attention of Katharopoulos et al., "Transformers are RNNs", 2020 (arXiv:2006.16236),
/// unnormalised; with a decay that of Yang et al., "Gated Linear Attention", 2023 (arXiv:2312.06635); with a rate
/// DeltaNet: Schlag et al., "Linear Transformers Are Secretly Fast Weight Programmers", 2021 (arXiv:2102.11174); with
/// both Yang et al., "Gated Delta Networks", 2024 (arXiv:2412.06464). These are the four rules of ONNX's operator
/// `LinearAttention`. It is a sum, no average: nothing is normalised, and for the delta rule keys should have length 1.
///
/// `B` batch, `H` query heads, `G` key-value heads (`G` divides `H`), `T` steps, `D` and `V` head dimensions.
///
/// - Parameters:
///   - queries: `[B, H, T, D]`, floating-point.
///   - keys: `[B, G, T, D]`.
///   - values: `[B, G, T, V]`.
///   - decay: `[B, G, T, D]`, or `[B, G, T, 1]` for all of a head: logarithms of factors, mostly 0 or less.
///   - updateRate: `[B, G, T]`, or `[B, 1, T]` for all heads: mostly from 0 to 1.
///   - state: What an earlier call returned, `[B, G, D, V]`; `nil` means zeros.
///   - scale: Multiplies the output; `nil` means `1 / √D`.
/// - Returns: The output and the state after the last step: float64 where queries, keys and values are, else float32.
/// - Complexity: O(B·H·T·D·V) time. For gradients the state is kept at every 64th step, and the steps between are
///   computed again.
public func linearAttention(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, updateRate: Tensor? = nil,
    state: Tensor? = nil, scale: Double? = nil
) -> LinearAttentionResult {
    require(
        queries.rank == 4 && keys.rank == 4 && values.rank == 4,
        "Queries, keys and values have four dimensions, not \(queries.shape), \(keys.shape) and \(values.shape).")
    let (batch, heads, steps, dimension) = (keys.shape[0], keys.shape[1], keys.shape[2], keys.shape[3])
    require(
        queries.shape[0] == batch && queries.shape[2] == steps && queries.shape[3] == dimension && heads > 0
            && queries.shape[1] % heads == 0,
        "The queries \(queries.shape) do not fit the keys \(keys.shape).")
    require(
        Array(values.shape[..<3]) == [batch, heads, steps],
        "The values \(values.shape) do not fit the keys \(keys.shape).")
    let stateShape = [batch, heads, dimension, values.shape[3]]
    require(state == nil || state?.shape == stateShape, "The state is \(state?.shape ?? []), not \(stateShape).")
    let scale = scale ?? 1 / Double(max(1, dimension)).squareRoot()
    let operands = LinearAttentionOperands(
        queries: queries, keys: keys, values: values, decay: decay?.expanded(to: keys.shape),
        updateRate: updateRate?.expanded(to: [batch, heads, steps]),
        state: state ?? Tensor(zeros: stateShape, elementType: computedType(queries, keys, values)))
    return computedType(queries, keys, values) == .float64
        ? linearAttention(operands, scale, as: Double.self) : linearAttention(operands, scale, as: Float.self)
}

private struct LinearAttentionOperands: Sendable {
    let queries, keys, values: Tensor
    let decay, updateRate: Tensor?
    let state: Tensor

    func detached(as type: ElementType) -> LinearAttentionOperands {
        func plain(_ tensor: Tensor) -> Tensor { tensor.detached.converted(to: type).contiguous() }
        return LinearAttentionOperands(
            queries: plain(queries), keys: plain(keys), values: plain(values), decay: decay.map(plain),
            updateRate: updateRate.map(plain), state: plain(state))
    }

    var all: [Tensor?] { [queries, keys, values, decay, updateRate, state] }
}

private func linearAttention<Scalar: KernelScalar>(
    _ operands: LinearAttentionOperands, _ scale: Double, as type: Scalar.Type
) -> LinearAttentionResult {
    let recurrence = LinearRecurrence<Scalar>(operands.detached(as: Scalar.elementType), scale)
    let isRecorded = isRecorded(operands.all)
    let (outputShape, stateShape) = (recurrence.outputShape, operands.state.shape)
    let (outputCount, stateCount) = (recurrence.outputCount, operands.state.elementCount)
    // Output and state are one tensor, so that one step of the backward pass gets the gradients of both.
    let (results, kept) = recurrence.run(isRecorded: isRecorded)
    let recorded = results.recorded(from: operands.all) { gradient, isWanted in
        zip(recurrence.gradients(of: gradient.contiguous(), kept), isWanted).map { $1 ? $0 : nil }
    }
    return LinearAttentionResult(
        output: recorded.slice(axis: 0, range: 0..<outputCount).reshaped(to: outputShape),
        state: recorded.slice(axis: 0, range: outputCount..<outputCount + stateCount).reshaped(to: stateShape))
}

/// The recurrence of all heads, each of which is one item of work.
private struct LinearRecurrence<Scalar: KernelScalar>: Sendable {
    private let operands: LinearAttentionOperands
    private let scale: Scalar
    private let batch, queryHeads, heads, steps, dimension, valueDimension: Int
    /// How many steps lie between two states that are kept.
    private let chunk = 64

    init(_ operands: LinearAttentionOperands, _ scale: Double) {
        self.operands = operands
        self.scale = Scalar(scale)
        (batch, queryHeads) = (operands.queries.shape[0], operands.queries.shape[1])
        (heads, steps, dimension) = (operands.keys.shape[1], operands.keys.shape[2], operands.keys.shape[3])
        valueDimension = operands.values.shape[3]
    }

    var outputShape: [Int] { [batch, queryHeads, steps, valueDimension] }
    var outputCount: Int { batch * queryHeads * steps * valueDimension }
    private var stateSize: Int { dimension * valueDimension }
    private var queriesPerHead: Int { queryHeads / heads }

    /// Returns the outputs followed by the last states, and the state before every 64th step if the run is recorded.
    func run(isRecorded: Bool) -> (results: Tensor, kept: Tensor) {
        let items = batch * heads
        let results = Tensor(uninitialized: [outputCount + items * stateSize], elementType: Scalar.elementType)
        let chunks = isRecorded ? blocks(of: steps, by: chunk) : 0
        let kept = Tensor(uninitialized: [items, chunks, stateSize], elementType: Scalar.elementType)
        let out = results.pointer(as: Scalar.self)
        let keptStates = kept.pointer(as: Scalar.self)
        let first = operands.state.pointer(as: Scalar.self)
        parallel(items) { item in
            let state = out + outputCount + item * stateSize
            state.update(from: first + item * stateSize, count: stateSize)
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: valueDimension + 1) { update in
                guard let update = update.baseAddress else { return }
                for step in 0..<steps {
                    if isRecorded, step % chunk == 0 {
                        (keptStates + (item * chunks + step / chunk) * stateSize).update(from: state, count: stateSize)
                    }
                    decay(state, item, step)
                    advance(state, item, step, update: update)
                    for query in 0..<queriesPerHead {
                        let place = (item * queriesPerHead + query) * steps + step
                        read(state, query: self.query(place), into: out + place * valueDimension)
                    }
                }
            }
        }
        withExtendedLifetime(operands) {}
        return (results, kept)
    }

    /// Returns the gradient of each operand, from those of the outputs and of the last states.
    func gradients(of gradient: Tensor, _ kept: Tensor) -> [Tensor?] {
        let gradients = LinearAttentionOperands(
            queries: zeros(operands.queries), keys: zeros(operands.keys), values: zeros(operands.values),
            decay: operands.decay.map(zeros), updateRate: operands.updateRate.map(zeros), state: zeros(operands.state))
        let source = gradient.pointer(as: Scalar.self)
        let keptStates = kept.pointer(as: Scalar.self)
        let chunks = blocks(of: steps, by: chunk)
        parallel(batch * heads) { item in
            let stateGradient = gradients.state.pointer(as: Scalar.self) + item * stateSize
            stateGradient.update(from: source + outputCount + item * stateSize, count: stateSize)
            // The states after the decay and after each step of a chunk, the updates of the steps, and room for one step.
            let capacity = chunk * (2 * stateSize + valueDimension) + 2 * valueDimension + dimension + 2
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: capacity) { scratch in
                guard let decayed = scratch.baseAddress else { return }
                let states = decayed + chunk * stateSize
                let updates = states + chunk * stateSize
                let room = updates + chunk * valueDimension
                for block in (0..<chunks).reversed() {
                    let range = range(block, by: chunk, upTo: steps)
                    var before = UnsafePointer(keptStates + (item * chunks + block) * stateSize)
                    for (place, step) in range.enumerated() {
                        let (middle, after) = (decayed + place * stateSize, states + place * stateSize)
                        middle.update(from: before, count: stateSize)
                        decay(middle, item, step)
                        after.update(from: middle, count: stateSize)
                        advance(after, item, step, update: updates + place * valueDimension)
                        before = UnsafePointer(after)
                    }
                    for (place, step) in range.enumerated().reversed() {
                        goBack(
                            item, step, source, decayed: decayed + place * stateSize, state: states + place * stateSize,
                            update: updates + place * valueDimension, stateGradient, room, gradients)
                    }
                }
            }
        }
        withExtendedLifetime((operands, gradient, kept)) {}
        return gradients.all
    }

    private func zeros(_ tensor: Tensor) -> Tensor { Tensor(zeros: tensor.shape, elementType: Scalar.elementType) }

    // MARK: - One step

    private func query(_ place: Int) -> UnsafePointer<Scalar> {
        UnsafePointer(operands.queries.pointer(as: Scalar.self) + place * dimension)
    }

    private func key(_ item: Int, _ step: Int) -> UnsafePointer<Scalar> {
        UnsafePointer(operands.keys.pointer(as: Scalar.self) + (item * steps + step) * dimension)
    }

    private func value(_ item: Int, _ step: Int) -> UnsafePointer<Scalar> {
        UnsafePointer(operands.values.pointer(as: Scalar.self) + (item * steps + step) * valueDimension)
    }

    private func factor(_ item: Int, _ step: Int, _ row: Int) -> Scalar {
        operands.decay.map { Scalar.exp($0.pointer(as: Scalar.self)[(item * steps + step) * dimension + row]) } ?? 1
    }

    private func rate(_ item: Int, _ step: Int) -> Scalar? {
        operands.updateRate.map { $0.pointer(as: Scalar.self)[item * steps + step] }
    }

    /// `S ← diag(e^decay) S`.
    private func decay(_ state: UnsafeMutablePointer<Scalar>, _ item: Int, _ step: Int) {
        guard operands.decay != nil else { return }
        for row in 0..<dimension {
            Scalar.scale(state + row * valueDimension, valueDimension, by: factor(item, step, row))
        }
    }

    /// `u = v`, or `u = β (v - Sᵀ k)`; then `S ← S + k uᵀ`.
    private func advance(
        _ state: UnsafeMutablePointer<Scalar>, _ item: Int, _ step: Int, update: UnsafeMutablePointer<Scalar>
    ) {
        let (key, value) = (key(item, step), value(item, step))
        if let rate = rate(item, step) {
            update.update(repeating: 0, count: valueDimension)
            addProduct(of: state, key, into: update)
            for column in 0..<valueDimension { update[column] = rate * (value[column] - update[column]) }
        } else {
            update.update(from: value, count: valueDimension)
        }
        addOuterProduct(key, update, into: state)
    }

    /// `o = scale · Sᵀ q`.
    private func read(
        _ state: UnsafePointer<Scalar>, query: UnsafePointer<Scalar>, into out: UnsafeMutablePointer<Scalar>
    ) {
        out.update(repeating: 0, count: valueDimension)
        addProduct(of: state, query, into: out)
        Scalar.scale(out, valueDimension, by: scale)
    }

    /// Undoes one step: `stateGradient` is of the state after it, then of the state before it.
    private func goBack(
        _ item: Int, _ step: Int, _ outputGradients: UnsafePointer<Scalar>, decayed: UnsafePointer<Scalar>,
        state: UnsafePointer<Scalar>, update: UnsafePointer<Scalar>, _ stateGradient: UnsafeMutablePointer<Scalar>,
        _ room: UnsafeMutablePointer<Scalar>, _ gradients: LinearAttentionOperands
    ) {
        let (key, value) = (key(item, step), value(item, step))
        let place = item * steps + step
        let (updateGradient, scaled, along) = (room, room + valueDimension, room + 2 * valueDimension + 1)
        for query in 0..<queriesPerHead {
            // forward: o = scale · Sᵀ q
            let place = (item * queriesPerHead + query) * steps + step
            scaled.update(from: outputGradients + place * valueDimension, count: valueDimension)
            Scalar.scale(scaled, valueDimension, by: scale)
            setProduct(of: state, scaled, into: gradients.queries.pointer(as: Scalar.self) + place * dimension)
            addOuterProduct(self.query(place), scaled, into: stateGradient)
        }
        // forward: S ← S + k uᵀ
        let keyGradient = gradients.keys.pointer(as: Scalar.self) + place * dimension
        let valueGradient = gradients.values.pointer(as: Scalar.self) + place * valueDimension
        setProduct(of: stateGradient, update, into: keyGradient)
        updateGradient.update(repeating: 0, count: valueDimension)
        addProduct(of: stateGradient, key, into: updateGradient)
        valueGradient.update(from: updateGradient, count: valueDimension)
        if let rate = rate(item, step) {
            // forward: u = β (v - Sᵀ k), with S after the decay
            Scalar.scale(valueGradient, valueDimension, by: rate)
            setProduct(of: decayed, updateGradient, into: along)
            if let rateGradients = gradients.updateRate {
                let rateGradient = rateGradients.pointer(as: Scalar.self) + place
                setDot(updateGradient, value, valueDimension, into: rateGradient)
                setDot(key, along, dimension, into: scaled)
                rateGradient.pointee -= scaled.pointee
            }
            for row in 0..<dimension { keyGradient[row] -= rate * along[row] }
            Scalar.scale(updateGradient, valueDimension, by: -rate)
            addOuterProduct(key, updateGradient, into: stateGradient)
        }
        if let decayGradients = gradients.decay {
            // forward: S ← diag(e^decay) S
            let decayGradient = decayGradients.pointer(as: Scalar.self) + place * dimension
            for row in 0..<dimension {
                let numbers = stateGradient + row * valueDimension
                setDot(decayed + row * valueDimension, numbers, valueDimension, into: decayGradient + row)
                Scalar.scale(numbers, valueDimension, by: factor(item, step, row))
            }
        }
    }

    // MARK: - Products of a state

    /// Adds `Sᵀ x`.
    private func addProduct(
        of state: UnsafePointer<Scalar>, _ x: UnsafePointer<Scalar>, into sum: UnsafeMutablePointer<Scalar>
    ) {
        Scalar.productAdd(
            TileOperands(
                out: sum, outStride: valueDimension, a: x, aStride: dimension, b: state, bStride: valueDimension,
                rows: 1,
                columns: valueDimension, depth: dimension))
    }

    /// Writes `S x`.
    private func setProduct(
        of state: UnsafePointer<Scalar>, _ x: UnsafePointer<Scalar>, into out: UnsafeMutablePointer<Scalar>
    ) {
        Scalar.dotRows(
            TileOperands(
                out: out, outStride: dimension, a: x, aStride: valueDimension, b: state, bStride: valueDimension,
                rows: 1,
                columns: dimension, depth: valueDimension))
    }

    /// Adds `x yᵀ`.
    private func addOuterProduct(
        _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, into state: UnsafeMutablePointer<Scalar>
    ) {
        Scalar.productAdd(
            TileOperands(
                out: state, outStride: valueDimension, a: x, aStride: 1, b: y, bStride: valueDimension, rows: dimension,
                columns: valueDimension, depth: 1))
    }

    /// Writes `x · y`.
    private func setDot(
        _ x: UnsafePointer<Scalar>, _ y: UnsafePointer<Scalar>, _ count: Int, into out: UnsafeMutablePointer<Scalar>
    ) {
        Scalar.dotRows(
            TileOperands(
                out: out, outStride: 1, a: x, aStride: count, b: y, bStride: count, rows: 1, columns: 1, depth: count))
    }
}
