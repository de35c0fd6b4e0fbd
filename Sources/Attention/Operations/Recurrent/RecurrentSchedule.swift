/// Which sequences of a batch take part in which step, and where their vectors lie.
///
/// Sequences are kept without padding: first the vectors of the first step, of the longest sequence first, then those
/// of the second, of the sequences that are long enough, and so on. So a step's vectors lie side by side, those that go
/// on before those that end, and nobody has to sort a batch.
package final class RecurrentSchedule: Sendable {
    /// How many sequences there are.
    package let batchCount: Int
    /// How many steps a padded sequence has.
    package let stepCount: Int
    /// How many steps any sequence takes part in.
    let takenStepCount: Int
    /// How many vectors there are in all: `N`.
    package let rowCount: Int
    /// What is not the same in every step; `nil` where all sequences have all steps.
    private let ragged: Ragged?

    private struct Ragged {
        /// The sequences' places in the batch, the longest first; those of one length keep their order.
        let order: [Int]
        /// How many sequences take part in each step; steps of none are left out.
        let rowCounts: [Int]
        /// The first vector of each step.
        let starts: [Int]

        init(lengths: [Int]) {
            order = lengths.indices.sorted { lengths[$0] == lengths[$1] ? $0 < $1 : lengths[$0] > lengths[$1] }
            var counts = [Int](repeating: 0, count: lengths.max() ?? 0)
            for length in lengths {
                for step in 0..<length { counts[step] += 1 }
            }
            rowCounts = counts
            var rowCount = 0
            starts = counts.map { count in
                defer { rowCount += count }
                return rowCount
            }
        }
    }

    /// Plans the steps of a batch.
    ///
    /// - Parameters:
    ///   - batchCount: How many sequences there are.
    ///   - stepCount: How many steps a padded sequence has.
    ///   - lengths: How many steps each sequence has; `nil` means all of them.
    package init(batchCount: Int, stepCount: Int, lengths: [Int]? = nil) {
        self.batchCount = batchCount
        self.stepCount = stepCount
        guard let lengths else {
            takenStepCount = batchCount > 0 ? stepCount : 0
            rowCount = batchCount * stepCount
            ragged = nil
            return
        }
        require(lengths.count == batchCount, "There are \(lengths.count) lengths for \(batchCount) sequences.")
        for length in lengths {
            require(
                (0...stepCount).contains(length), "A sequence of \(stepCount) steps has not the length \(length).")
        }
        let ragged = Ragged(lengths: lengths)
        takenStepCount = ragged.rowCounts.count
        rowCount = lengths.reduce(0, +)
        self.ragged = rowCount < batchCount * stepCount ? ragged : nil
    }

    /// Whether a padded batch has vectors that no sequence has.
    var isRagged: Bool { ragged != nil }
    /// Whether sequence by sequence is step by step.
    private var liesAlike: Bool { batchCount == 1 || stepCount == 1 }

    /// How many sequences take part in a step.
    func rowCount(of step: Int) -> Int { ragged?.rowCounts[step] ?? batchCount }

    /// The first vector of a step.
    func start(of step: Int) -> Int { ragged?.starts[step] ?? step * batchCount }

    /// The place in the batch of the sequence in a row of each step.
    func sequence(inRow row: Int) -> Int { ragged?.order[row] ?? row }

    /// How many sequences take part in the first step, and at most in any.
    var largestRowCount: Int { takenStepCount > 0 ? rowCount(of: 0) : 0 }

    /// The steps in the order that a direction takes them.
    func steps(isReverse: Bool) -> [Int] {
        isReverse ? (0..<takenStepCount).reversed() : Array(0..<takenStepCount)
    }

    /// How many sequences of a step go on to the next one in a direction; the others, behind them, have ended.
    func continuingCount(after step: Int, isReverse: Bool) -> Int {
        if isReverse { return step > 0 ? rowCount(of: step) : 0 }
        return step + 1 < takenStepCount ? rowCount(of: step + 1) : 0
    }

    /// Calls `body` with each vector's place in `[N, …]`, and its step and sequence in the padded batch.
    private func forEachRow(_ body: (_ row: Int, _ step: Int, _ sequence: Int) -> Void) {
        for step in 0..<takenStepCount {
            for row in 0..<rowCount(of: step) { body(start(of: step) + row, step, sequence(inRow: row)) }
        }
    }

    // MARK: - Padded and packed

    /// Returns the vectors of a padded batch without the padding, which is not read.
    ///
    /// - Parameter padded: `[B, T, D]`.
    /// - Returns: `[N, D]`.
    package func packed(_ padded: Tensor) -> Tensor {
        let dimension = padded.shape[2]
        guard isRagged else {
            return (liesAlike ? padded : padded.transposed(0, 1)).reshaped(to: [rowCount, dimension])
        }
        return packedRows(of: padded.detached).recorded(from: [padded]) { gradient, _ in
            [self.paddedRows(of: gradient)]
        }
    }

    /// Returns a padded batch of vectors, with zeros for the padding.
    ///
    /// - Parameter packed: `[N, H]`.
    /// - Returns: `[B, T, H]`.
    package func padded(_ packed: Tensor) -> Tensor {
        let dimension = packed.shape[1]
        guard isRagged else {
            if liesAlike { return packed.reshaped(to: [batchCount, stepCount, dimension]) }
            return packed.reshaped(to: [stepCount, batchCount, dimension]).transposed(0, 1)
        }
        return paddedRows(of: packed.detached).recorded(from: [packed]) { gradient, _ in
            [self.packedRows(of: gradient)]
        }
    }

    private func packedRows(of padded: Tensor) -> Tensor {
        let source = padded.contiguous()
        let result = Tensor(uninitialized: [rowCount, padded.shape[2]], elementType: padded.elementType)
        let size = padded.shape[2] * padded.elementType.byteCount
        forEachRow { row, step, sequence in
            (result.base + row * size).copyMemory(
                from: source.base + (sequence * stepCount + step) * size, byteCount: size)
        }
        withExtendedLifetime(source) {}
        return result
    }

    private func paddedRows(of packed: Tensor) -> Tensor {
        let source = packed.contiguous()
        let result = Tensor(zeros: [batchCount, stepCount, packed.shape[1]], elementType: packed.elementType)
        let size = packed.shape[1] * packed.elementType.byteCount
        forEachRow { row, step, sequence in
            (result.base + (sequence * stepCount + step) * size).copyMemory(
                from: source.base + row * size, byteCount: size)
        }
        withExtendedLifetime(source) {}
        return result
    }
}
