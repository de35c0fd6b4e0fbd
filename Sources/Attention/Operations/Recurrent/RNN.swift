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
///   - initialHidden: `[B, H]`; `nil` means zeros.
///   - options: φ, and what bounds the sums.
/// - Returns: The state after each step, `[N, H]`, and the last of each sequence, `[B, H]`.
package func rnnSequence(
    _ x: Tensor, schedule: RecurrentSchedule, isReverse: Bool, weights: RecurrentWeights, initialHidden: Tensor?,
    options: RNNOptions = RNNOptions()
) -> (outputs: Tensor, finalHidden: Tensor) {
    let units = weights.hidden.shape[1]
    weights.requireShapes(gateCount: 1, inputs: x.shape[1], units: units, width: units)
    requireState("initial state", initialHidden, schedule.batchCount, units)
    let pass = RNNPass(schedule: schedule, isReverse: isReverse, unitCount: units, options: options)
    let results =
        weights.allSatisfy(x, initialHidden) { $0.elementType == .float64 }
        ? pass.run(x, weights, initialHidden, as: Double.self) : pass.run(x, weights, initialHidden, as: Float.self)
    return (
        results.part(from: 0, shape: [schedule.rowCount, units]),
        results.part(from: schedule.rowCount * units, shape: [schedule.batchCount, units])
    )
}

/// A plain recurrence over whole sequences, forward and backward.
private struct RNNPass {
    let schedule: RecurrentSchedule
    let isReverse: Bool
    let unitCount: Int
    let options: RNNOptions

    /// Returns the outputs and the final states, one after the other.
    func run<Scalar: KernelScalar>(
        _ x: Tensor, _ weights: RecurrentWeights, _ initialHidden: Tensor?, as type: Scalar.Type
    ) -> Tensor {
        let (units, rowCount) = (unitCount, schedule.rowCount)
        let input = x.operand(as: type)
        let parameters = weights.converted(as: type)
        // What the way back needs of every step is kept where there is one.
        let keepsAll = !weights.allSatisfy(x, initialHidden) { !$0.isTracked } && GradientRecording.isOn
        let division = StepDivision(
            units: units, schedule: schedule, weightCount: units * (units + input.shape[1]))
        let sumElements = InputSums<Scalar>.elementCount(
            gateCount: 1, units: units, schedule: schedule, keepsAll: keepsAll, division: division)
        let hiddenElements = StateHistory<Scalar>.elementCount(width: units, schedule: schedule, keepsAll: keepsAll)
        var workspace = Workspace<Scalar>(sumElements, hiddenElements)
        let sumStart = workspace.take(sumElements)
        let inputSums = InputSums(
            at: sumStart, input: input, parameters: parameters, gateCount: 1,
            hiddenBiasGateCount: 1, schedule: schedule, isReverse: isReverse, keepsAll: keepsAll, division: division)
        let results = Tensor(
            uninitialized: [(rowCount + schedule.batchCount) * units], elementType: Scalar.elementType)
        let output = results.pointer(as: Scalar.self)
        let hiddenStart = workspace.take(hiddenElements)
        let hidden = StateHistory<Scalar>(
            at: hiddenStart, initial: initialHidden?.operand(as: type), width: units, final: output + rowCount * units,
            schedule: schedule, isReverse: isReverse, keepsAll: keepsAll)
        let recurrence = StepMatrix<Scalar>(
            transposed: parameters.hidden, gateCount: 1, stepCount: schedule.takenStepCount)
        let steps = schedule.steps(isReverse: isReverse)
        division.forEachStep(steps.count) { index, item in
            let step = steps[index]
            let rows = division.rows(item, of: schedule.rowCount(of: step))
            let (sum, out) = (inputSums.place(step, index), output + schedule.start(of: step) * units)
            for block in division.unitBlocks(item, of: units) {
                inputSums.make(step, index, units: block, rows: rows)
                let start = rows.lowerBound * units
                recurrence.multiply(
                    hidden.previous(step) + start, stride: units, rows: rows.count, columns: block,
                    into: sum + start + block.lowerBound, stride: units, isAccumulating: true)
                for row in rows {
                    let place = row * units + block.lowerBound
                    if options.activation == .tanh, options.clip == nil {
                        Scalar.tanh(out + place, sum + place, block.count)
                        continue
                    }
                    (out + place).update(from: sum + place, count: block.count)
                    if let clip = options.clip { Attention.clip(out + place, count: block.count, to: Scalar(clip)) }
                    options.activation.apply(to: out + place, count: block.count)
                }
                hidden.advance(out, after: step, columns: block, rows: rows)
            }
        }
        withExtendedLifetime(input) {}
        withExtendedLifetime(parameters) {}
        withExtendedLifetime(workspace) {}
        withExtendedLifetime(inputSums) {}
        withExtendedLifetime(recurrence) {}
        guard keepsAll else { return results }
        let sums = workspace.tensor(at: sumStart, shape: [rowCount, units])
        let before = workspace.tensor(at: hiddenStart, shape: [rowCount, units])
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
        let recurrence = StepMatrix<Scalar>(rows: 0..<units, of: hiddenWeights, stepCount: schedule.takenStepCount)

        /// forward: sums += h W_hhᵀ
        func carry(from step: Int, _ block: Range<Int>, _ rows: Range<Int>) {
            let rows = rows.clamped(to: 0..<schedule.rowCount(of: step))
            recurrence.multiply(
                sumGradient + (schedule.start(of: step) + rows.lowerBound) * units, stride: units, rows: rows.count,
                columns: block, into: hidden.pointer + rows.lowerBound * units + block.lowerBound, stride: units,
                isAccumulating: false)
        }
        let division = StepDivision(units: units, schedule: schedule, weightCount: units * units)
        let steps = schedule.steps(isReverse: !isReverse)
        division.forEachStep(steps.count) { index, item in
            let (first, count) = (schedule.start(of: steps[index]), schedule.rowCount(of: steps[index]))
            let laterCount = index > 0 ? schedule.rowCount(of: steps[index - 1]) : 0
            let rows = division.rows(item, of: max(count, laterCount))
            for block in division.unitBlocks(item, of: units) {
                if index > 0 { carry(from: steps[index - 1], block, rows) }
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
        }
        if reachesStart, let last = steps.last {
            division.forEachStep(1) { _, item in
                for block in division.unitBlocks(item, of: units) {
                    carry(from: last, block, division.rows(item, of: schedule.rowCount(of: last)))
                }
            }
        }
        withExtendedLifetime((gradient, results, sums, hiddenWeights, sumGradients, hidden, recurrence)) {}
        return reachesStart ? hidden.initialGradient() : nil
    }
}
