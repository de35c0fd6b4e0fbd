import CAttentionKernels
import TestSupport
import Testing

@Suite struct `Products with stored matrices` {
    /// Sizes around the widths of vectors, of words of two halves, and of blocks of rows.
    static let shapes: [(rows: Int, columns: Int, depth: Int)] = [
        (1, 1, 1), (1, 131, 17), (2, 63, 5), (3, 64, 7), (5, 65, 2), (7, 16, 32), (8, 33, 64), (13, 17, 67),
        (23, 16, 31),
        (12, 48, 9), (4, 20, 0), (0, 5, 3), (5, 0, 3),
    ]
    static let types: [sattn_weight_type] = [SATTN_FLOAT32, SATTN_FLOAT16, SATTN_BFLOAT16]

    /// Rows of numbers as `type`, at an odd address, each row three numbers longer than it says; and their values.
    private static func stored(
        _ type: sattn_weight_type, rows: Int, columns: Int, using generator: inout SeededGenerator
    ) -> (bytes: [UInt8], stride: Int, values: PaddedMatrix) {
        var bytes: [UInt8] = [0]
        let values = PaddedMatrix(rows: rows, columns: columns, padding: .nan) { _, _ in 0 }
        for row in 0..<rows {
            for column in 0..<columns + 3 {
                var value = column < columns ? Float.random(in: -1...1, using: &generator) : .nan
                switch type {
                case SATTN_FLOAT32: withUnsafeBytes(of: value) { bytes += $0 }
                case SATTN_FLOAT16:
                    withUnsafeBytes(of: Float16(value)) { bytes += $0 }
                    value = Float(Float16(value))
                default:
                    let half = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
                    withUnsafeBytes(of: half) { bytes += $0 }
                    value = Float(bitPattern: UInt32(half) << 16)
                }
                if column < columns { values[row, column] = value }
            }
        }
        return (bytes + [0], columns + 3, values)
    }

    @Test(arguments: kernelTableNames, types.indices)
    func `have the bits of products with the numbers turned`(table: String, typeIndex: Int) throws {
        let kernels = try kernelTable(table)
        let type = Self.types[typeIndex]
        var generator = SeededGenerator(seed: 231)
        for (rows, columns, depth) in Self.shapes {
            let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
            let (bytes, stride, values) = Self.stored(type, rows: columns, columns: depth, using: &generator)
            let turned = PaddedMatrix(rows: depth, columns: columns, padding: .nan) { values[$1, $0] }
            let bias = PaddedMatrix(rows: 1, columns: columns, random: &generator)
            for isBegun in [false, true] {
                let expected = PaddedMatrix(rows: rows, columns: columns, padding: 7) { _, column in bias[0, column] }
                let kernel = try #require(isBegun ? kernels.product_add : kernels.product)
                kernel(
                    expected.pointer, expected.stride, a.pointer, a.stride, turned.pointer, turned.stride, rows,
                    columns,
                    depth)
                let out = PaddedMatrix(rows: rows, columns: columns, padding: 7) { _, _ in .nan }
                bytes.withUnsafeBytes { bytes in
                    kernels.product_transposed(
                        out.pointer, out.stride, UnsafePointer(isBegun ? bias.pointer : nil), 0, a.pointer, a.stride,
                        bytes.baseAddress.map { $0 + 1 }, type, stride, rows, columns, depth)
                }
                #expect(out.bitPatterns == expected.bitPatterns, "\(rows) × \(columns) × \(depth)")
                #expect(out.isPaddingIntact)
            }
            let out = PaddedMatrix(rows: depth, columns: columns, padding: 7) { _, _ in .nan }
            bytes.withUnsafeBytes { bytes in
                kernels.transpose_stored(
                    out.pointer, out.stride, bytes.baseAddress.map { $0 + 1 }, type, stride, columns, depth)
            }
            #expect(out.bitPatterns == turned.bitPatterns && out.isPaddingIntact, "\(columns) × \(depth)")
        }
    }

    /// Rows of pairs of bfloat16 numbers.
    private struct Pairs {
        let rows, pairs, stride: Int
        let bits: [UInt16]

        init(rows: Int, pairs: Int, using generator: inout SeededGenerator) {
            (self.rows, self.pairs, stride) = (rows, pairs, 2 * pairs + 2)
            var bits = [UInt16](repeating: 0x7FC0, count: rows * (2 * pairs + 2) + 2)
            for row in 0..<rows {
                for column in 0..<2 * pairs {
                    let value = Float.random(in: -1...1, using: &generator)
                    bits[row * stride + column] = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
                }
            }
            self.bits = bits
        }

        subscript(row: Int, column: Int) -> Float {
            Float(bitPattern: UInt32(bits[row * stride + column]) << 16)
        }

        /// As the right side of `product_packed_bfloat16`.
        func panels(width: Int) -> [UInt32] {
            var panels = [UInt32](repeating: 0x7FC0_7FC0, count: (rows + width - 1) / width * width * pairs + 1)
            for row in 0..<rows {
                for pair in 0..<pairs {
                    let (first, second) = (bits[row * stride + 2 * pair], bits[row * stride + 2 * pair + 1])
                    panels[(row / width * pairs + pair) * width + row % width] = UInt32(second) << 16 | UInt32(first)
                }
            }
            return panels
        }
    }

    /// `start` and the products of a row and a column, added as the tables do: pair by pair, the second product first; with
    /// AMX first 16 pairs among themselves, the first numbers' products and the second ones'.
    ///
    /// Products of bfloat16 numbers are exact in float32, so that it does not matter what is fused.
    private func sum(_ start: Float, _ a: Pairs, _ row: Int, _ b: Pairs, _ column: Int, byTiles: Bool) -> Float {
        func product(_ index: Int) -> Float { a[row, index] * b[column, index] }
        let tiled = byTiles ? a.pairs / 16 * 16 : 0
        var sum = start
        for tile in stride(from: 0, to: tiled, by: 16) {
            let (first, second) = (tile..<tile + 16).reduce((Float(0), Float(0))) { sums, pair in
                (sums.0 + product(2 * pair), sums.1 + product(2 * pair + 1))
            }
            sum += first + second
        }
        for pair in tiled..<a.pairs {
            sum += product(2 * pair + 1)
            sum += product(2 * pair)
        }
        return sum
    }

    // All tables in one test: vectors, with the instruction and without, add as plain C does.
    @Test(arguments: kernelTableNames)
    func `bfloat16 sums go through pairs in order`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 233)
        for (rows, columns, depth) in Self.shapes {
            let a = Pairs(rows: rows, pairs: depth, using: &generator)
            let b = Pairs(rows: columns, pairs: depth, using: &generator)
            let panels = b.panels(width: kernels.tile_columns)
            for continues in [false, true] {
                let begin = { (row: Int, column: Int) in Float(row - 2 * column) / 8 }
                let expected = PaddedMatrix(rows: rows, columns: columns, padding: 7) { row, column in
                    sum(continues ? begin(row, column) : 0, a, row, b, column, byTiles: table == "amx")
                }
                let out = PaddedMatrix(rows: rows, columns: columns, padding: 7) { row, column in
                    continues ? begin(row, column) : .nan
                }
                kernels.product_packed_bfloat16(
                    out.pointer, out.stride, continues, a.bits, a.stride, panels, depth * kernels.tile_columns, rows,
                    columns, depth)
                #expect(out.bitPatterns == expected.bitPatterns, "\(rows) × \(columns) × \(depth)")
                #expect(out.isPaddingIntact)
                if continues { continue }
                let beside = PaddedMatrix(rows: rows, columns: columns, padding: 7) { _, _ in .nan }
                kernels.product_transposed_bfloat16(
                    beside.pointer, beside.stride, a.bits, a.stride, b.bits, b.stride, rows, columns, depth)
                #expect(beside.bitPatterns == expected.bitPatterns && beside.isPaddingIntact)
            }
        }
    }
}
