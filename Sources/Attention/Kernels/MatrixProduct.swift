/// A matrix to multiply, in rows or in columns.
struct MatrixOperand<Scalar> {
    let start: UnsafePointer<Scalar>
    /// How far apart the elements of a column are.
    let rowStride: Int
    /// How far apart the elements of a row are. Either stride is 1.
    let columnStride: Int

    /// A matrix whose rows lie `rowStride` apart.
    init(rows start: UnsafePointer<Scalar>, rowStride: Int) {
        self.start = start
        self.rowStride = rowStride
        columnStride = 1
    }

    /// The transpose of a matrix whose rows lie `rowStride` apart.
    init(transposed start: UnsafePointer<Scalar>, rowStride: Int) {
        self.start = start
        self.rowStride = 1
        columnStride = rowStride
    }
}

/// Computes `out[m, n] = Σ_k a[m, k] · b[k, n]`, added to what `out` holds if `isAccumulating`.
///
/// Every sum is made in ascending order of `k`, one product after the other: its bits depend on neither the number of
/// rows, of columns nor of threads.
///
/// - Parameters:
///   - a: `[rows, depth]`.
///   - b: `[depth, columns]`.
///   - out: `[rows, columns]`, its rows `outStride` apart; overlaps neither operand.
func multiply<Scalar: KernelScalar>(
    _ a: MatrixOperand<Scalar>, _ b: MatrixOperand<Scalar>, rows: Int, columns: Int, depth: Int,
    into out: UnsafeMutablePointer<Scalar>, outStride: Int, isAccumulating: Bool = false
) {
    guard rows > 0, columns > 0 else { return }
    if depth == 0 {
        if !isAccumulating {
            for row in 0..<rows { (out + row * outStride).update(repeating: 0, count: columns) }
        }
        return
    }
    let (rowBlock, columnBlock, depthBlock) = (96, 256, 256)
    let rowBlocks = blocks(of: rows, by: rowBlock)
    parallel(rowBlocks * blocks(of: columns, by: columnBlock)) { item in
        let m = range(item % rowBlocks, by: rowBlock, upTo: rows)
        let n = range(item / rowBlocks, by: columnBlock, upTo: columns)
        withUnsafeTemporaryAllocation(of: Scalar.self, capacity: depthBlock * (columnBlock + rowBlock)) { scratch in
            guard let packedB = scratch.baseAddress else { return }
            let packedA = packedB + depthBlock * columnBlock
            for block in 0..<blocks(of: depth, by: depthBlock) {
                let k = range(block, by: depthBlock, upTo: depth)
                var (left, leftStride) = (
                    a.start + m.lowerBound * a.rowStride + k.lowerBound * a.columnStride, a.rowStride
                )
                if a.columnStride != 1 {
                    pack(left, a.rowStride, a.columnStride, m.count, k.count, into: packedA)
                    (left, leftStride) = (UnsafePointer(packedA), k.count)
                }
                var (right, rightStride) = (
                    b.start + k.lowerBound * b.rowStride + n.lowerBound * b.columnStride, b.rowStride
                )
                if b.columnStride != 1 {
                    pack(right, b.rowStride, b.columnStride, k.count, n.count, into: packedB)
                    (right, rightStride) = (UnsafePointer(packedB), n.count)
                }
                let tile = TileOperands(
                    out: out + m.lowerBound * outStride + n.lowerBound, outStride: outStride, a: left,
                    aStride: leftStride, b: right, bStride: rightStride, rows: m.count, columns: n.count, depth: k.count
                )
                if block == 0 && !isAccumulating { Scalar.product(tile) } else { Scalar.productAdd(tile) }
            }
        }
    }
}

/// Copies `[rows, columns]` of any strides to rows side by side.
private func pack<Scalar>(
    _ source: UnsafePointer<Scalar>, _ rowStride: Int, _ columnStride: Int, _ rows: Int, _ columns: Int,
    into out: UnsafeMutablePointer<Scalar>
) {
    // Sixteen columns at a time: the cache lines they come from are used up before they are lost.
    for first in stride(from: 0, to: columns, by: 16) {
        for row in 0..<rows {
            for column in first..<min(first + 16, columns) {
                out[row * columns + column] = source[row * rowStride + column * columnStride]
            }
        }
    }
}
