// What the fused operations on whole sequences share. `N` vectors in all, `B` sequences, `D` inputs, `H` units,
// `G` gates: the sums `x W_ihᵀ` of all steps are one product before the loop, and the gradients of the weights one
// after it; what is left in each step is the product with the state.

/// How many units one work item takes: the columns that the product kernels are best at.
let unitBlock = 64

/// Calls `body` for blocks of units and of rows that together are all of them, in parallel.
///
/// One call is a step of a sequence: the next may read what it wrote.
func forEachBlock(units: Int, rows: Int, _ body: (_ units: Range<Int>, _ rows: Range<Int>) -> Void) {
    let unitBlocks = blocks(of: units, by: unitBlock)
    // Rows are split where the units alone leave a thread without work, by the rows that a kernel keeps in registers.
    let wanted = blocks(of: ComputeThreads.count, by: max(1, unitBlocks))
    let rowBlock = max(6, blocks(of: blocks(of: rows, by: max(1, wanted)), by: 6) * 6)
    let rowBlocks = blocks(of: rows, by: rowBlock)
    parallel(unitBlocks * rowBlocks) { item in
        body(
            range(item % unitBlocks, by: unitBlock, upTo: units),
            range(item / unitBlocks, by: rowBlock, upTo: rows))
    }
}

// MARK: - The product with the state

/// A matrix `[depth, columns]` that is multiplied in every step, in panels of ``unitBlock`` columns: a panel stays in
/// the cache of the thread that uses it, and is read from one end to the other.
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
    /// What `start` points into.
    private let storage: Tensor
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
            storage = weight
            start = source
            return
        }
        let (depth, columnCount) = (depth, columnCount)
        let packed = Tensor(uninitialized: [depth * columnCount], elementType: Scalar.elementType)
        let out = packed.pointer(as: Scalar.self)
        parallel(blocks(of: columnCount, by: unitBlock)) { block in
            let columns = Attention.range(block, by: unitBlock, upTo: columnCount)
            var place = out + columns.lowerBound * depth
            for row in 0..<depth {
                place.update(from: source + row * columnCount + columns.lowerBound, count: columns.count)
                place += columns.count
            }
        }
        layout = .packed
        storage = packed
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
            storage = weight
            start = source
            return
        }
        let (depth, columnCount) = (depth, columnCount)
        let packed = Tensor(uninitialized: weight.shape, elementType: Scalar.elementType)
        let out = packed.pointer(as: Scalar.self)
        let blockCount = blocks(of: columnCount, by: unitBlock)
        parallel(gateCount * blockCount) { item in
            let columns = Attention.range(item % blockCount, by: unitBlock, upTo: columnCount)
            let place = (item / blockCount * columnCount + columns.lowerBound) * depth
            Scalar.transpose(out + place, columns.count, source + place, depth, columns.count, depth)
        }
        layout = .packed
        storage = packed
        start = UnsafePointer(out)
    }

    /// Computes `out[m, n] = Σ_k a[m, k] · b[k, n]` for one block of columns, as ``forEachBlock(units:rows:_:)`` gives
    /// them.
    ///
    /// It is added to what `out` holds if `isAccumulating`. `out` begins at the block's first column. `b` is that of a gate
    /// where there are several.
    func multiply(
        gate: Int = 0, _ a: UnsafePointer<Scalar>, stride aStride: Int, rows: Int, columns: Range<Int>,
        into out: UnsafeMutablePointer<Scalar>, stride outStride: Int, isAccumulating: Bool
    ) {
        defer { withExtendedLifetime(storage) {} }
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

// MARK: - States

/// A state in every step of one direction: what it was before the step, and what it is at each sequence's end.
struct StateHistory<Scalar: KernelScalar> {
    /// `[N, width]`, as the schedule lays vectors out.
    let before: Tensor
    let previous: UnsafeMutablePointer<Scalar>
    let width: Int
    private let final: UnsafeMutablePointer<Scalar>
    private let schedule: RecurrentSchedule
    private let isReverse: Bool

    /// Starts each sequence with its initial state, `[B, width]`, at the step where the direction comes upon it; the
    /// final states will be written to `final`, `[B, width]`.
    init(
        initial: Tensor, final: UnsafeMutablePointer<Scalar>, schedule: RecurrentSchedule, isReverse: Bool
    ) {
        let width = initial.shape[1]
        before = Tensor(uninitialized: [schedule.rowCount, width], elementType: Scalar.elementType)
        previous = before.pointer(as: Scalar.self)
        self.width = width
        self.final = final
        self.schedule = schedule
        self.isReverse = isReverse
        let source = initial.pointer(as: Scalar.self)
        // A sequence without steps ends as it starts.
        final.update(from: source, count: schedule.batchCount * width)
        for step in schedule.rowCounts.indices {
            let goingOn = schedule.continuingCount(after: step, isReverse: false)
            let entering = isReverse ? goingOn..<schedule.rowCounts[step] : 0..<(step == 0 ? schedule.rowCounts[0] : 0)
            for row in entering {
                (previous + (schedule.starts[step] + row) * width).update(
                    from: source + schedule.order[row] * width, count: width)
            }
        }
        withExtendedLifetime(initial) {}
    }

    /// Takes the state that a step left, where it is needed next: before the next step, or as the final state.
    ///
    /// - Parameters:
    ///   - values: `[N, width]`.
    ///   - step: The step that has computed them.
    ///   - columns: Which of the state's elements are taken.
    ///   - rows: Which of the step's sequences.
    func advance(_ values: UnsafePointer<Scalar>, after step: Int, columns: Range<Int>, rows: Range<Int>) {
        let goingOn = schedule.continuingCount(after: step, isReverse: isReverse)
        let first = schedule.starts[step]
        let next = goingOn > 0 ? schedule.starts[isReverse ? step - 1 : step + 1] : 0
        for row in rows {
            let source = values + (first + row) * width + columns.lowerBound
            let place = row < goingOn ? previous + (next + row) * width : final + schedule.order[row] * width
            (place + columns.lowerBound).update(from: source, count: columns.count)
        }
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
        for (row, sequence) in schedule.order.enumerated() {
            (pointer + row * width).update(from: final + sequence * width, count: width)
        }
    }

    /// What reached the initial state, once every step is gone through: `[B, width]` in the batch's order.
    func initialGradient() -> Tensor {
        let width = carried.shape[1]
        let result = Tensor(uninitialized: carried.shape, elementType: Scalar.elementType)
        let out = result.pointer(as: Scalar.self)
        for (row, sequence) in schedule.order.enumerated() {
            (out + sequence * width).update(from: pointer + row * width, count: width)
        }
        return result
    }
}

// MARK: - Products over all steps

/// Returns `x Wᵀ + b`, `[N, F]`, for the vectors of all steps: x is `[N, D]`, W `[F, D]`.
func inputSums<Scalar: KernelScalar>(_ x: Tensor, weight: Tensor, bias: Tensor?, as type: Scalar.Type) -> Tensor {
    let (rows, columns, depth) = (x.shape[0], weight.shape[0], x.shape[1])
    let result = Tensor(uninitialized: [rows, columns], elementType: Scalar.elementType)
    let (out, input) = (result.pointer(as: Scalar.self), UnsafePointer(x.pointer(as: Scalar.self)))
    let weights = UnsafePointer(weight.pointer(as: Scalar.self))
    let biases = bias.map { UnsafePointer($0.pointer(as: Scalar.self)) }
    if rows <= 64 {
        // Each row of the weight is read once: a transposed copy of it would cost more than it saves.
        let columnBlock = unitBlock
        parallel(blocks(of: columns, by: columnBlock)) { block in
            let range = range(block, by: columnBlock, upTo: columns)
            Scalar.dotRows(
                TileOperands(
                    out: out + range.lowerBound, outStride: columns, a: input, aStride: depth,
                    b: weights + range.lowerBound * depth, bStride: depth, rows: rows, columns: range.count,
                    depth: depth))
            guard let biases else { return }
            for row in 0..<rows {
                let sums = out + row * columns + range.lowerBound
                Scalar.add(sums, sums, biases + range.lowerBound, range.count)
            }
        }
    } else {
        multiply(
            MatrixOperand(rows: input, rowStride: depth), MatrixOperand(transposed: weights, rowStride: depth),
            rows: rows, columns: columns, depth: depth, into: out, outStride: columns, bias: biases)
    }
    withExtendedLifetime((x, weight, bias)) {}
    return result
}

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
        detached.converted(to: Scalar.elementType).contiguous()
    }

    /// Returns parts of a flat tensor, each of its shape, one after the other.
    func unpacked(into shapes: [[Int]]) -> [Tensor] {
        var start = 0
        return shapes.map { shape in
            let count = Tensor.elementCount(of: shape)
            defer { start += count }
            return slice(axis: 0, range: start..<start + count).reshaped(to: shape)
        }
    }
}

/// Returns the sum of two biases, of which either may be absent.
func sumOfBiases(_ first: Tensor?, _ second: Tensor?) -> Tensor? {
    guard let first, let second else { return first ?? second }
    return first + second
}
