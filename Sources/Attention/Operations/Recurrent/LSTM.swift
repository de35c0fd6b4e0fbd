/// What an LSTM may do otherwise than usual.
public struct LSTMOptions: Sendable, Hashable {
    /// Of the gates input, output and forget.
    public var gateActivation: RecurrentActivation = .sigmoid
    /// Of the candidate.
    public var candidateActivation: RecurrentActivation = .tanh
    /// Of the cell, where it is let out.
    public var cellActivation: RecurrentActivation = .tanh
    /// Whether what is forgotten is what is replaced.
    ///
    /// The forget gate is then `f = 1 - i`, and its parameters do nothing.
    public var hasCoupledGates = false
    /// Bounds what the activations are applied to: from `-clip` to `clip`.
    public var clip: Double?

    /// The LSTM as it is usually meant.
    public init() {}

    /// Whether gradients need the sums themselves, and not only what the activations made of them.
    var needsSums: Bool { clip != nil || !gateActivation.isInvertible || !candidateActivation.isInvertible }

    /// Whether it is the LSTM as it is usually meant, which has kernels of its own.
    var isUsual: Bool { self == LSTMOptions() }
}

/// Runs one direction of one layer of an LSTM over whole sequences.
///
///     i = σ(W_ii x + b_ii + W_hi h + b_hi + p_i ⊙ c)     f = σ(W_if x + b_if + W_hf h + b_hf + p_f ⊙ c)
///     g = tanh(W_ig x + b_ig + W_hg h + b_hg)            c' = f ⊙ c + i ⊙ g
///     o = σ(W_io x + b_io + W_ho h + b_ho + p_o ⊙ c')    h' = W_hr (o ⊙ tanh(c'))
///
/// Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; the forget gate by Gers et al., "Learning to Forget",
/// 2000.
///
/// - Parameters:
///   - x: `[N, D]`, as `schedule` lays vectors out.
///   - schedule: Which sequences take part in which step.
///   - isReverse: Whether each sequence is taken from its last step to its first.
///   - weights: The parameters, of four gates.
///   - initialHidden: `[B, P]`; `nil` means zeros.
///   - initialCell: `[B, H]`; `nil` means zeros.
///   - options: What is done otherwise than usual.
/// - Returns: The state after each step, `[N, P]`, and of each sequence the last, `[B, P]`, and the last cell, `[B, H]`.
package func lstmSequence(
    _ x: Tensor, schedule: RecurrentSchedule, isReverse: Bool, weights: RecurrentWeights, initialHidden: Tensor?,
    initialCell: Tensor?, options: LSTMOptions = LSTMOptions()
) -> (outputs: Tensor, finalHidden: Tensor, finalCell: Tensor) {
    let width = weights.hidden.shape[1]
    let units = weights.projection?.shape[1] ?? width
    weights.requireShapes(gateCount: 4, inputs: x.shape[1], units: units, width: width)
    requireState("initial state", initialHidden, schedule.batchCount, width)
    requireState("initial cell", initialCell, schedule.batchCount, units)
    let pass = LSTMPass(
        schedule: schedule, isReverse: isReverse, unitCount: units, width: width, options: options)
    let results =
        weights.allSatisfy(x, initialHidden, initialCell) { $0.elementType == .float64 }
        ? pass.run(x, weights, initialHidden, initialCell, as: Double.self)
        : pass.run(x, weights, initialHidden, initialCell, as: Float.self)
    let (rowCount, batchCount) = (schedule.rowCount, schedule.batchCount)
    return (
        results.part(from: 0, shape: [rowCount, width]),
        results.part(from: rowCount * width, shape: [batchCount, width]),
        results.part(from: (rowCount + batchCount) * width, shape: [batchCount, units])
    )
}

/// What an LSTM's backward pass needs of its forward pass.
private struct LSTMRecord: Sendable {
    /// `[N, D]`.
    let input: Tensor
    let parameters: RecurrentWeights
    /// The gates i, f, g, o of every step, after their activations: `[N, 4·H]`.
    let gates: Tensor
    /// The same before them, if they are needed.
    let sums: Tensor?
    /// The cell after each step: `[N, H]`.
    let cells: Tensor
    /// `o ⊙ tanh(c')`, if it is not the output itself: `[N, H]`.
    let unprojected: Tensor?
    /// The state and the cell before each step: `[N, P]`, `[N, H]`.
    let hiddenBefore: Tensor
    let cellBefore: Tensor
}

/// An LSTM over whole sequences, forward and backward.
private struct LSTMPass {
    let schedule: RecurrentSchedule
    let isReverse: Bool
    let unitCount: Int
    /// Of the hidden state: `P`.
    let width: Int
    let options: LSTMOptions

    /// Returns the outputs, the final states and the final cells, one after the other.
    func run<Scalar: KernelScalar>(
        _ x: Tensor, _ weights: RecurrentWeights, _ initialHidden: Tensor?, _ initialCell: Tensor?,
        as type: Scalar.Type
    ) -> Tensor {
        let (units, width) = (unitCount, width)
        let (rowCount, batchCount) = (schedule.rowCount, schedule.batchCount)
        let input = x.operand(as: type)
        let parameters = weights.converted(as: type)
        // What the way back needs of every step is kept where there is one.
        let keepsAll = !weights.allSatisfy(x, initialHidden, initialCell) { !$0.isTracked } && GradientRecording.isOn
        let division = StepDivision(
            units: units, schedule: schedule, weightCount: 4 * units * (width + input.shape[1]))
        let gateElements = InputSums<Scalar>.elementCount(
            gateCount: 4, units: units, schedule: schedule, keepsAll: keepsAll, division: division)
        let sumElements = options.needsSums && keepsAll ? gateElements : 0
        let cellElements = StepVectors<Scalar>.elementCount(width: units, schedule: schedule, keepsAll: keepsAll)
        let unprojectedElements = parameters.projection == nil ? 0 : cellElements
        let hiddenElements = StateHistory<Scalar>.elementCount(width: width, schedule: schedule, keepsAll: keepsAll)
        let beforeElements = StateHistory<Scalar>.elementCount(width: units, schedule: schedule, keepsAll: keepsAll)
        var workspace = Workspace<Scalar>(
            gateElements, sumElements, cellElements, unprojectedElements, hiddenElements, beforeElements)
        let gateStart = workspace.take(gateElements)
        let gates = InputSums(
            at: gateStart, input: input, parameters: parameters, gateCount: 4,
            hiddenBiasGateCount: 4, schedule: schedule, isReverse: isReverse, keepsAll: keepsAll, division: division)
        let sum = sumElements > 0 ? workspace.take(sumElements) : nil
        let results = Tensor(
            uninitialized: [rowCount * width + batchCount * (width + units)], elementType: Scalar.elementType)
        let output = results.pointer(as: Scalar.self)
        let cellStart = workspace.take(cellElements)
        let cells = StepVectors(at: cellStart, width: units, schedule: schedule, keepsAll: keepsAll)
        let unprojectedStart = parameters.projection == nil ? nil : workspace.take(unprojectedElements)
        let unprojected = unprojectedStart.map {
            StepVectors(at: $0, width: units, schedule: schedule, keepsAll: keepsAll)
        }
        let finalHidden = output + rowCount * width
        let hiddenStart = workspace.take(hiddenElements)
        let hidden = StateHistory<Scalar>(
            at: hiddenStart, initial: initialHidden?.operand(as: type), width: width, final: finalHidden,
            schedule: schedule, isReverse: isReverse, keepsAll: keepsAll)
        let beforeStart = workspace.take(beforeElements)
        let cellHistory = StateHistory<Scalar>(
            at: beforeStart, initial: initialCell?.operand(as: type), width: units,
            final: finalHidden + batchCount * width, schedule: schedule, isReverse: isReverse, keepsAll: keepsAll)
        let stepCount = schedule.takenStepCount
        let recurrence = StepMatrix<Scalar>(transposed: parameters.hidden, gateCount: 4, stepCount: stepCount)
        let projection = parameters.projection.map {
            StepMatrix<Scalar>(transposed: $0, gateCount: 1, stepCount: stepCount)
        }
        let peephole = parameters.peepholes.map { UnsafePointer($0.pointer(as: Scalar.self)) }
        let steps = schedule.steps(isReverse: isReverse)
        func updateCells(_ index: Int, _ item: Int) {
            let step = steps[index]
            let rows = division.rows(item, of: schedule.rowCount(of: step))
            let (gate, cell) = (gates.place(step, index), cells.place(step))
            let cellOutput = unprojected?.place(step) ?? output + schedule.start(of: step) * width
            let (previous, previousCell) = (hidden.previous(step), cellHistory.previous(step))
            for block in division.unitBlocks(item, of: units) {
                gates.make(step, index, units: block, rows: rows)
                for index in 0..<4 {
                    recurrence.multiply(
                        gate: index, previous + rows.lowerBound * width, stride: width, rows: rows.count,
                        columns: block, into: gate + (rows.lowerBound * 4 + index) * units + block.lowerBound,
                        stride: 4 * units, isAccumulating: true)
                }
                for row in rows {
                    let place = row * units + block.lowerBound
                    let gatePlace = row * 4 * units + block.lowerBound
                    updateCell(
                        gates: gate + gatePlace,
                        sums: sum.map { $0 + schedule.start(of: step) * 4 * units + gatePlace },
                        previousCell: previousCell + place, cell: cell + place, output: cellOutput + place,
                        peepholes: peephole.map { $0 + block.lowerBound }, count: block.count)
                }
                cellHistory.advance(cell, after: step, columns: block, rows: rows)
                if projection == nil { hidden.advance(cellOutput, after: step, columns: block, rows: rows) }
            }
        }
        if let projection, let unprojected {
            // Two steps of work each: the cells, and what they put out.
            division.forEachStep(2 * stepCount) { index, item in
                if index % 2 == 0 {
                    updateCells(index / 2, item)
                    return
                }
                let step = steps[index / 2]
                let rows = division.rows(item, of: schedule.rowCount(of: step))
                let (cellOutput, out) = (unprojected.place(step), output + schedule.start(of: step) * width)
                for block in division.unitBlocks(item, of: width) {
                    projection.multiply(
                        cellOutput + rows.lowerBound * units, stride: units, rows: rows.count, columns: block,
                        into: out + rows.lowerBound * width + block.lowerBound, stride: width, isAccumulating: false)
                    hidden.advance(out, after: step, columns: block, rows: rows)
                }
            }
        } else {
            division.forEachStep(stepCount, updateCells)
        }
        withExtendedLifetime(input) {}
        withExtendedLifetime(parameters) {}
        withExtendedLifetime(workspace) {}
        withExtendedLifetime(gates) {}
        withExtendedLifetime(recurrence) {}
        withExtendedLifetime(projection) {}
        guard keepsAll else { return results }
        let record = LSTMRecord(
            input: input, parameters: parameters, gates: workspace.tensor(at: gateStart, shape: [rowCount, 4 * units]),
            sums: sum.map { workspace.tensor(at: $0, shape: [rowCount, 4 * units]) },
            cells: workspace.tensor(at: cellStart, shape: [rowCount, units]),
            unprojected: unprojectedStart.map { workspace.tensor(at: $0, shape: [rowCount, units]) },
            hiddenBefore: workspace.tensor(at: hiddenStart, shape: [rowCount, width]),
            cellBefore: workspace.tensor(at: beforeStart, shape: [rowCount, units]))
        return results.recorded(from: [x, initialHidden, initialCell] + weights.operands) { gradient, isWanted in
            self.gradients(of: record, gradient.operand(as: type), isWanted, as: type)
        }
    }

    /// Takes one step of one sequence, for some of its units.
    ///
    /// `gates` holds the sums of i, f, g and o, `unitCount` apart, and becomes the gates; the sums are kept in `sums` if
    /// they are needed.
    @inline(__always)
    private func updateCell<Scalar: KernelScalar>(
        gates: UnsafeMutablePointer<Scalar>, sums: UnsafeMutablePointer<Scalar>?, previousCell: UnsafePointer<Scalar>,
        cell: UnsafeMutablePointer<Scalar>, output: UnsafeMutablePointer<Scalar>, peepholes: UnsafePointer<Scalar>?,
        count: Int
    ) {
        if options.isUsual, peepholes == nil {
            Scalar.lstmCell(
                gates: gates, gateStride: unitCount, previousCell: previousCell, cell: cell, output: output,
                count: count)
            return
        }
        let (inputGate, forgetGate) = (gates, gates + unitCount)
        let (candidate, outputGate) = (gates + 2 * unitCount, gates + 3 * unitCount)
        func activate(_ activation: RecurrentActivation, _ x: UnsafeMutablePointer<Scalar>) {
            if let sums { (sums + (x - gates)).update(from: x, count: count) }
            if let clip = options.clip { Attention.clip(x, count: count, to: Scalar(clip)) }
            activation.apply(to: x, count: count)
        }
        if let peepholes {
            for index in 0..<count {
                inputGate[index] += peepholes[index] * previousCell[index]
                forgetGate[index] += peepholes[2 * unitCount + index] * previousCell[index]
            }
        }
        activate(options.gateActivation, inputGate)
        if options.hasCoupledGates {
            for index in 0..<count { forgetGate[index] = 1 - inputGate[index] }
        } else {
            activate(options.gateActivation, forgetGate)
        }
        activate(options.candidateActivation, candidate)
        for index in 0..<count {
            cell[index] = forgetGate[index] * previousCell[index] + inputGate[index] * candidate[index]
        }
        if let peepholes {
            for index in 0..<count { outputGate[index] += peepholes[unitCount + index] * cell[index] }
        }
        activate(options.gateActivation, outputGate)
        output.update(from: cell, count: count)
        if let clip = options.clip { Attention.clip(output, count: count, to: Scalar(clip)) }
        options.cellActivation.apply(to: output, count: count)
        for index in 0..<count { output[index] *= outputGate[index] }
    }

    // MARK: - Backward

    /// Returns the gradients of x, initial state, initial cell and the parameters.
    private func gradients<Scalar: KernelScalar>(
        of record: LSTMRecord, _ gradient: Tensor, _ isWanted: [Bool], as type: Scalar.Type
    ) -> [Tensor?] {
        let (units, width, rowCount) = (unitCount, width, schedule.rowCount)
        let parameters = record.parameters
        let gateGradients = Tensor(uninitialized: record.gates.shape, elementType: Scalar.elementType)
        let hiddenGradients =
            parameters.projection.map { _ in
                Tensor(uninitialized: [rowCount, width], elementType: Scalar.elementType)
            }
        var gradients = [Tensor?](repeating: nil, count: isWanted.count)
        (gradients[1], gradients[2]) = backward(
            record, gradient, gateGradients: gateGradients, hiddenGradients: hiddenGradients,
            reachesStart: isWanted[1], as: type)
        // forward: gates = x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
        if isWanted[0] { gradients[0] = inputGradient(gateGradients, weight: parameters.input, as: type) }
        if isWanted[3] { gradients[3] = weightGradient(gateGradients, x: record.input, as: type) }
        if isWanted[4] { gradients[4] = weightGradient(gateGradients, x: record.hiddenBefore, as: type) }
        if isWanted[5] || isWanted[6] {
            gradients[5] = gateGradients.summed(to: [4 * units])
            gradients[6] = gradients[5]
        }
        // forward: h' = W_hr (o ⊙ tanh(c'))
        if isWanted[7], let hiddenGradients, let unprojected = record.unprojected {
            gradients[7] = weightGradient(hiddenGradients, x: unprojected, as: type)
        }
        if isWanted[8] { gradients[8] = peepholeGradient(record, gateGradients, as: type) }
        return gradients
    }

    /// Writes the gradients of the gates' sums, and those of the state where there is a projection; returns those of
    /// the initial state and cell.
    private func backward<Scalar: KernelScalar>(
        _ record: LSTMRecord, _ gradient: Tensor, gateGradients: Tensor, hiddenGradients: Tensor?, reachesStart: Bool,
        as type: Scalar.Type
    ) -> (hidden: Tensor?, cell: Tensor?) {
        let (units, width) = (unitCount, width)
        let (rowCount, batchCount, stepCount) = (schedule.rowCount, schedule.batchCount, schedule.takenStepCount)
        let parameters = record.parameters
        let outputGradient = UnsafePointer(gradient.pointer(as: Scalar.self))
        let finalGradient = outputGradient + rowCount * width
        let hidden = CarriedGradient<Scalar>(final: finalGradient, width: width, schedule: schedule)
        let cell = CarriedGradient<Scalar>(
            final: finalGradient + batchCount * width, width: units, schedule: schedule)
        let recurrence = StepMatrix<Scalar>(rows: 0..<4 * units, of: parameters.hidden, stepCount: stepCount)
        let projection = parameters.projection.map {
            StepMatrix<Scalar>(rows: 0..<width, of: $0, stepCount: stepCount)
        }
        let gateGradient = gateGradients.pointer(as: Scalar.self)
        let hiddenGradient = hiddenGradients?.pointer(as: Scalar.self)
        let gate = UnsafePointer(record.gates.pointer(as: Scalar.self))
        let sum = (record.sums ?? record.gates).pointer(as: Scalar.self)
        let (cells, cellBefore) = (
            record.cells.pointer(as: Scalar.self), record.cellBefore.pointer(as: Scalar.self)
        )
        let peephole = parameters.peepholes.map { UnsafePointer($0.pointer(as: Scalar.self)) }

        let division = StepDivision(
            units: max(units, width), schedule: schedule, weightCount: 4 * units * width)
        let steps = schedule.steps(isReverse: !isReverse)
        /// forward: gates += h W_hhᵀ
        func carry(from step: Int, _ block: Range<Int>, _ rows: Range<Int>) {
            let rows = rows.clamped(to: 0..<schedule.rowCount(of: step))
            recurrence.multiply(
                gateGradient + (schedule.start(of: step) + rows.lowerBound) * 4 * units, stride: 4 * units,
                rows: rows.count, columns: block, into: hidden.pointer + rows.lowerBound * width + block.lowerBound,
                stride: width, isAccumulating: false)
        }
        func update(_ step: Int, _ row: Int, _ block: Range<Int>, _ gradient: UnsafeMutablePointer<Scalar>) {
            let place = (schedule.start(of: step) + row) * units + block.lowerBound
            let gatePlace = (schedule.start(of: step) + row) * 4 * units + block.lowerBound
            updateCellBackward(
                outputGradient: gradient, cellGradient: cell.pointer + row * units + block.lowerBound,
                gateGradients: gateGradient + gatePlace, gates: gate + gatePlace, sums: sum + gatePlace,
                previousCell: cellBefore + place, cell: cells + place,
                peepholes: peephole.map { $0 + block.lowerBound }, count: block.count)
        }
        /// Calls `body` for an item's blocks of the state, once what the later step carries has reached them, with those
        /// of the rows that the step has.
        func forEachCarriedBlock(_ index: Int, _ item: Int, _ body: (_ block: Range<Int>, _ rows: Range<Int>) -> Void) {
            let count = schedule.rowCount(of: steps[index])
            let laterCount = index > 0 ? schedule.rowCount(of: steps[index - 1]) : 0
            let rows = division.rows(item, of: max(count, laterCount))
            for block in division.unitBlocks(item, of: width) {
                if index > 0 { carry(from: steps[index - 1], block, rows) }
                body(block, rows.clamped(to: 0..<count))
            }
        }
        if let projection, let hiddenGradient {
            division.forEachStep(2 * stepCount) { index, item in
                let step = steps[index / 2]
                let first = schedule.start(of: step)
                if index % 2 == 0 {
                    forEachCarriedBlock(index / 2, item) { block, rows in
                        for row in rows {
                            let place = (first + row) * width + block.lowerBound
                            Scalar.add(
                                hiddenGradient + place, outputGradient + place,
                                hidden.pointer + row * width + block.lowerBound, block.count)
                        }
                    }
                    return
                }
                let rows = division.rows(item, of: schedule.rowCount(of: step))
                for block in division.unitBlocks(item, of: units) {
                    withUnsafeTemporaryAllocation(of: Scalar.self, capacity: rows.count * block.count) { scratch in
                        guard let outputGradients = scratch.baseAddress else { return }
                        // forward: h' = W_hr (o ⊙ tanh(c'))
                        projection.multiply(
                            hiddenGradient + (first + rows.lowerBound) * width, stride: width, rows: rows.count,
                            columns: block, into: outputGradients, stride: block.count, isAccumulating: false)
                        for row in rows {
                            update(step, row, block, outputGradients + (row - rows.lowerBound) * block.count)
                        }
                    }
                }
            }
        } else {
            division.forEachStep(stepCount) { index, item in
                let step = steps[index]
                forEachCarriedBlock(index, item) { block, rows in
                    for row in rows {
                        let carried = hidden.pointer + row * width + block.lowerBound
                        Scalar.add(
                            carried, outputGradient + (schedule.start(of: step) + row) * width + block.lowerBound,
                            carried,
                            block.count)
                        update(step, row, block, carried)
                    }
                }
            }
        }
        if reachesStart, let last = steps.last {
            division.forEachStep(1) { _, item in
                for block in division.unitBlocks(item, of: width) {
                    carry(from: last, block, division.rows(item, of: schedule.rowCount(of: last)))
                }
            }
        }
        withExtendedLifetime((gradient, record, gateGradients, hiddenGradients, hidden, cell, recurrence, projection)) {
        }
        return (reachesStart ? hidden.initialGradient() : nil, cell.initialGradient())
    }

    /// The way back through ``updateCell``: `outputGradient` is that of `o ⊙ tanh(c')`, and is overwritten;
    /// `cellGradient` is that of `c'` from the step after, and becomes that of `c`; `gateGradients` become those of the
    /// sums.
    @inline(__always)
    private func updateCellBackward<Scalar: KernelScalar>(
        outputGradient: UnsafeMutablePointer<Scalar>, cellGradient: UnsafeMutablePointer<Scalar>,
        gateGradients: UnsafeMutablePointer<Scalar>, gates: UnsafePointer<Scalar>, sums: UnsafePointer<Scalar>,
        previousCell: UnsafePointer<Scalar>, cell: UnsafePointer<Scalar>, peepholes: UnsafePointer<Scalar>?, count: Int
    ) {
        if options.isUsual, peepholes == nil {
            Scalar.lstmCellGradient(
                gateGradients: gateGradients, cellGradient: cellGradient, outputGradient: outputGradient, gates: gates,
                gateStride: unitCount, previousCell: previousCell, cell: cell, count: count)
            return
        }
        let (inputGate, forgetGate) = (gates, gates + unitCount)
        let (candidate, outputGate) = (gates + 2 * unitCount, gates + 3 * unitCount)
        let (inputGradient, forgetGradient) = (gateGradients, gateGradients + unitCount)
        let (candidateGradient, outputGateGradient) = (gateGradients + 2 * unitCount, gateGradients + 3 * unitCount)
        func activateBackward(_ activation: RecurrentActivation, _ gradient: UnsafeMutablePointer<Scalar>) {
            let place = gradient - gateGradients
            activation.applyBackward(to: gradient, sums: sums + place, values: gates + place, count: count)
            if let clip = options.clip {
                clipBackward(gradient, sums: sums + place, count: count, to: Scalar(clip))
            }
        }
        withUnsafeTemporaryAllocation(of: Scalar.self, capacity: count) { scratch in
            guard let released = scratch.baseAddress else { return }
            // forward: output = o ⊙ tanh(clip(c'))
            released.update(from: cell, count: count)
            if let clip = options.clip { Attention.clip(released, count: count, to: Scalar(clip)) }
            options.cellActivation.apply(to: released, count: count)
            for index in 0..<count {
                outputGateGradient[index] = outputGradient[index] * released[index]
                outputGradient[index] *= outputGate[index]
            }
            options.cellActivation.applyBackward(to: outputGradient, sums: cell, values: released, count: count)
            if let clip = options.clip { clipBackward(outputGradient, sums: cell, count: count, to: Scalar(clip)) }
        }
        activateBackward(options.gateActivation, outputGateGradient)
        for index in 0..<count { cellGradient[index] += outputGradient[index] }
        if let peepholes {
            // forward: o += p_o ⊙ c'
            for index in 0..<count { cellGradient[index] += outputGateGradient[index] * peepholes[unitCount + index] }
        }
        // forward: c' = f ⊙ c + i ⊙ g
        for index in 0..<count {
            inputGradient[index] = cellGradient[index] * candidate[index]
            candidateGradient[index] = cellGradient[index] * inputGate[index]
            forgetGradient[index] = cellGradient[index] * previousCell[index]
            cellGradient[index] *= forgetGate[index]
        }
        activateBackward(options.candidateActivation, candidateGradient)
        if options.hasCoupledGates {
            // forward: f = 1 - i
            for index in 0..<count {
                inputGradient[index] -= forgetGradient[index]
                forgetGradient[index] = 0
            }
        } else {
            activateBackward(options.gateActivation, forgetGradient)
        }
        activateBackward(options.gateActivation, inputGradient)
        if let peepholes {
            // forward: i += p_i ⊙ c, f += p_f ⊙ c
            for index in 0..<count {
                cellGradient[index] +=
                    inputGradient[index] * peepholes[index]
                    + forgetGradient[index] * peepholes[2 * unitCount + index]
            }
        }
    }

    /// Returns the gradient of the peepholes, `[3·H]`, summed over all steps.
    private func peepholeGradient<Scalar: KernelScalar>(
        _ record: LSTMRecord, _ gateGradients: Tensor, as type: Scalar.Type
    ) -> Tensor {
        let units = unitCount
        let result = Tensor(zeros: [3 * units], elementType: Scalar.elementType)
        let out = result.pointer(as: Scalar.self)
        // forward: i += p_i ⊙ c, o += p_o ⊙ c', f += p_f ⊙ c
        for row in 0..<schedule.rowCount {
            let gradient = gateGradients.pointer(as: Scalar.self) + row * 4 * units
            let before = record.cellBefore.pointer(as: Scalar.self) + row * units
            let after = record.cells.pointer(as: Scalar.self) + row * units
            for unit in 0..<units {
                out[unit] += gradient[unit] * before[unit]
                out[units + unit] += gradient[3 * units + unit] * after[unit]
                out[2 * units + unit] += gradient[units + unit] * before[unit]
            }
        }
        withExtendedLifetime((record, gateGradients)) {}
        return result
    }
}
