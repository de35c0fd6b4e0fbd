import CAttentionKernels
import Foundation
import TestSupport
import Testing

/// A tile kernel, with the plain loops that define it.
enum TileOperation: CaseIterable {
    case product
    case productAdd
    case squaredDistance
    case absoluteDistance
    case additive
    case dotRows
    case dotStoredFloat32
    case dotStoredFloat16
    case dotStoredBFloat16
    case productAddStoredFloat32
    case productAddStoredFloat16
    case productAddStoredBFloat16

    /// Whether the sums start from what `out` holds.
    var isAdding: Bool {
        switch self {
        case .productAdd, .productAddStoredFloat32, .productAddStoredFloat16, .productAddStoredBFloat16: true
        default: false
        }
    }

    /// Whether the right side has its vectors in rows.
    var takesRows: Bool {
        switch self {
        case .dotRows, .dotStoredFloat32, .dotStoredFloat16, .dotStoredBFloat16: true
        default: false
        }
    }

    /// How the right side is stored.
    var storedType: sattn_weight_type {
        switch self {
        case .dotStoredFloat16, .productAddStoredFloat16: SATTN_FLOAT16
        case .dotStoredBFloat16, .productAddStoredBFloat16: SATTN_BFLOAT16
        default: SATTN_FLOAT32
        }
    }

    /// The sum that the header writes, in any floating-point type.
    func sum<Real: BinaryFloatingPoint>(
        from start: Real, _ left: (Int) -> Real, _ right: (Int) -> Real, depth: Int, weight: (Int) -> Real,
        tanh: (Real) -> Real
    ) -> Real {
        var sum = isAdding ? start : 0
        for k in 0..<depth {
            let a = left(k)
            let b = right(k)
            switch self {
            case .squaredDistance: sum += (a - b) * (a - b)
            case .absoluteDistance: sum += abs(a - b)
            case .additive: sum += weight(k) * tanh(a + b)
            default: sum += a * b
            }
        }
        return sum
    }

    /// The matrix of `columns` vectors of length `depth`, laid out as this kernel takes it.
    func right(columns: Int, depth: Int, random generator: inout SeededGenerator) -> PaddedMatrix {
        let matrix =
            takesRows
            ? PaddedMatrix(rows: columns, columns: depth, random: &generator)
            : PaddedMatrix(rows: depth, columns: columns, random: &generator)
        if storedType == SATTN_FLOAT16 { matrix.round { Float(Float16($0)) } }
        if storedType == SATTN_BFLOAT16 { matrix.round { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) } }
        return matrix
    }

    /// Runs the kernel on the rows and columns asked for, out of larger matrices.
    func run(
        _ kernels: sattn_kernels, into out: PaddedMatrix, _ a: PaddedMatrix, _ b: PaddedMatrix,
        weights: PaddedMatrix,
        firstRow: Int = 0, firstColumn: Int = 0, depth: Int
    ) throws {
        let output = try #require(out.pointer)
        let left = try #require(a.pointer) + firstRow * a.stride
        let right = try #require(b.pointer) + firstColumn * (takesRows ? b.stride : 1)
        let (rows, columns) = (out.rows, out.columns)
        switch self {
        case .product:
            kernels.product(output, out.stride, left, a.stride, right, b.stride, rows, columns, depth)
        case .productAdd:
            kernels.product_add(output, out.stride, left, a.stride, right, b.stride, rows, columns, depth)
        case .squaredDistance:
            kernels.squared_distance(
                output, out.stride, left, a.stride, right, b.stride, rows, columns, depth)
        case .absoluteDistance:
            kernels.absolute_distance(
                output, out.stride, left, a.stride, right, b.stride, rows, columns, depth)
        case .additive:
            kernels.additive(
                output, out.stride, left, a.stride, right, b.stride, rows, columns, depth, weights.pointer)
        case .dotRows:
            kernels.dot_rows(output, out.stride, left, a.stride, right, b.stride, rows, columns, depth)
        case .dotStoredFloat32, .dotStoredFloat16, .dotStoredBFloat16:
            b.withStored(as: storedType, from: right) {
                kernels.dot_stored(
                    output, out.stride, left, a.stride, $0, b.stride, storedType, rows, columns, depth)
            }
        case .productAddStoredFloat32, .productAddStoredFloat16, .productAddStoredBFloat16:
            b.withStored(as: storedType, from: right) {
                kernels.product_add_stored(
                    output, out.stride, left, a.stride, $0, b.stride, storedType, rows, columns, depth)
            }
        }
    }
}

@Suite struct `Tile kernels` {
    /// Sizes around the widths of vectors and blocks: each number of columns with some rows and depth.
    static let shapes: [(rows: Int, columns: Int, depth: Int)] = {
        let columns = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 67, 131]
        let rows = [1, 2, 3, 4, 5, 6, 7, 13, 0, 23]
        let depths = [1, 3, 7, 8, 9, 15, 16, 17, 0, 31, 33, 67]
        let mixed = columns.indices.flatMap { index in
            [(index, index), (3 * index + 1, 5 * index + 2)].map { row, depth in
                (rows[row % rows.count], columns[index], depths[depth % depths.count])
            }
        }
        return mixed + [(1, 257, 61), (1, 5, 300), (3, 1, 64), (13, 4, 0)]
    }()

    @Test(arguments: kernelTableNames, TileOperation.allCases)
    func `agree with a plain loop in Double`(table: String, operation: TileOperation) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 1)
        for (rows, columns, depth) in Self.shapes {
            let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
            let b = operation.right(columns: columns, depth: depth, random: &generator)
            let weights = PaddedMatrix(rows: 1, columns: depth, random: &generator)
            let start = Float.random(in: -1...1, using: &generator)
            let out = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in start }
            try operation.run(kernels, into: out, a, b, weights: weights, depth: depth)

            // Twice the largest error of the same loop in Float, and a floor of four units in the last place of
            // the largest sum.
            var error = 0.0
            var plainError = 0.0
            var largest = 0.0
            for row in 0..<rows {
                for column in 0..<columns {
                    let right = { (k: Int) in operation.takesRows ? b[column, k] : b[k, column] }
                    let plain = operation.sum(
                        from: start, { a[row, $0] }, right, depth: depth, weight: { weights[0, $0] },
                        tanh: { Float(tanh(Double($0))) })
                    let exact = operation.sum(
                        from: Double(start), { Double(a[row, $0]) }, { Double(right($0)) }, depth: depth,
                        weight: { Double(weights[0, $0]) }, tanh: { tanh($0) })
                    error = max(error, abs(Double(out[row, column]) - exact))
                    plainError = max(plainError, abs(Double(plain) - exact))
                    largest = max(largest, abs(exact))
                    if !out[row, column].isFinite { error = .infinity }
                }
            }
            #expect(
                error <= 2 * plainError + 4 * Double(Float(largest).ulp),
                "\(rows) × \(columns), depth \(depth)")
            #expect(out.isPaddingIntact, "\(rows) × \(columns), depth \(depth)")
        }
    }

    @Test(arguments: kernelTableNames, TileOperation.allCases)
    func `give an element the same bits whatever is computed with it`(
        table: String, operation: TileOperation
    ) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 2)
        let (rows, columns, depth) = (23, 67, 31)
        let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
        let b = operation.right(columns: columns, depth: depth, random: &generator)
        let weights = PaddedMatrix(rows: 1, columns: depth, random: &generator)
        let whole = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
        try operation.run(kernels, into: whole, a, b, weights: weights, depth: depth)
        let expected = whole.bitPatterns

        var parts = (0..<rows).map { (row: $0, rows: 1, column: 0, columns: columns) }
        parts += (0..<columns).map { (row: 0, rows: rows, column: $0, columns: 1) }
        parts += (1...12).map { (row: $0, rows: $0 % 7 + 1, column: 3 * $0, columns: 2 * $0) }
        for part in parts {
            let out = PaddedMatrix(rows: part.rows, columns: part.columns, padding: guardValue) { _, _ in 0.5
            }
            try operation.run(
                kernels, into: out, a, b, weights: weights, firstRow: part.row, firstColumn: part.column,
                depth: depth)
            let rowRange = part.row..<part.row + part.rows
            let columnRange = part.column..<part.column + part.columns
            #expect(out.bitPatterns == expected[rowRange].map { Array($0[columnRange]) }, "\(part)")
            #expect(out.isPaddingIntact, "\(part)")
        }
    }

    @Test(arguments: kernelTableNames, TileOperation.allCases)
    func `carry NaN and infinity to the outputs computed from them and to no others`(
        table: String, operation: TileOperation
    ) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 3)
        for (rows, columns, depth) in [(7, 67, 19), (1, 133, 5), (13, 9, 33), (5, 3, 1)] {
            let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
            let b = operation.right(columns: columns, depth: depth, random: &generator)
            let weights = PaddedMatrix(rows: 1, columns: depth, random: &generator)
            let clean = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
            try operation.run(kernels, into: clean, a, b, weights: weights, depth: depth)

            let (spoiledRow, spoiledColumn, k) = (rows / 2, columns - 2, depth / 2)
            a[spoiledRow, k] = .nan
            let spoiled: Float = operation == .additive ? .nan : -.infinity
            if operation.takesRows { b[spoiledColumn, k] = spoiled } else { b[k, spoiledColumn] = spoiled }
            let out = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
            try operation.run(kernels, into: out, a, b, weights: weights, depth: depth)
            for row in 0..<rows {
                for column in 0..<columns {
                    let value = out[row, column]
                    if row == spoiledRow {
                        #expect(value.isNaN, "\(row), \(column)")
                    } else if column == spoiledColumn {
                        #expect(!value.isFinite, "\(row), \(column)")
                    } else {
                        #expect(value.bitPattern == clean[row, column].bitPattern, "\(row), \(column)")
                    }
                }
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `add up a depth in parts to the same bits`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 8)
        let (rows, columns, depth, first) = (7, 83, 29, 12)
        let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
        let b = PaddedMatrix(rows: depth, columns: columns, random: &generator)
        let whole = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
        let parts = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in 0.5 }
        let left = try #require(a.pointer)
        let right = try #require(b.pointer)
        kernels.product(whole.pointer, whole.stride, left, a.stride, right, b.stride, rows, columns, depth)
        kernels.product(parts.pointer, parts.stride, left, a.stride, right, b.stride, rows, columns, first)
        kernels.product_add(
            parts.pointer, parts.stride, left + first, a.stride, right + first * b.stride, b.stride, rows,
            columns, depth - first)
        #expect(parts.bitPatterns == whole.bitPatterns)
    }

    @Test func `in Double agree with the plain loop to the last digits`() throws {
        let kernels = try #require(sattn_kernels_float64_current()).pointee
        var generator = SeededGenerator(seed: 4)
        let (rows, columns, depth) = (5, 7, 11)
        let a = (0..<rows * depth).map { _ in Double.random(in: -1...1, using: &generator) }
        let b = (0..<columns * depth).map { _ in Double.random(in: -1...1, using: &generator) }
        let weights = (0..<depth).map { _ in Double.random(in: -1...1, using: &generator) }
        for operation in TileOperation.allCases {
            var out = [Double](repeating: 0.5, count: rows * columns)
            switch operation {
            case .product: kernels.product(&out, columns, a, depth, b, columns, rows, columns, depth)
            case .productAdd: kernels.product_add(&out, columns, a, depth, b, columns, rows, columns, depth)
            case .squaredDistance:
                kernels.squared_distance(&out, columns, a, depth, b, columns, rows, columns, depth)
            case .absoluteDistance:
                kernels.absolute_distance(&out, columns, a, depth, b, columns, rows, columns, depth)
            case .additive:
                kernels.additive(&out, columns, a, depth, b, columns, rows, columns, depth, weights)
            case .dotRows: kernels.dot_rows(&out, columns, a, depth, b, depth, rows, columns, depth)
            default: continue
            }
            for row in 0..<rows {
                for column in 0..<columns {
                    let exact = operation.sum(
                        from: 0.5, { a[row * depth + $0] },
                        { operation.takesRows ? b[column * depth + $0] : b[$0 * columns + column] },
                        depth: depth, weight: { weights[$0] }, tanh: { tanh($0) })
                    #expect(abs(out[row * columns + column] - exact) <= 1e-14, "\(operation)")
                }
            }
        }
    }
}
