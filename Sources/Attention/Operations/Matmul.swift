internal import CAttentionKernels

/// Returns `x · Wᵀ + b`: each row of `x` times each row of the weights.
///
/// Sums are float32 along the columns, in an order that does not depend on the number of rows: a row's result
/// has the same bits in every batch. Weights in float32, float16 and bfloat16 are multiplied in the order, and with the
/// bits, of ``linear(_:weight:bias:)``, after conversion to float32 in registers: nothing is kept, since packing them once
/// for all would gain 3 % for 512 rows, 7 % for 128, and take as much memory as the float32 weights do. Activations in
/// bfloat16 are multiplied by weights in bfloat16 as they are; other activations are never rounded to them. With quantised
/// weights, ``WeightMatrix/usedArithmetic`` says whether the terms are those of decoded weights or integers: then NaN and ∞
/// make all results of their row NaN. Where gradients are recorded, ``linear(_:weight:bias:)`` is called instead, with all
/// weights decoded.
///
/// - Parameters:
///   - x: `[…, columns]`, floating-point.
///   - weights: `[rows, columns]`, as a checkpoint stores a linear layer.
///   - bias: `[rows]`, or none.
/// - Returns: `[…, rows]`, float32; float64 where `x` and the tensor of the weights are, bfloat16 where `x` and weights
///   are and no gradient is recorded.
/// - Precondition: The last extent of `x` is the number of columns.
/// - Complexity: O(rows · x's elements) time; one block of decoded weights per thread.
public func matmul(_ x: Tensor, _ weights: WeightMatrix, bias: Tensor? = nil) -> Tensor {
    requireShapes(x, weights)
    let isDouble = x.elementType == .float64 && weights.tensor?.elementType == .float64
    if isDouble || isRecorded([x, weights.tensor, bias]) { return linear(x, weight: weights.decoded, bias: bias) }
    if weights.usedArithmetic == .int8 {
        let result = quantizedProducts(x, [weights])[0]
        return bias.map { result + $0 } ?? result
    }
    let (columns, outputs) = (weights.columnCount, weights.rowCount)
    if weights.format == .bfloat16, x.elementType == .bfloat16, let right = weights.storedOperand {
        let product = bfloat16Product(x, right.start, columns: outputs, bias: bias)
        withExtendedLifetime(weights) {}
        return product
    }
    let input = x.converted(to: .float32).contiguous()
    let rows = Tensor.elementCount(of: Array(x.shape.dropLast()))
    let result = Tensor(uninitialized: x.shape.dropLast() + [outputs], elementType: .float32)
    if let right = weights.storedOperand {
        let bias = bias?.converted(to: .float32).contiguous()
        multiply(
            MatrixOperand(rows: input.pointer(as: Float.self), rowStride: columns), right, rows: rows, columns: outputs,
            depth: columns, into: result.pointer(as: Float.self), outStride: outputs,
            bias: bias.map { UnsafePointer($0.pointer(as: Float.self)) })
        withExtendedLifetime((input, weights, bias)) {}
        return result
    }
    // A block of decoded weights stays in the second-level cache while the rows pass by, as many at a time as stay in the
    // first-level one. A few rows are done sooner than they are waited for: then blocks are small, for more threads.
    let blockLength = rows > 16 ? 48 : 16
    let rowLength = max(4, 6144 / max(1, columns) / 4 * 4)
    parallel(blocks(of: outputs, by: blockLength)) { block in
        let range = range(block, by: blockLength, upTo: outputs)
        let out = result.pointer(as: Float.self) + range.lowerBound
        withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, range.count * columns)) { buffer in
            guard let decoded = buffer.baseAddress else { return }
            for (index, row) in range.enumerated() {
                weights.decode(row: row, to: decoded + index * columns)
            }
            for first in stride(from: 0, to: rows, by: rowLength) {
                Kernels.current.dot_rows(
                    out + first * outputs, outputs, input.pointer(as: Float.self) + first * columns, columns, decoded,
                    columns, min(rowLength, rows - first), range.count, columns)
            }
        }
    }
    return bias.map { result + $0 } ?? result
}

/// Returns `x · Wᵀ` for each of several matrices: what ``matmul(_:_:bias:)`` returns for it, bit for bit.
///
/// Sooner than one by one where integers are multiplied: the input is quantised once, and the threads work on all
/// matrices at once.
///
/// - Parameters:
///   - x: `[…, columns]`, floating-point.
///   - weights: `[rows, columns]` each; rows may differ.
/// - Returns: `[…, rows]` for each.
/// - Precondition: The last extent of `x` is the number of columns of each.
public func matmul(_ x: Tensor, _ weights: [WeightMatrix]) -> [Tensor] {
    guard !isRecorded([x] + weights.map(\.tensor)), weights.allSatisfy({ $0.usedArithmetic == .int8 }) else {
        return weights.map { matmul(x, $0) }
    }
    for matrix in weights { requireShapes(x, matrix) }
    return quantizedProducts(x, weights)
}

private func requireShapes(_ x: Tensor, _ weights: WeightMatrix) {
    require(
        x.rank >= 1 && x.shape.last == weights.columnCount,
        "\(x.shape) cannot be multiplied by weights [\(weights.rowCount), \(weights.columnCount)]: the last extent "
            + "must be \(weights.columnCount).")
}
