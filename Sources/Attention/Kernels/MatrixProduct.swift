/// A matrix to multiply, in rows or in columns.
struct MatrixOperand<Scalar> {
    var start: UnsafePointer<Scalar>
    /// How far apart the elements of a column are.
    let rowStride: Int
    /// How far apart the elements of a row are; either stride is 1.
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

/// The right side of a product as it lies in memory: rows or columns of some format, which a product packs.
protocol RightOperand<Scalar> {
    associatedtype Scalar: KernelScalar

    /// Copies rows `k` of columns `n`, no more than a panel has, to a panel.
    func pack(_ k: Range<Int>, _ n: Range<Int>, into panel: UnsafeMutablePointer<Scalar>)

    /// The columns from one on.
    func dropping(columns: Int) -> Self

    /// Multiplies `rows` rows by `columns` columns as they lie, in the order of all products: where columns lie along
    /// the depth.
    func multiplyAsItLies(
        _ a: UnsafePointer<Scalar>, _ aStride: Int, rows: Int, columns: Int, depth: Int,
        into out: UnsafeMutablePointer<Scalar>, _ outStride: Int, start: UnsafePointer<Scalar>?, _ startStride: Int
    )

    /// Whether columns lie along the depth.
    var isTransposed: Bool { get }
}

/// How a matrix product is cut up, for a first-level cache of 32 KB and a second-level one of 512 KB or more.
///
/// Six rows of `a`, as many elements of each as `depth`, stay in the first-level cache while a block of packed `b` passes
/// by from the second-level one, again for each six of `rows`.
enum ProductBlock {
    static let rows = 96
    /// With so few there is one block of them, and each panel is packed where it is used: for 128 rows, 1536 columns and
    /// depth 384 470 GFLOP/s instead of 435 (Zen 5, two threads).
    static let rowsOfOneBlock = 192
    /// So few are multiplied by columns as they lie: by packed ones 8 took 1.35 times as long, 16 the same (Zen 5).
    static let fewRows = 16
    static let columns = 256
    /// Where there is one block of rows, so that every thread has work.
    static let columnsOfFewRows = 64
    static let depth = 384
    /// So many elements of `b` are packed at a time.
    static let packedElements = 8 << 20

    /// How many columns are one piece of work where they are multiplied as they lie: enough to read on and on, few
    /// enough for eight pieces a thread.
    static func columnsAsTheyLie(of columns: Int) -> Int {
        min(256, max(16, columns / (128 * ComputeThreads.count) * 16))
    }
}

/// The right side of a matrix product, copied into the order in which the kernels read it.
///
/// Worth its while where the same matrix is multiplied by often, as in the steps of a recurrent layer: packing costs about
/// as much as a product with ten rows.
struct PackedMatrix<Scalar: KernelScalar>: Sendable {
    let depth: Int
    let columns: Int
    /// Panels of `Scalar.tileColumns` columns, each with its rows side by side.
    fileprivate let storage: TensorStorage

    /// Packs a matrix.
    ///
    /// - Parameters:
    ///   - matrix: `[depth, columns]`.
    ///   - depth: How many rows it has.
    ///   - columns: How many columns it has.
    init(_ matrix: some RightOperand<Scalar>, depth: Int, columns: Int) {
        self.depth = depth
        self.columns = columns
        let width = Scalar.tileColumns
        let panelCount = blocks(of: columns, by: width)
        storage = TensorStorage(byteCount: panelCount * depth * width * MemoryLayout<Scalar>.stride)
        let panels = storage.base.assumingMemoryBound(to: Scalar.self)
        let depthBlocks = blocks(of: depth, by: ProductBlock.depth)
        parallel(panelCount * depthBlocks) { item in
            let (panel, block) = item.quotientAndRemainder(dividingBy: depthBlocks)
            let k = range(block, by: ProductBlock.depth, upTo: depth)
            matrix.pack(
                k, range(panel, by: width, upTo: columns), into: panels + (panel * depth + k.lowerBound) * width)
        }
    }
}

extension MatrixOperand: RightOperand where Scalar: KernelScalar {
    var isTransposed: Bool { rowStride == 1 && columnStride != 1 }

    func dropping(columns: Int) -> MatrixOperand {
        var rest = self
        rest.start += columns * columnStride
        return rest
    }

    func multiplyAsItLies(
        _ a: UnsafePointer<Scalar>, _ aStride: Int, rows: Int, columns: Int, depth: Int,
        into out: UnsafeMutablePointer<Scalar>, _ outStride: Int, start: UnsafePointer<Scalar>?, _ startStride: Int
    ) {
        Scalar.productTransposed(
            out, outStride, start, startStride, a, aStride, self.start, columnStride, rows, columns, depth)
    }

    func pack(_ k: Range<Int>, _ n: Range<Int>, into panel: UnsafeMutablePointer<Scalar>) {
        let width = Scalar.tileColumns
        let source = start + k.lowerBound * rowStride + n.lowerBound * columnStride
        if columnStride == 1 {
            for row in 0..<k.count { (panel + row * width).update(from: source + row * rowStride, count: n.count) }
        } else {
            Scalar.transpose(panel, width, source, columnStride, n.count, k.count)
        }
    }
}

/// Computes `out[m, n] = Σ_k a[m, k] · b[k, n]`, begun with a bias or with what `out` holds.
///
/// Every sum is made in ascending order of `k`, one product after the other: its bits depend on neither the number of
/// rows, of columns nor of threads.
///
/// - Parameters:
///   - a: `[rows, depth]`.
///   - b: `[depth, columns]`.
///   - rows: The rows of `a` and of the product.
///   - columns: The columns of `b` and of the product.
///   - depth: The columns of `a`, which are the rows of `b`.
///   - out: `[rows, columns]`; overlaps neither operand.
///   - outStride: How far apart its rows are.
///   - bias: `[columns]`: what the sums of every row begin with.
///   - isAccumulating: Whether the sums begin with what `out` holds; then there is no bias.
func multiply<Scalar: KernelScalar>(
    _ a: MatrixOperand<Scalar>, _ b: some RightOperand<Scalar>, rows: Int, columns: Int, depth: Int,
    into out: UnsafeMutablePointer<Scalar>, outStride: Int, bias: UnsafePointer<Scalar>? = nil,
    isAccumulating: Bool = false
) {
    let width = Scalar.tileColumns
    if rows <= ProductBlock.fewRows && a.columnStride == 1 && b.isTransposed {
        require(
            bias == nil || !isAccumulating, "A product begins with a bias or with what its output holds, not with both."
        )
        let length = ProductBlock.columnsAsTheyLie(of: columns)
        parallel(blocks(of: columns, by: length)) { piece in
            let n = range(piece, by: length, upTo: columns)
            b.dropping(columns: n.lowerBound).multiplyAsItLies(
                a.start, a.rowStride, rows: rows, columns: n.count, depth: depth, into: out + n.lowerBound, outStride,
                start: isAccumulating ? UnsafePointer(out + n.lowerBound) : bias.map { $0 + n.lowerBound },
                isAccumulating ? outStride : 0)
        }
        return
    }
    if rows <= ProductBlock.rowsOfOneBlock && a.columnStride == 1 {
        // Each panel is read once: it is packed where it is needed, and stays in the cache.
        let product = Product(
            a: a, rows: rows, columns: columns, depth: depth, out: out, outStride: outStride, bias: bias,
            isAccumulating: isAccumulating)
        product.compute(columnBlock: width, rowLimit: ProductBlock.rowsOfOneBlock) { n, body in
            withUnsafeTemporaryAllocation(
                byteCount: width * ProductBlock.depth * MemoryLayout<Scalar>.stride, alignment: BufferPool.alignment
            ) { buffer in
                guard let panel = buffer.baseAddress?.assumingMemoryBound(to: Scalar.self) else { return }
                product.forEachDepthBlock { k in
                    b.pack(k, n, into: panel)
                    body(k, panel, 0)
                }
            }
        }
        return
    }
    let part = max(width, ProductBlock.packedElements / max(1, depth) / width * width)
    for first in stride(from: 0, to: columns, by: part) {
        let count = min(part, columns - first)
        multiply(
            a, PackedMatrix(b.dropping(columns: first), depth: depth, columns: count), rows: rows, into: out + first,
            outStride: outStride,
            bias: bias.map { $0 + first }, isAccumulating: isAccumulating)
    }
}

/// Computes `out[m, n] = Σ_k a[m, k] · b[k, n]` with `b` packed: the same bits as without.
///
/// - Parameters:
///   - a: `[rows, depth]`.
///   - b: `[depth, columns]`.
///   - rows: The rows of `a` and of the product.
///   - out: `[rows, columns]`; overlaps neither operand.
///   - outStride: How far apart its rows are.
///   - bias: `[columns]`: what the sums of every row begin with.
///   - isAccumulating: Whether the sums begin with what `out` holds; then there is no bias.
///   - finish: Called with each row of a finished block, while it is in the cache.
func multiply<Scalar: KernelScalar>(
    _ a: MatrixOperand<Scalar>, _ b: PackedMatrix<Scalar>, rows: Int, into out: UnsafeMutablePointer<Scalar>,
    outStride: Int, bias: UnsafePointer<Scalar>? = nil, isAccumulating: Bool = false,
    finishing finish: ((_ row: UnsafeMutablePointer<Scalar>, _ count: Int) -> Void)? = nil
) {
    let product = Product(
        a: a, rows: rows, columns: b.columns, depth: b.depth, out: out, outStride: outStride, bias: bias,
        isAccumulating: isAccumulating)
    let width = Scalar.tileColumns
    let panels = UnsafePointer(b.storage.base.assumingMemoryBound(to: Scalar.self))
    let columnBlock = rows <= ProductBlock.rows ? ProductBlock.columnsOfFewRows : ProductBlock.columns
    product.compute(columnBlock: columnBlock, finishing: finish) { n, body in
        product.forEachDepthBlock { k in
            body(k, panels + (n.lowerBound / width * b.depth + k.lowerBound) * width, b.depth * width)
        }
    }
    withExtendedLifetime(b) {}
}

/// A matrix product but for its right side, which comes in panels.
private struct Product<Scalar: KernelScalar> {
    let a: MatrixOperand<Scalar>
    let rows: Int
    let columns: Int
    let depth: Int
    let out: UnsafeMutablePointer<Scalar>
    let outStride: Int
    let bias: UnsafePointer<Scalar>?
    let isAccumulating: Bool

    /// Calls `body` with parts of the depth; with an empty one where there is none, so that the output is set.
    func forEachDepthBlock(_ body: (Range<Int>) -> Void) {
        for block in 0..<max(1, blocks(of: depth, by: ProductBlock.depth)) {
            body(range(block, by: ProductBlock.depth, upTo: depth))
        }
    }

    /// Computes blocks of the output in parallel.
    ///
    /// - Parameters:
    ///   - columnBlock: How many columns a block has: whole panels.
    ///   - rowLimit: How many rows a block has at most.
    ///   - finish: Called with each row of a finished block.
    ///   - panelsOfColumns: Called with columns; calls its argument with each part of the depth in ascending order, the
    ///     panel of these where the columns begin, and how far apart panels are.
    func compute(
        columnBlock: Int, rowLimit: Int = ProductBlock.rows,
        finishing finish: ((_ row: UnsafeMutablePointer<Scalar>, _ count: Int) -> Void)? = nil,
        _ panelsOfColumns: (
            _ n: Range<Int>, _ body: (_ k: Range<Int>, _ panel: UnsafePointer<Scalar>, _ panelStride: Int) -> Void
        ) -> Void
    ) {
        require(
            bias == nil || !isAccumulating, "A product begins with a bias or with what its output holds, not with both."
        )
        // Few blocks are cut smaller, so that no thread waits long for the last: eight for each.
        let columnBlocks = blocks(of: columns, by: columnBlock)
        let wantedRowBlocks = blocks(of: 8 * ComputeThreads.count, by: max(1, columnBlocks))
        let rowBlock = min(max(24, blocks(of: rows, by: 6 * wantedRowBlocks) * 6), rowLimit)
        let rowBlocks = blocks(of: rows, by: rowBlock)
        parallel(rowBlocks * columnBlocks) { item in
            let m = range(item % rowBlocks, by: rowBlock, upTo: rows)
            let n = range(item / rowBlocks, by: columnBlock, upTo: columns)
            let left = a.start + m.lowerBound * a.rowStride
            if a.columnStride == 1 {
                panelsOfColumns(n) { k, panel, panelStride in
                    add(left + k.lowerBound, a.rowStride, m, n, k, panel, panelStride)
                }
                if let finish { for row in m { finish(out + row * outStride + n.lowerBound, n.count) } }
                return
            }
            withUnsafeTemporaryAllocation(of: Scalar.self, capacity: m.count * ProductBlock.depth) { buffer in
                guard let turned = buffer.baseAddress else { return }
                panelsOfColumns(n) { k, panel, panelStride in
                    Scalar.transpose(
                        turned, k.count, left + k.lowerBound * a.columnStride, a.columnStride, k.count, m.count)
                    add(turned, k.count, m, n, k, panel, panelStride)
                }
            }
            if let finish { for row in m { finish(out + row * outStride + n.lowerBound, n.count) } }
        }
    }

    /// Adds the products of one part of the depth to one block of the output.
    private func add(
        _ left: UnsafePointer<Scalar>, _ leftStride: Int, _ m: Range<Int>, _ n: Range<Int>, _ k: Range<Int>,
        _ panel: UnsafePointer<Scalar>, _ panelStride: Int
    ) {
        let target = out + m.lowerBound * outStride + n.lowerBound
        let continues = k.lowerBound > 0 || isAccumulating
        Scalar.productPacked(
            target, outStride, continues ? UnsafePointer(target) : bias.map { $0 + n.lowerBound },
            continues ? outStride : 0, left, leftStride, panel, panelStride, m.count, n.count, k.count)
    }
}
