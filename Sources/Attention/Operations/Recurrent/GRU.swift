/// What a GRU may do otherwise than usual.
public struct GRUOptions: Sendable, Hashable {
    /// Whether the reset gate acts after the product with the state, as in PyTorch, or before it, as in ONNX by default.
    ///
    /// The two are different functions, and weights of one are of no use to the other.
    public var resetsAfterProduct = true
    /// Of the gates reset and update.
    public var gateActivation: RecurrentActivation = .sigmoid
    /// Of the candidate.
    public var candidateActivation: RecurrentActivation = .tanh
    /// Bounds what the activations are applied to: from `-clip` to `clip`.
    public var clip: Double?

    /// The GRU that PyTorch has.
    public init() {}

    /// Whether gradients need the sums themselves, and not only what the activations made of them.
    var needsSums: Bool { clip != nil || !gateActivation.isInvertible || !candidateActivation.isInvertible }

    /// Whether it is the GRU that PyTorch has, which has kernels of its own.
    var isUsual: Bool { self == GRUOptions() }
}

/// Runs one direction of one layer of a GRU over whole sequences.
///
///     r = σ(W_ir x + b_ir + W_hr h + b_hr)    z = σ(W_iz x + b_iz + W_hz h + b_hz)
///     n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))    reset after the product
///     n = tanh(W_in x + b_in + W_hn (r ⊙ h) + b_hn)    reset before it
///     h' = (1 - z) ⊙ n + z ⊙ h
///
/// Cho et al., "Learning Phrase Representations using RNN Encoder–Decoder", 2014 (arXiv:1406.1078): its first version
/// resets after the product, its third before.
///
/// - Parameters:
///   - x: `[N, D]`, as `schedule` lays vectors out.
///   - schedule: Which sequences take part in which step.
///   - isReverse: Whether each sequence is taken from its last step to its first.
///   - weights: The parameters, of three gates.
///   - initialHidden: `[B, H]`; `nil` means zeros.
///   - options: What is done otherwise than usual.
/// - Returns: The state after each step, `[N, H]`, and the last of each sequence, `[B, H]`.
package func gruSequence(
    _ x: Tensor, schedule: RecurrentSchedule, isReverse: Bool, weights: RecurrentWeights, initialHidden: Tensor?,
    options: GRUOptions = GRUOptions()
) -> (outputs: Tensor, finalHidden: Tensor) {
    let units = weights.hidden.shape[1]
    weights.requireShapes(gateCount: 3, inputs: x.shape[1], units: units, width: units)
    requireState("initial state", initialHidden, schedule.batchCount, units)
    let pass = GRUPass(schedule: schedule, isReverse: isReverse, unitCount: units, options: options)
    let results =
        weights.allSatisfy(x, initialHidden) { $0.elementType == .float64 }
        ? pass.run(x, weights, initialHidden, as: Double.self) : pass.run(x, weights, initialHidden, as: Float.self)
    return (
        results.part(from: 0, shape: [schedule.rowCount, units]),
        results.part(from: schedule.rowCount * units, shape: [schedule.batchCount, units])
    )
}

/// What a GRU's backward pass needs of its forward pass.
private struct GRURecord: Sendable {
    /// `[N, D]`.
    let input: Tensor
    let parameters: RecurrentWeights
    /// r, z and n of every step, after their activations: `[N, 3·H]`.
    let gates: Tensor
    /// The same before them, if they are needed.
    let sums: Tensor?
    /// What the reset gate acts on, `W_hn h + b_hn`, or what came of it, `r ⊙ h`, where it acts before: `[N, H]`.
    let resetTerms: Tensor
    /// The state before each step: `[N, H]`.
    let hiddenBefore: Tensor
}

/// A GRU over whole sequences, forward and backward.
private struct GRUPass {
    let schedule: RecurrentSchedule
    let isReverse: Bool
    let unitCount: Int
    let options: GRUOptions

    /// Returns the outputs and the final states, one after the other.
    func run<Scalar: KernelScalar>(
        _ x: Tensor, _ weights: RecurrentWeights, _ initialHidden: Tensor?, as type: Scalar.Type
    ) -> Tensor {
        let units = unitCount
        let rowCount = schedule.rowCount
        let input = x.operand(as: type)
        let parameters = weights.converted(as: type)
        // What the way back needs of every step is kept where there is one.
        let keepsAll = !weights.allSatisfy(x, initialHidden) { !$0.isTracked } && GradientRecording.isOn
        let division = StepDivision(
            units: units, schedule: schedule, weightCount: 3 * units * (units + input.shape[1]))
        let gateElements = InputSums<Scalar>.elementCount(
            gateCount: 3, units: units, schedule: schedule, keepsAll: keepsAll, division: division)
        let sumElements = options.needsSums && keepsAll ? gateElements : 0
        let termElements = StepVectors<Scalar>.elementCount(width: units, schedule: schedule, keepsAll: keepsAll)
        let hiddenElements = StateHistory<Scalar>.elementCount(width: units, schedule: schedule, keepsAll: keepsAll)
        var workspace = Workspace<Scalar>(gateElements, sumElements, termElements, hiddenElements)
        let gateStart = workspace.take(gateElements)
        let gates = InputSums(
            at: gateStart, input: input, parameters: parameters, gateCount: 3,
            // The candidate's is what the reset gate acts on, where it acts after the product.
            hiddenBiasGateCount: options.resetsAfterProduct ? 2 : 3, schedule: schedule, isReverse: isReverse,
            keepsAll: keepsAll, division: division)
        let sum = sumElements > 0 ? workspace.take(sumElements) : nil
        let results = Tensor(
            uninitialized: [(rowCount + schedule.batchCount) * units], elementType: Scalar.elementType)
        let output = results.pointer(as: Scalar.self)
        let termStart = workspace.take(termElements)
        let resetTerms = StepVectors(at: termStart, width: units, schedule: schedule, keepsAll: keepsAll)
        let hiddenStart = workspace.take(hiddenElements)
        let hidden = StateHistory<Scalar>(
            at: hiddenStart, initial: initialHidden?.operand(as: type), width: units, final: output + rowCount * units,
            schedule: schedule, isReverse: isReverse, keepsAll: keepsAll)
        let stepCount = schedule.takenStepCount
        let recurrence = StepMatrix<Scalar>(transposed: parameters.hidden, gateCount: 3, stepCount: stepCount)
        let newBiases =
            options.resetsAfterProduct
            ? parameters.hiddenBias.map { UnsafePointer($0.pointer(as: Scalar.self)) + 2 * units } : nil
        let steps = schedule.steps(isReverse: isReverse)

        func activate(
            _ activation: RecurrentActivation, _ step: Int, _ gate: UnsafeMutablePointer<Scalar>, _ place: Int,
            _ count: Int
        ) {
            let x = gate + place
            if let sum { (sum + schedule.start(of: step) * 3 * units + place).update(from: x, count: count) }
            if let clip = options.clip { Attention.clip(x, count: count, to: Scalar(clip)) }
            activation.apply(to: x, count: count)
        }
        /// Adds the product with the state, or with what was reset of it, to the sums of one gate.
        func multiply(
            _ index: Int, _ source: UnsafePointer<Scalar>, into gate: UnsafeMutablePointer<Scalar>, _ rows: Range<Int>,
            _ block: Range<Int>
        ) {
            recurrence.multiply(
                gate: index, source + rows.lowerBound * units, stride: units, rows: rows.count, columns: block,
                into: gate + (rows.lowerBound * 3 + index) * units + block.lowerBound, stride: 3 * units,
                isAccumulating: true)
        }
        /// h' = (1 - z) ⊙ n + z ⊙ h
        func blend(_ step: Int, _ row: Int, _ gate: UnsafePointer<Scalar>, _ block: Range<Int>) {
            let updateGate = gate + row * 3 * units + units + block.lowerBound
            let candidate = updateGate + units
            let previous = hidden.previous(step) + row * units + block.lowerBound
            let out = output + (schedule.start(of: step) + row) * units + block.lowerBound
            for index in 0..<block.count {
                out[index] = candidate[index] + updateGate[index] * (previous[index] - candidate[index])
            }
        }
        /// The gates, and all that follows where the reset gate acts after the product.
        func updateGates(_ index: Int, _ item: Int) {
            let step = steps[index]
            let rows = division.rows(item, of: schedule.rowCount(of: step))
            let (gate, previous, resetTerm) = (gates.place(step, index), hidden.previous(step), resetTerms.place(step))
            let out = output + schedule.start(of: step) * units
            for block in division.unitBlocks(item, of: units) {
                gates.make(step, index, units: block, rows: rows)
                for index in 0..<2 { multiply(index, previous, into: gate, rows, block) }
                if options.resetsAfterProduct {
                    if let newBiases {
                        for row in rows {
                            (resetTerm + row * units + block.lowerBound).update(
                                from: newBiases + block.lowerBound, count: block.count)
                        }
                    }
                    recurrence.multiply(
                        gate: 2, previous + rows.lowerBound * units, stride: units, rows: rows.count, columns: block,
                        into: resetTerm + rows.lowerBound * units + block.lowerBound, stride: units,
                        isAccumulating: newBiases != nil)
                }
                for row in rows {
                    let place = row * units + block.lowerBound
                    let gatePlace = row * 3 * units + block.lowerBound
                    if options.isUsual {
                        Scalar.gruCell(
                            gates: gate + gatePlace, gateStride: units, terms: resetTerm + place,
                            previous: previous + place, output: out + place, count: block.count)
                        continue
                    }
                    activate(options.gateActivation, step, gate, gatePlace, block.count)
                    activate(options.gateActivation, step, gate, gatePlace + units, block.count)
                    let (resetGate, candidate) = (gate + gatePlace, gate + gatePlace + 2 * units)
                    guard options.resetsAfterProduct else {
                        for index in 0..<block.count {
                            resetTerm[place + index] = resetGate[index] * previous[place + index]
                        }
                        continue
                    }
                    for index in 0..<block.count { candidate[index] += resetGate[index] * resetTerm[place + index] }
                    activate(options.candidateActivation, step, gate, gatePlace + 2 * units, block.count)
                    blend(step, row, gate, block)
                }
                if options.resetsAfterProduct { hidden.advance(out, after: step, columns: block, rows: rows) }
            }
        }
        if options.resetsAfterProduct {
            division.forEachStep(stepCount, updateGates)
        } else {
            // Two steps of work each: the gates, and the candidate, which needs all that was reset.
            division.forEachStep(2 * stepCount) { index, item in
                if index % 2 == 0 {
                    updateGates(index / 2, item)
                    return
                }
                let step = steps[index / 2]
                let rows = division.rows(item, of: schedule.rowCount(of: step))
                let gate = gates.place(step, index / 2)
                for block in division.unitBlocks(item, of: units) {
                    multiply(2, resetTerms.place(step), into: gate, rows, block)
                    for row in rows {
                        activate(
                            options.candidateActivation, step, gate, (row * 3 + 2) * units + block.lowerBound,
                            block.count)
                        blend(step, row, gate, block)
                    }
                    hidden.advance(
                        output + schedule.start(of: step) * units, after: step, columns: block, rows: rows)
                }
            }
        }
        withExtendedLifetime(input) {}
        withExtendedLifetime(parameters) {}
        withExtendedLifetime(workspace) {}
        withExtendedLifetime(gates) {}
        withExtendedLifetime(recurrence) {}
        guard keepsAll else { return results }
        let record = GRURecord(
            input: input, parameters: parameters, gates: workspace.tensor(at: gateStart, shape: [rowCount, 3 * units]),
            sums: sum.map { workspace.tensor(at: $0, shape: [rowCount, 3 * units]) },
            resetTerms: workspace.tensor(at: termStart, shape: [rowCount, units]),
            hiddenBefore: workspace.tensor(at: hiddenStart, shape: [rowCount, units]))
        return results.recorded(from: [x, initialHidden] + weights.operands) { gradient, isWanted in
            self.gradients(of: record, gradient.operand(as: type), isWanted, as: type)
        }
    }

    // MARK: - Backward

    /// Returns the gradients of x, initial state and the parameters.
    private func gradients<Scalar: KernelScalar>(
        of record: GRURecord, _ gradient: Tensor, _ isWanted: [Bool], as type: Scalar.Type
    ) -> [Tensor?] {
        let (units, rowCount) = (unitCount, schedule.rowCount)
        let parameters = record.parameters
        let gateGradients = Tensor(uninitialized: record.gates.shape, elementType: Scalar.elementType)
        let termGradients = Tensor(uninitialized: [rowCount, units], elementType: Scalar.elementType)
        var gradients = [Tensor?](repeating: nil, count: isWanted.count)
        gradients[1] = backward(
            record, gradient, gateGradients: gateGradients, termGradients: termGradients, reachesStart: isWanted[1],
            as: type)
        // forward: gates = x W_ihᵀ + b_ih
        if isWanted[0] { gradients[0] = inputGradient(gateGradients, weight: parameters.input, as: type) }
        if isWanted[2] { gradients[2] = weightGradient(gateGradients, x: record.input, as: type) }
        if isWanted[3] {
            // forward: r, z += h W_hhᵀ; n += r ⊙ (h W_hnᵀ + b_hn), or (r ⊙ h) W_hnᵀ
            let result = Tensor(uninitialized: parameters.hidden.shape, elementType: Scalar.elementType)
            let out = result.pointer(as: Scalar.self)
            weightGradient(gateGradients, columns: 0..<2 * units, x: record.hiddenBefore, into: out)
            if options.resetsAfterProduct {
                weightGradient(
                    termGradients, columns: 0..<units, x: record.hiddenBefore, into: out + 2 * units * units)
            } else {
                weightGradient(
                    gateGradients, columns: 2 * units..<3 * units, x: record.resetTerms, into: out + 2 * units * units)
            }
            gradients[3] = result
        }
        if isWanted[4] || isWanted[5] {
            let sum = gateGradients.summed(to: [3 * units])
            gradients[4] = sum
            gradients[5] =
                options.resetsAfterProduct
                ? Tensor.concatenated(
                    [sum.slice(axis: 0, range: 0..<2 * units), termGradients.summed(to: [units])], axis: 0) : sum
        }
        return gradients
    }

    /// Writes the gradients of the gates' sums and of `W_hn h + b_hn`, and returns that of the initial state.
    private func backward<Scalar: KernelScalar>(
        _ record: GRURecord, _ gradient: Tensor, gateGradients: Tensor, termGradients: Tensor, reachesStart: Bool,
        as type: Scalar.Type
    ) -> Tensor? {
        let units = unitCount
        let stepCount = schedule.takenStepCount
        let outputGradient = UnsafePointer(gradient.pointer(as: Scalar.self))
        let hidden = CarriedGradient<Scalar>(
            final: outputGradient + schedule.rowCount * units, width: units, schedule: schedule)
        let gateRecurrence = StepMatrix<Scalar>(
            rows: 0..<2 * units, of: record.parameters.hidden, stepCount: stepCount)
        let newRecurrence = StepMatrix<Scalar>(
            rows: 2 * units..<3 * units, of: record.parameters.hidden, stepCount: stepCount)
        let gateGradient = gateGradients.pointer(as: Scalar.self)
        let termGradient = termGradients.pointer(as: Scalar.self)
        let gate = UnsafePointer(record.gates.pointer(as: Scalar.self))
        let sum = UnsafePointer((record.sums ?? record.gates).pointer(as: Scalar.self))
        let resetTerm = UnsafePointer(record.resetTerms.pointer(as: Scalar.self))
        let previous = UnsafePointer(record.hiddenBefore.pointer(as: Scalar.self))

        func activateBackward(_ activation: RecurrentActivation, _ place: Int, _ count: Int) {
            activation.applyBackward(
                to: gateGradient + place, sums: sum + place, values: gate + place, count: count)
            if let clip = options.clip {
                clipBackward(gateGradient + place, sums: sum + place, count: count, to: Scalar(clip))
            }
        }
        /// forward: r, z += h W_hhᵀ; n += r ⊙ (h W_hnᵀ + b_hn)
        func carry(from step: Int, _ block: Range<Int>, _ rows: Range<Int>) {
            let rows = rows.clamped(to: 0..<schedule.rowCount(of: step))
            let start = schedule.start(of: step) + rows.lowerBound
            let carried = hidden.pointer + rows.lowerBound * units + block.lowerBound
            gateRecurrence.multiply(
                gateGradient + start * 3 * units, stride: 3 * units, rows: rows.count, columns: block, into: carried,
                stride: units, isAccumulating: true)
            guard options.resetsAfterProduct else { return }
            newRecurrence.multiply(
                termGradient + start * units, stride: units, rows: rows.count, columns: block, into: carried,
                stride: units, isAccumulating: true)
        }
        let division = StepDivision(
            units: units, schedule: schedule, weightCount: 3 * units * units)
        let steps = schedule.steps(isReverse: !isReverse)
        func updateBackward(_ index: Int, _ item: Int) {
            let (first, count) = (schedule.start(of: steps[index]), schedule.rowCount(of: steps[index]))
            let laterCount = index > 0 ? schedule.rowCount(of: steps[index - 1]) : 0
            let rows = division.rows(item, of: max(count, laterCount))
            for block in division.unitBlocks(item, of: units) {
                if index > 0 { carry(from: steps[index - 1], block, rows) }
                for row in rows.clamped(to: 0..<count) {
                    let place = (first + row) * units + block.lowerBound
                    let gatePlace = (first + row) * 3 * units + block.lowerBound
                    let carried = hidden.pointer + row * units + block.lowerBound
                    if options.isUsual {
                        Scalar.gruCellGradient(
                            gateGradients: gateGradient + gatePlace, termGradients: termGradient + place,
                            stateGradient: carried, outputGradient: outputGradient + place, gates: gate + gatePlace,
                            gateStride: units, terms: resetTerm + place, previous: previous + place, count: block.count)
                        continue
                    }
                    let updateGate = gate + gatePlace + units
                    let candidate = updateGate + units
                    let updateGradient = gateGradient + gatePlace + units
                    let candidateGradient = updateGradient + units
                    // forward: h' = (1 - z) ⊙ n + z ⊙ h
                    for index in 0..<block.count {
                        let gradient = outputGradient[place + index] + carried[index]
                        candidateGradient[index] = gradient * (1 - updateGate[index])
                        updateGradient[index] = gradient * (previous[place + index] - candidate[index])
                        carried[index] = gradient * updateGate[index]
                    }
                    activateBackward(options.gateActivation, gatePlace + units, block.count)
                    activateBackward(options.candidateActivation, gatePlace + 2 * units, block.count)
                    guard options.resetsAfterProduct else { continue }
                    // forward: n += r ⊙ (W_hn h + b_hn)
                    for index in 0..<block.count {
                        gateGradient[gatePlace + index] = candidateGradient[index] * resetTerm[place + index]
                        termGradient[place + index] = candidateGradient[index] * gate[gatePlace + index]
                    }
                    activateBackward(options.gateActivation, gatePlace, block.count)
                }
            }
        }
        if options.resetsAfterProduct {
            division.forEachStep(stepCount, updateBackward)
        } else {
            division.forEachStep(2 * stepCount) { index, item in
                if index % 2 == 0 {
                    updateBackward(index / 2, item)
                    return
                }
                let first = schedule.start(of: steps[index / 2])
                let rows = division.rows(item, of: schedule.rowCount(of: steps[index / 2]))
                for block in division.unitBlocks(item, of: units) {
                    // forward: n += (r ⊙ h) W_hnᵀ
                    let start = first + rows.lowerBound
                    newRecurrence.multiply(
                        gateGradient + (start * 3 + 2) * units, stride: 3 * units, rows: rows.count, columns: block,
                        into: termGradient + start * units + block.lowerBound, stride: units, isAccumulating: false)
                    for row in rows {
                        let place = (first + row) * units + block.lowerBound
                        let gatePlace = (first + row) * 3 * units + block.lowerBound
                        let carried = hidden.pointer + row * units + block.lowerBound
                        for index in 0..<block.count {
                            gateGradient[gatePlace + index] = termGradient[place + index] * previous[place + index]
                            carried[index] += termGradient[place + index] * gate[gatePlace + index]
                        }
                        activateBackward(options.gateActivation, gatePlace, block.count)
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
        withExtendedLifetime((gradient, record, gateGradients, termGradients, hidden, gateRecurrence, newRecurrence)) {}
        return reachesStart ? hidden.initialGradient() : nil
    }
}
