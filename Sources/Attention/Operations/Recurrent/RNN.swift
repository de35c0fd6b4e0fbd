/// What a plain recurrent network may do otherwise than usual.
public struct RNNOptions: Sendable, Hashable {
    /// What is applied to the sum of inputs and state; `tanh` and `relu` are PyTorch's two.
    public var activation: RecurrentActivation
    /// Bounds what the activation is applied to: from `-clip` to `clip`.
    public var clip: Double?

    /// Chooses the activation.
    ///
    /// - Parameters:
    ///   - activation: What is applied to the sum of inputs and state.
    ///   - clip: Bounds that sum; `nil` means that nothing does.
    public init(activation: RecurrentActivation = .tanh, clip: Double? = nil) {
        self.activation = activation
        self.clip = clip
    }
}

/// Runs one direction of one layer of a plain recurrent network over whole sequences.
///
///     h_t = φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)
///
/// Elman, "Finding Structure in Time", 1990.
///
/// - Parameters:
///   - x: `[N, D]`, as `schedule` lays vectors out.
///   - schedule: Which sequences take part in which step.
///   - isReverse: Whether each sequence is taken from its last step to its first.
///   - weights: The parameters, of one gate.
///   - initialHidden: `[B, H]`.
///   - options: φ, and what bounds the sums.
/// - Returns: The state after each step, `[N, H]`, and the last of each sequence, `[B, H]`.
package func rnnSequence(
    _ x: Tensor, schedule: RecurrentSchedule, isReverse: Bool, weights: RecurrentWeights, initialHidden: Tensor,
    options: RNNOptions = RNNOptions()
) -> (outputs: Tensor, finalHidden: Tensor) {
    let units = weights.hidden.shape[1]
    weights.requireShapes(gateCount: 1, inputs: x.shape[1], units: units, width: units)
    require(
        initialHidden.shape == [schedule.batchCount, units],
        "The initial state is \(initialHidden.shape), not \([schedule.batchCount, units]).")
    let pass = RNNPass(schedule: schedule, isReverse: isReverse, unitCount: units, options: options)
    let results =
        areDouble([x, initialHidden] + weights.operands)
        ? pass.run(x, weights, initialHidden, as: Double.self) : pass.run(x, weights, initialHidden, as: Float.self)
    let parts = results.unpacked(into: [[schedule.rowCount, units], [schedule.batchCount, units]])
    return (parts[0], parts[1])
}

/// A plain recurrence over whole sequences, forward and backward.
private struct RNNPass {
    let schedule: RecurrentSchedule
    let isReverse: Bool
    let unitCount: Int
    let options: RNNOptions

    /// Returns the outputs and the final states, one after the other.
    func run<Scalar: KernelScalar>(
        _ x: Tensor, _ weights: RecurrentWeights, _ initialHidden: Tensor, as type: Scalar.Type
    ) -> Tensor {
        let units = unitCount
        let input = x.operand(as: type)
        let parameters = weights.converted(as: type)
        let sums = inputSums(
            input, weight: parameters.input, bias: sumOfBiases(parameters.inputBias, parameters.hiddenBias), as: type)
        let sum = sums.pointer(as: Scalar.self)
        let results = Tensor(
            uninitialized: [(schedule.rowCount + schedule.batchCount) * units], elementType: Scalar.elementType)
        let output = results.pointer(as: Scalar.self)
        let hidden = StateHistory<Scalar>(
            initial: initialHidden.operand(as: type), final: output + schedule.rowCount * units, schedule: schedule,
            isReverse: isReverse)
        let recurrence = StepMatrix<Scalar>(
            transposed: parameters.hidden, gateCount: 1, stepCount: schedule.rowCounts.count)
        for step in schedule.steps(isReverse: isReverse) {
            let first = schedule.starts[step]
            forEachBlock(units: units, rows: schedule.rowCounts[step]) { block, rows in
                let start = (first + rows.lowerBound) * units
                recurrence.multiply(
                    hidden.previous + start, stride: units, rows: rows.count, columns: block,
                    into: sum + start + block.lowerBound, stride: units, isAccumulating: true)
                for row in rows {
                    let place = (first + row) * units + block.lowerBound
                    let out = output + place
                    out.update(from: sum + place, count: block.count)
                    if let clip = options.clip { Attention.clip(out, count: block.count, to: Scalar(clip)) }
                    options.activation.apply(to: out, count: block.count)
                }
                hidden.advance(output, after: step, columns: block, rows: rows)
            }
        }
        let before = hidden.before
        return results.recorded(from: [x, initialHidden] + weights.operands) { [results] gradient, isWanted in
            let gradient = gradient.operand(as: type)
            let sumGradients = Tensor(uninitialized: [self.schedule.rowCount, units], elementType: Scalar.elementType)
            var gradients = [Tensor?](repeating: nil, count: isWanted.count)
            gradients[1] = self.backward(
                gradient, results: results, sums: sums, hiddenWeights: parameters.hidden, into: sumGradients,
                reachesStart: isWanted[1], as: type)
            // forward: sums = x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
            if isWanted[0] { gradients[0] = inputGradient(sumGradients, weight: parameters.input, as: type) }
            if isWanted[2] { gradients[2] = weightGradient(sumGradients, x: input, as: type) }
            if isWanted[3] { gradients[3] = weightGradient(sumGradients, x: before, as: type) }
            if isWanted[4] || isWanted[5] {
                gradients[4] = sumGradients.summed(to: [units])
                gradients[5] = gradients[4]
            }
            return gradients
        }
    }

    /// Writes the gradients of the sums and returns that of the initial state.
    private func backward<Scalar: KernelScalar>(
        _ gradient: Tensor, results: Tensor, sums: Tensor, hiddenWeights: Tensor, into sumGradients: Tensor,
        reachesStart: Bool, as type: Scalar.Type
    ) -> Tensor? {
        let units = unitCount
        let outputGradient = UnsafePointer(gradient.pointer(as: Scalar.self))
        let output = UnsafePointer(results.pointer(as: Scalar.self))
        let sum = UnsafePointer(sums.pointer(as: Scalar.self))
        let sumGradient = sumGradients.pointer(as: Scalar.self)
        let hidden = CarriedGradient<Scalar>(
            final: outputGradient + schedule.rowCount * units, width: units, schedule: schedule)
        let recurrence = StepMatrix<Scalar>(rows: 0..<units, of: hiddenWeights, stepCount: schedule.rowCounts.count)

        /// forward: sums += h W_hhᵀ
        func carry(from step: Int, _ block: Range<Int>, _ rows: Range<Int>) {
            let rows = rows.clamped(to: 0..<schedule.rowCounts[step])
            recurrence.multiply(
                sumGradient + (schedule.starts[step] + rows.lowerBound) * units, stride: units, rows: rows.count,
                columns: block, into: hidden.pointer + rows.lowerBound * units + block.lowerBound, stride: units,
                isAccumulating: false)
        }
        var later: Int?
        for step in schedule.steps(isReverse: !isReverse) {
            let (first, count) = (schedule.starts[step], schedule.rowCounts[step])
            let laterCount = later.map { schedule.rowCounts[$0] } ?? 0
            forEachBlock(units: units, rows: max(count, laterCount)) { [later] block, rows in
                if let later { carry(from: later, block, rows) }
                for row in rows.clamped(to: 0..<count) {
                    let place = (first + row) * units + block.lowerBound
                    let carried = hidden.pointer + row * units + block.lowerBound
                    Scalar.add(sumGradient + place, outputGradient + place, carried, block.count)
                    // forward: h = φ(clip(sums))
                    options.activation.applyBackward(
                        to: sumGradient + place, sums: sum + place, values: output + place, count: block.count)
                    if let clip = options.clip {
                        clipBackward(sumGradient + place, sums: sum + place, count: block.count, to: Scalar(clip))
                    }
                }
            }
            later = step
        }
        if reachesStart, let later {
            forEachBlock(units: units, rows: schedule.rowCounts[later]) { carry(from: later, $0, $1) }
        }
        withExtendedLifetime((gradient, results, sums, hiddenWeights, sumGradients, hidden)) {}
        return reachesStart ? hidden.initialGradient() : nil
    }
}
