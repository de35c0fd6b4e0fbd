internal import CAttentionKernels

/// Rows of bfloat16 numbers in pairs, as the processor's instruction multiplies them.
///
/// Rows of an odd length are copied and get a zero; so are those that are not aligned to a pair.
private struct PairedRows {
    let start: UnsafePointer<UInt16>
    let stride: Int
    private let copy: TensorStorage?

    init(_ rows: UnsafeRawPointer, count: Int, depth: Int) {
        guard depth % 2 != 0 || Int(bitPattern: rows) % 4 != 0 else {
            (start, stride, copy) = (rows.assumingMemoryBound(to: UInt16.self), depth, nil)
            return
        }
        let stride = depth + depth % 2
        let storage = TensorStorage(byteCount: count * stride * MemoryLayout<UInt16>.stride)
        let even = storage.base.assumingMemoryBound(to: UInt16.self)
        for row in 0..<count {
            if depth % 2 != 0 { even[row * stride + depth] = 0 }
            UnsafeMutableRawPointer(even + row * stride).copyMemory(
                from: rows + row * depth * MemoryLayout<UInt16>.stride, byteCount: depth * MemoryLayout<UInt16>.stride)
        }
        (start, self.stride, copy) = (UnsafePointer(even), stride, storage)
    }
}

/// Computes `out = x Wᵀ + b` of bfloat16 numbers, with sums in float32 that are rounded once, at the end.
///
/// A sum goes through the elements in pairs, as the instruction of AVX-512 BF16 does, and in each pair through the second
/// product first; without the instruction, float32 does the same. AMX adds 16 pairs to each other first. So bits depend on
/// neither rows, columns nor threads.
///
/// - Parameters:
///   - x: `[rows, depth]`.
///   - weights: `[columns, depth]`.
///   - rows: The rows of `x` and of the product.
///   - columns: The rows of the weights, which are the columns of the product.
///   - depth: The columns of both.
///   - bias: `[columns]`, added to the finished sums.
///   - out: `[rows, columns]`; overlaps nothing.
func multiplyBFloat16(
    _ x: UnsafeRawPointer, _ weights: UnsafeRawPointer, rows: Int, columns: Int, depth: Int,
    bias: UnsafePointer<Float>?, into out: UnsafeMutablePointer<UInt16>
) {
    let (left, right) = (
        PairedRows(x, count: rows, depth: depth), PairedRows(weights, count: columns, depth: depth)
    )
    let (width, pairs) = (Float.tileColumns, left.stride / 2)
    /// Computes a block of the output: calls `multiply` for the sums, `n.count` apart, and stores them.
    func store(_ m: Range<Int>, _ n: Range<Int>, _ multiply: (_ sums: UnsafeMutablePointer<Float>) -> Void) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, m.count * n.count)) { buffer in
            guard let sums = buffer.baseAddress else { return }
            multiply(sums)
            for row in 0..<m.count {
                let sum = sums + row * n.count
                if let bias { Kernels.current.add(sum, sum, bias + n.lowerBound, n.count) }
                Kernels.current.encode_bfloat16(
                    out + (m.lowerBound + row) * columns + n.lowerBound, sum, n.count)
            }
        }
    }
    defer { withExtendedLifetime((left, right)) {} }
    if rows <= ProductBlock.fewRows {
        let length = ProductBlock.columnsAsTheyLie(of: columns)
        parallel(blocks(of: columns, by: length)) { piece in
            let n = range(piece, by: length, upTo: columns)
            store(0..<rows, n) { sums in
                Kernels.current.product_transposed_bfloat16(
                    sums, n.count, left.start, left.stride, right.start + n.lowerBound * right.stride, right.stride,
                    rows, n.count, pairs)
            }
        }
        return
    }
    let pairBlock = PackedPairs.pairBlock
    let pairBlocks = max(1, blocks(of: pairs, by: pairBlock))
    if rows <= ProductBlock.rowsOfOneBlock && columns >= 4 * ComputeThreads.count * width {
        parallel(blocks(of: columns, by: width)) { item in
            let n = range(item, by: width, upTo: columns)
            let source = UnsafeRawPointer(right.start + n.lowerBound * right.stride).assumingMemoryBound(to: Float.self)
            withUnsafeTemporaryAllocation(
                byteCount: width * pairBlock * MemoryLayout<UInt32>.stride, alignment: BufferPool.alignment
            ) { buffer in
                guard let panel = buffer.baseAddress else { return }
                store(0..<rows, n) { sums in
                    for block in 0..<pairBlocks {
                        let k = range(block, by: pairBlock, upTo: pairs)
                        Float.transpose(
                            panel.assumingMemoryBound(to: Float.self), width, source + k.lowerBound, pairs, n.count,
                            k.count)
                        Kernels.current.product_packed_bfloat16(
                            sums, n.count, block > 0, left.start + 2 * k.lowerBound, left.stride,
                            panel.assumingMemoryBound(to: UInt32.self), 0, rows, n.count, k.count)
                    }
                }
            }
        }
        return
    }
    PackedPairs(right, columns: columns).multiply(left, rows: rows) { m, n, multiply in
        store(m, n) { multiply($0, n.count) }
    }
}

/// The right side of a product of bfloat16 numbers, copied into the order in which the kernels read it: panels of columns,
/// transposed pair by pair.
struct PackedPairs: Sendable {
    /// Pairs that are packed, and multiplied, at a time: they stay in the first-level cache with their rows.
    fileprivate static let pairBlock = 256

    let columns: Int
    private let pairs: Int
    private let storage: TensorStorage

    /// Packs weights.
    ///
    /// - Parameter weights: `[columns, depth]`, bfloat16, contiguous.
    init(_ weights: Tensor) {
        let (columns, depth) = (weights.shape[0], weights.shape[1])
        self.init(PairedRows(weights.base, count: columns, depth: depth), columns: columns)
        withExtendedLifetime(weights) {}
    }

    fileprivate init(_ right: PairedRows, columns: Int) {
        let (width, pairs) = (Float.tileColumns, right.stride / 2)
        self.columns = columns
        self.pairs = pairs
        // Panels are transposes of words, two numbers each, whatever their bits mean as a float.
        storage = TensorStorage(
            byteCount: blocks(of: columns, by: width) * width * pairs * MemoryLayout<UInt32>.stride)
        let words = storage.base.assumingMemoryBound(to: Float.self)
        let pairBlocks = max(1, blocks(of: pairs, by: Self.pairBlock))
        parallel(blocks(of: columns, by: width) * pairBlocks) { item in
            let n = range(item / pairBlocks, by: width, upTo: columns)
            let k = range(item % pairBlocks, by: Self.pairBlock, upTo: pairs)
            let source = UnsafeRawPointer(right.start + n.lowerBound * right.stride + 2 * k.lowerBound)
            Float.transpose(
                words + n.lowerBound * pairs + k.lowerBound * width, width, source.assumingMemoryBound(to: Float.self),
                pairs, n.count, k.count)
        }
        withExtendedLifetime(right) {}
    }

    /// Multiplies rows of bfloat16 numbers, `[rows, depth]`, as ``multiply(_:rows:storing:)`` does.
    func multiply(
        _ x: UnsafeRawPointer, rows: Int, depth: Int,
        storing store: (
            _ m: Range<Int>, _ n: Range<Int>, _ multiply: (_ sums: UnsafeMutablePointer<Float>, _ stride: Int) -> Void
        ) -> Void
    ) {
        multiply(PairedRows(x, count: rows, depth: depth), rows: rows, storing: store)
    }

    /// Calls `store` with blocks of the product, in parallel, and with a function that writes a block's sums to rows of a
    /// given stride.
    fileprivate func multiply(
        _ left: PairedRows, rows: Int,
        storing store: (
            _ m: Range<Int>, _ n: Range<Int>, _ multiply: (_ sums: UnsafeMutablePointer<Float>, _ stride: Int) -> Void
        ) -> Void
    ) {
        let width = Float.tileColumns
        let words = storage.base.assumingMemoryBound(to: Float.self)
        let pairBlocks = max(1, blocks(of: pairs, by: Self.pairBlock))
        // A block of sums stays in the second-level cache, with the rows and the panels that it is made from.
        let columnBlock = 4 * width
        let columnBlocks = blocks(of: columns, by: columnBlock)
        let wantedRowBlocks = blocks(of: 8 * ComputeThreads.count, by: max(1, columnBlocks))
        let step = Kernels.current.bfloat16_rows
        let rowBlock = min(max(24, blocks(of: rows, by: step * wantedRowBlocks) * step), ProductBlock.rows)
        let rowBlocks = blocks(of: rows, by: rowBlock)
        parallel(rowBlocks * columnBlocks) { item in
            let m = range(item % rowBlocks, by: rowBlock, upTo: rows)
            let n = range(item / rowBlocks, by: columnBlock, upTo: columns)
            store(m, n) { sums, stride in
                for block in 0..<pairBlocks {
                    let k = range(block, by: Self.pairBlock, upTo: pairs)
                    let panel = UnsafeRawPointer(words + n.lowerBound * pairs + k.lowerBound * width)
                    Kernels.current.product_packed_bfloat16(
                        sums, stride, block > 0, left.start + m.lowerBound * left.stride + 2 * k.lowerBound,
                        left.stride, panel.assumingMemoryBound(to: UInt32.self), pairs * width, m.count, n.count,
                        k.count)
                }
            }
        }
        withExtendedLifetime((self, left)) {}
    }
}
