// What the fused operations on whole sequences share. `N` vectors in all, `B` sequences, `D` inputs, `H` units,
// `G` gates. The sums `x W_ihᵀ` are made some steps ahead, the gradients of the weights after the last step; what is left
// in each step is the product with the state.

/// How many units one product takes: the columns that the product kernels are best at.
let unitBlock = 64

/// How the units and the rows of a step are divided among the threads: alike in every step, so that each thread finds
/// its part of the weights in the cache of its core.
struct StepDivision {
    /// One item of each step is a part of the units for a part of the rows.
    let unitParts: Int
    let rowParts: Int
    /// For how many steps at a time the inputs are multiplied: so many that they have the rows at least that make the
    /// weights' way from memory worth while.
    let stepsAtOnce: Int

    /// Divides steps that multiply their vectors by matrices of `weightCount` elements, all gates of `units` units.
    init(units: Int, schedule: RecurrentSchedule, weightCount: Int) {
        let rows = schedule.largestRowCount
        // An item is worth a thread from about half a microsecond on, if there are some microseconds of work in all: so
        // long it takes a thread to wake.
        let isShort = schedule.rowCount * weightCount < 1 << 18
        let wanted = isShort ? 1 : max(1, min(ComputeThreads.count, (rows * weightCount) >> 14))
        let unitBlocks = max(1, blocks(of: units, by: unitBlock))
        // Few weights fit into every core's cache: by rows, no item writes what another one reads.
        let first = weightCount <= 96 << 10 ? max(1, min(wanted, rows / 8)) : 1
        unitParts = min(unitBlocks, wanted / first)
        rowParts = first > 1 ? first : max(1, min(wanted / unitParts, rows / 6))
        stepsAtOnce = rowParts > 1 ? 1 : blocks(of: unitBlock, by: max(1, rows))
    }

    /// Calls `body` for the items of each step.
    func forEachStep(_ count: Int, _ body: (_ step: Int, _ item: Int) -> Void) {
        parallelSteps(count, items: unitParts * rowParts, body)
    }

    /// The units of an item, of `units`, a block at a time.
    func unitBlocks(_ item: Int, of units: Int) -> StepBlocks {
        let count = blocks(of: units, by: unitBlock)
        let part = item % unitParts
        return StepBlocks(units: units, index: part * count / unitParts, end: (part + 1) * count / unitParts)
    }

    /// The rows of an item, of those of a step.
    func rows(_ item: Int, of rows: Int) -> Range<Int> {
        let part = item / unitParts
        return part * rows / rowParts..<(part + 1) * rows / rowParts
    }
}

/// Some of the blocks of ``unitBlock`` units that all units make.
struct StepBlocks: Sequence, IteratorProtocol {
    let units: Int
    var index: Int
    let end: Int

    mutating func next() -> Range<Int>? {
        guard index < end else { return nil }
        defer { index += 1 }
        return range(index, by: unitBlock, upTo: units)
    }
}

// MARK: - The product with the state

/// A matrix `[depth, columns]` that is multiplied in every step, in panels of ``unitBlock`` columns: a panel stays in
/// the cache of the thread that uses it, and is read from one end to the other.
///
/// Neither it nor what else works in steps holds a tensor, since counting references would take longer than a short
/// step: whoever uses it keeps the weight, and this, until the last step.
struct StepMatrix<Scalar: KernelScalar> {
    private enum Layout {
        /// Panel after panel.
        case packed
        /// As it lies in memory: for few steps, which do not pay for the packing.
        case rows
        /// Its transpose as it lies in memory.
        case columns
    }

    private let layout: Layout
    /// What `start` points into; `nil` where that is the weight itself, which the caller keeps.
    private let packed: TensorStorage?
    private let start: UnsafePointer<Scalar>
    private let depth: Int
    private let columnCount: Int

    /// From how many steps on the packing pays.
    private static var packedStepCount: Int { 8 }

    /// Takes rows of a weight: `b[k, n] = weight[first + k, n]`.
    init(rows range: Range<Int>, of weight: Tensor, stepCount: Int) {
        depth = range.count
        columnCount = weight.shape[1]
        let source = UnsafePointer(weight.pointer(as: Scalar.self)) + range.lowerBound * columnCount
        guard stepCount >= Self.packedStepCount else {
            layout = .rows
            packed = nil
            start = source
            return
        }
        let (depth, columnCount) = (depth, columnCount)
        let storage = TensorStorage(byteCount: depth * columnCount * MemoryLayout<Scalar>.stride)
        let out = storage.base.assumingMemoryBound(to: Scalar.self)
        parallel(blocks(of: columnCount, by: unitBlock)) { block in
            let columns = Attention.range(block, by: unitBlock, upTo: columnCount)
            var place = out + columns.lowerBound * depth
            for row in 0..<depth {
                place.update(from: source + row * columnCount + columns.lowerBound, count: columns.count)
                place += columns.count
            }
        }
        layout = .packed
        packed = storage
        start = UnsafePointer(out)
    }

    /// Takes the transpose of a weight, whose rows are those of `gateCount` gates: `b[k, n] = weight[n, k]`, one such
    /// matrix for each gate.
    init(transposed weight: Tensor, gateCount: Int, stepCount: Int) {
        depth = weight.shape[1]
        columnCount = weight.shape[0] / max(1, gateCount)
        let source = UnsafePointer(weight.pointer(as: Scalar.self))
        guard stepCount >= Self.packedStepCount else {
            layout = .columns
            packed = nil
            start = source
            return
        }
        let (depth, columnCount) = (depth, columnCount)
        let storage = TensorStorage(byteCount: gateCount * depth * columnCount * MemoryLayout<Scalar>.stride)
        let out = storage.base.assumingMemoryBound(to: Scalar.self)
        let blockCount = blocks(of: columnCount, by: unitBlock)
        parallel(gateCount * blockCount) { item in
            let columns = Attention.range(item % blockCount, by: unitBlock, upTo: columnCount)
            let place = (item / blockCount * columnCount + columns.lowerBound) * depth
            Scalar.transpose(out + place, columns.count, source + place, depth, columns.count, depth)
        }
        layout = .packed
        packed = storage
        start = UnsafePointer(out)
    }

    /// Computes `out[m, n] = Σ_k a[m, k] · b[k, n]` for one block of columns, as ``StepDivision`` gives them.
    ///
    /// It is added to what `out` holds if `isAccumulating`. `out` begins at the block's first column. `b` is that of a gate
    /// where there are several.
    func multiply(
        gate: Int = 0, _ a: UnsafePointer<Scalar>, stride aStride: Int, rows: Int, columns: Range<Int>,
        into out: UnsafeMutablePointer<Scalar>, stride outStride: Int, isAccumulating: Bool
    ) {
        let start = start + gate * depth * columnCount
        var tile = TileOperands(
            out: out, outStride: outStride, a: a, aStride: aStride, b: start + columns.lowerBound, bStride: columnCount,
            rows: rows, columns: columns.count, depth: depth)
        switch layout {
        case .rows: break
        case .packed:
            tile = TileOperands(
                out: out, outStride: outStride, a: a, aStride: aStride, b: start + columns.lowerBound * depth,
                bStride: columns.count, rows: rows, columns: columns.count, depth: depth)
        case .columns:
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: rows * columns.count) { scratch in
                guard let sums = scratch.baseAddress else { return }
                Scalar.dotRows(
                    TileOperands(
                        out: isAccumulating ? sums : out, outStride: isAccumulating ? columns.count : outStride, a: a,
                        aStride: aStride, b: start + columns.lowerBound * depth, bStride: depth, rows: rows,
                        columns: columns.count, depth: depth))
                guard isAccumulating else { return }
                for row in 0..<rows {
                    let place = out + row * outStride
                    Scalar.add(place, place, sums + row * columns.count, columns.count)
                }
            }
            return
        }
        if isAccumulating { Scalar.productAdd(tile) } else { Scalar.product(tile) }
    }
}

// MARK: - The sums that steps begin with

/// The sums `x W_ihᵀ + b` of all gates, made for some steps at a time by whoever takes these steps.
struct InputSums<Scalar: KernelScalar> {
    /// `[N, G·H]`, or as many rows as are made at a time.
    private let start: UnsafeMutablePointer<Scalar>
    private let input: UnsafePointer<Scalar>
    private let depth: Int
    private let weight: StepMatrix<Scalar>
    private let inputBias: UnsafePointer<Scalar>?
    private let hiddenBias: UnsafePointer<Scalar>?
    /// How many gates start with the hidden bias too.
    private let hiddenBiasGateCount: Int
    private let schedule: RecurrentSchedule
    private let isReverse: Bool
    private let unitCount: Int
    private let gateCount: Int
    private let keepsAll: Bool
    private let stepsAtOnce: Int

    /// How many elements the sums take.
    static func elementCount(
        gateCount: Int, units: Int, schedule: RecurrentSchedule, keepsAll: Bool, division: StepDivision
    ) -> Int {
        let rows = min(schedule.rowCount, division.stepsAtOnce * schedule.largestRowCount)
        return (keepsAll ? schedule.rowCount : rows) * gateCount * units
    }

    /// Takes the vectors `[N, D]`, and from the parameters the weight `[G·H, D]` and the biases `[G·H]`, the hidden one for
    /// some gates alone; the sums of all steps are kept if `keepsAll`, else only those of the steps at hand.
    init(
        at start: UnsafeMutablePointer<Scalar>, input: Tensor, parameters: RecurrentWeights, gateCount: Int,
        hiddenBiasGateCount: Int, schedule: RecurrentSchedule, isReverse: Bool, keepsAll: Bool, division: StepDivision
    ) {
        self.start = start
        self.input = UnsafePointer(input.pointer(as: Scalar.self))
        depth = input.shape[1]
        inputBias = parameters.inputBias.map { UnsafePointer($0.pointer(as: Scalar.self)) }
        hiddenBias = parameters.hiddenBias.map { UnsafePointer($0.pointer(as: Scalar.self)) }
        self.hiddenBiasGateCount = hiddenBiasGateCount
        weight = StepMatrix(transposed: parameters.input, gateCount: gateCount, stepCount: schedule.takenStepCount)
        self.schedule = schedule
        self.isReverse = isReverse
        self.gateCount = gateCount
        unitCount = parameters.input.shape[0] / gateCount
        self.keepsAll = keepsAll
        stepsAtOnce = division.stepsAtOnce
    }

    /// The steps that are made together with one, which is the `index`th in the direction.
    private func stepsMade(with index: Int) -> Range<Int> {
        let count = schedule.takenStepCount
        let first = index / stepsAtOnce * stepsAtOnce
        let end = min(first + stepsAtOnce, count)
        return isReverse ? count - end..<count - first : first..<end
    }

    /// Where the sums of a step begin, which is the `index`th in the direction.
    func place(_ step: Int, _ index: Int) -> UnsafeMutablePointer<Scalar> {
        let first = keepsAll ? 0 : schedule.start(of: stepsMade(with: index).lowerBound)
        return start + (schedule.start(of: step) - first) * gateCount * unitCount
    }

    /// Makes the sums for a block of units and the rows of an item, unless they stand there already.
    func make(_ step: Int, _ index: Int, units: Range<Int>, rows: Range<Int>) {
        guard index % stepsAtOnce == 0 else { return }
        let first = schedule.start(of: step)
        var vectors = first + rows.lowerBound..<first + rows.upperBound
        var out = place(step, index) + rows.lowerBound * gateCount * unitCount
        if stepsAtOnce > 1 {
            let steps = stepsMade(with: index)
            let last = steps.upperBound - 1
            vectors = schedule.start(of: steps.lowerBound)..<schedule.start(of: last) + schedule.rowCount(of: last)
            out = place(steps.lowerBound, index)
        }
        guard !vectors.isEmpty else { return }
        let stride = gateCount * unitCount
        let x = input + vectors.lowerBound * depth
        for gate in 0..<gateCount {
            let gateOut = out + gate * unitCount + units.lowerBound
            let hasBias = startSums(of: gate, units: units, at: gateOut)
            if hasBias {
                for row in 1..<vectors.count {
                    (gateOut + row * stride).update(from: gateOut, count: units.count)
                }
            }
            weight.multiply(
                gate: gate, x, stride: depth, rows: vectors.count, columns: units, into: gateOut, stride: stride,
                isAccumulating: hasBias)
        }
    }

    /// Writes what a gate's sums of one vector begin with, its biases; returns `false` where there are none.
    private func startSums(of gate: Int, units: Range<Int>, at out: UnsafeMutablePointer<Scalar>) -> Bool {
        let place = gate * unitCount + units.lowerBound
        let hiddenBias = gate < hiddenBiasGateCount ? hiddenBias : nil
        if let inputBias, let hiddenBias {
            Scalar.add(out, inputBias + place, hiddenBias + place, units.count)
        } else if let bias = inputBias ?? hiddenBias {
            out.update(from: bias + place, count: units.count)
        } else {
            return false
        }
        return true
    }
}

// MARK: - States

/// A state in every step of one direction: what it was before the step, and what it is at each sequence's end.
struct StateHistory<Scalar: KernelScalar> {
    /// `[N, width]`, as the schedule lays vectors out; where nothing is kept, `[2, B, width]` for steps in turn.
    private let start: UnsafeMutablePointer<Scalar>
    private let width: Int
    private let final: UnsafeMutablePointer<Scalar>
    private let schedule: RecurrentSchedule
    private let isReverse: Bool
    private let keepsAll: Bool

    /// How many elements the states take.
    static func elementCount(width: Int, schedule: RecurrentSchedule, keepsAll: Bool) -> Int {
        (keepsAll ? schedule.rowCount : 2 * schedule.batchCount) * width
    }

    /// Starts each sequence with its initial state, `[B, width]`, or with zeros, at the step where the direction comes upon
    /// it; the final states will be written to `final`, `[B, width]`.
    init(
        at start: UnsafeMutablePointer<Scalar>, initial: Tensor?, width: Int, final: UnsafeMutablePointer<Scalar>,
        schedule: RecurrentSchedule, isReverse: Bool, keepsAll: Bool
    ) {
        let batchCount = schedule.batchCount
        self.start = start
        self.width = width
        self.final = final
        self.schedule = schedule
        self.isReverse = isReverse
        self.keepsAll = keepsAll
        // A sequence without steps ends as it starts: the final states hold the initial ones until then.
        if let initial {
            final.update(from: initial.pointer(as: Scalar.self), count: batchCount * width)
        } else {
            final.update(repeating: 0, count: batchCount * width)
        }
        func enter(_ row: Int, at place: UnsafeMutablePointer<Scalar>) {
            (place + row * width).update(from: final + schedule.sequence(inRow: row) * width, count: width)
        }
        if keepsAll {
            for step in 0..<schedule.takenStepCount {
                let goingOn = schedule.continuingCount(after: step, isReverse: false)
                let entering =
                    isReverse ? goingOn..<schedule.rowCount(of: step) : 0..<(step == 0 ? schedule.largestRowCount : 0)
                for row in entering { enter(row, at: previous(step)) }
            }
        } else {
            // Nobody writes to a sequence's place before the direction comes upon it.
            for row in 0..<batchCount {
                for half in 0..<2 { enter(row, at: start + half * batchCount * width) }
            }
        }
        withExtendedLifetime(initial) {}
    }

    /// The states before a step, in the order of its rows.
    func previous(_ step: Int) -> UnsafeMutablePointer<Scalar> {
        start + (keepsAll ? schedule.start(of: step) : step % 2 * schedule.batchCount) * width
    }

    /// Takes the state that a step left, where it is needed next: before the next step, or as the final state.
    ///
    /// - Parameters:
    ///   - values: Those of the step's rows, one after the other.
    ///   - step: The step that has computed them.
    ///   - columns: Which of the state's elements are taken.
    ///   - rows: Which of the step's sequences.
    func advance(_ values: UnsafePointer<Scalar>, after step: Int, columns: Range<Int>, rows: Range<Int>) {
        let goingOn = schedule.continuingCount(after: step, isReverse: isReverse)
        let next = goingOn > 0 ? previous(isReverse ? step - 1 : step + 1) : final
        for row in rows {
            let place = row < goingOn ? next + row * width : final + schedule.sequence(inRow: row) * width
            (place + columns.lowerBound).update(from: values + row * width + columns.lowerBound, count: columns.count)
        }
    }
}

/// Vectors that each step computes, `[N, width]`; where nothing is kept, `[B, width]` for the step at hand.
struct StepVectors<Scalar: KernelScalar> {
    private let start: UnsafeMutablePointer<Scalar>
    private let width: Int
    private let schedule: RecurrentSchedule
    private let keepsAll: Bool

    /// How many elements the vectors take.
    static func elementCount(width: Int, schedule: RecurrentSchedule, keepsAll: Bool) -> Int {
        (keepsAll ? schedule.rowCount : schedule.batchCount) * width
    }

    init(at start: UnsafeMutablePointer<Scalar>, width: Int, schedule: RecurrentSchedule, keepsAll: Bool) {
        self.start = start
        self.width = width
        self.schedule = schedule
        self.keepsAll = keepsAll
    }

    /// Where those of a step begin.
    func place(_ step: Int) -> UnsafeMutablePointer<Scalar> {
        start + (keepsAll ? schedule.start(of: step) * width : 0)
    }
}

/// The gradient of a state on its way from the last step to the first.
struct CarriedGradient<Scalar: KernelScalar> {
    /// `[B, width]`, in the schedule's order of the sequences.
    let carried: Tensor
    let pointer: UnsafeMutablePointer<Scalar>
    private let schedule: RecurrentSchedule

    /// Starts with the gradient of the final state, which lies in `final`, `[B, width]`.
    init(final: UnsafePointer<Scalar>, width: Int, schedule: RecurrentSchedule) {
        carried = Tensor(uninitialized: [schedule.batchCount, width], elementType: Scalar.elementType)
        pointer = carried.pointer(as: Scalar.self)
        self.schedule = schedule
        for row in 0..<schedule.batchCount {
            (pointer + row * width).update(from: final + schedule.sequence(inRow: row) * width, count: width)
        }
    }

    /// What reached the initial state, once every step is gone through: `[B, width]` in the batch's order.
    func initialGradient() -> Tensor {
        let width = carried.shape[1]
        let result = Tensor(uninitialized: carried.shape, elementType: Scalar.elementType)
        let out = result.pointer(as: Scalar.self)
        for row in 0..<schedule.batchCount {
            (out + schedule.sequence(inRow: row) * width).update(from: pointer + row * width, count: width)
        }
        return result
    }
}

// MARK: - Products over all steps

/// Returns `gᵀ x`, `[F, D]`, the gradient of a weight from those of the sums `x Wᵀ`, over all steps: g is `[N, F]`, x
/// `[N, D]`.
func weightGradient<Scalar: KernelScalar>(_ gradient: Tensor, x: Tensor, as type: Scalar.Type) -> Tensor {
    let rows = gradient.shape[1]
    let result = Tensor(uninitialized: [rows, x.shape[1]], elementType: Scalar.elementType)
    weightGradient(gradient, columns: 0..<rows, x: x, into: result.pointer(as: Scalar.self))
    return result
}

/// Writes the rows of a weight's gradient that some columns of g give to `out`.
func weightGradient<Scalar: KernelScalar>(
    _ gradient: Tensor, columns range: Range<Int>, x: Tensor, into out: UnsafeMutablePointer<Scalar>
) {
    let columns = x.shape[1]
    let gradients = UnsafePointer(gradient.pointer(as: Scalar.self)) + range.lowerBound
    multiply(
        MatrixOperand(transposed: gradients, rowStride: gradient.shape[1]),
        MatrixOperand(rows: UnsafePointer(x.pointer(as: Scalar.self)), rowStride: columns), rows: range.count,
        columns: columns, depth: x.shape[0], into: out, outStride: columns)
    withExtendedLifetime((gradient, x)) {}
}

/// Returns `g W`, `[N, D]`, the gradient of the inputs from those of the sums `x Wᵀ`, over all steps: g is `[N, F]`, W
/// `[F, D]`.
func inputGradient<Scalar: KernelScalar>(_ gradient: Tensor, weight: Tensor, as type: Scalar.Type) -> Tensor {
    let (rows, depth, columns) = (gradient.shape[0], gradient.shape[1], weight.shape[1])
    let result = Tensor(uninitialized: [rows, columns], elementType: Scalar.elementType)
    multiply(
        MatrixOperand(rows: UnsafePointer(gradient.pointer(as: Scalar.self)), rowStride: depth),
        MatrixOperand(rows: UnsafePointer(weight.pointer(as: Scalar.self)), rowStride: columns), rows: rows,
        columns: columns, depth: depth, into: result.pointer(as: Scalar.self), outStride: columns)
    withExtendedLifetime((gradient, weight)) {}
    return result
}

// MARK: - Operands and results

extension Tensor {
    /// The elements alone, side by side, as `type`.
    func operand<Scalar: KernelScalar>(as type: Scalar.Type) -> Tensor {
        isOperand(as: type) ? self : detached.converted(to: Scalar.elementType).contiguous()
    }

    /// Whether the tensor is already what ``operand(as:)`` makes of it.
    func isOperand<Scalar: KernelScalar>(as type: Scalar.Type) -> Bool {
        node == nil && elementType == Scalar.elementType && isContiguous
    }

    /// Returns a part of a flat tensor, from an element on, in a shape of its own.
    func part(from start: Int, shape: [Int]) -> Tensor {
        guard isTracked else { return view(shape: shape, offset: offset + start) }
        return slice(axis: 0, range: start..<start + Tensor.elementCount(of: shape)).reshaped(to: shape)
    }
}

/// What a pass needs beside its operands and results: one buffer, given out part by part.
struct Workspace<Scalar: KernelScalar> {
    private let storage: TensorStorage
    private var taken = 0

    /// Has room for parts of these sizes.
    init(_ elementCounts: Int...) {
        let room = elementCounts.reduce(0) { $0 + Self.room(for: $1) }
        storage = TensorStorage(byteCount: room * MemoryLayout<Scalar>.stride)
    }

    /// What a part takes up: whole cache lines.
    private static func room(for elementCount: Int) -> Int {
        let line = BufferPool.alignment / MemoryLayout<Scalar>.stride
        return blocks(of: elementCount, by: line) * line
    }

    private var start: UnsafeMutablePointer<Scalar> { storage.base.assumingMemoryBound(to: Scalar.self) }

    /// Gives out a part; the caller keeps the workspace.
    mutating func take(_ elementCount: Int) -> UnsafeMutablePointer<Scalar> {
        defer { taken += Self.room(for: elementCount) }
        return start + taken
    }

    /// A part as a tensor, which keeps the whole.
    func tensor(at part: UnsafeMutablePointer<Scalar>, shape: [Int]) -> Tensor {
        Tensor(
            shape: shape, strides: Tensor.contiguousStrides(of: shape), elementType: Scalar.elementType,
            storage: storage, offset: part - start)
    }
}
