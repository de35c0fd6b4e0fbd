import CAttentionKernels
import TestSupport
import Testing

@Suite struct `Packed product kernels` {
    /// Sizes around the widths of vectors, blocks and panels.
    static let shapes: [(rows: Int, columns: Int, depth: Int)] = [
        (1, 1, 1), (1, 131, 17), (2, 63, 5), (3, 64, 7), (5, 65, 1), (6, 128, 33), (7, 129, 3), (13, 17, 67),
        (23, 16, 31),
        (12, 48, 9), (4, 200, 0), (0, 5, 3), (5, 0, 3),
    ]

    /// The columns in panels, what the last one lacks filled with NaN.
    private static func packed(_ b: PaddedMatrix, width: Int) -> (panels: [Float], panelStride: Int) {
        let panelStride = b.rows * width + 5
        let panelCount = (b.columns + width - 1) / width
        var panels = [Float](repeating: .nan, count: panelCount * panelStride + 1)
        for row in 0..<b.rows {
            for column in 0..<b.columns {
                panels[column / width * panelStride + row * width + column % width] = b[row, column]
            }
        }
        return (panels, panelStride)
    }

    @Test(arguments: kernelTableNames)
    func `products with panels have the bits of products`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 31)
        for (rows, columns, depth) in Self.shapes {
            let a = PaddedMatrix(rows: rows, columns: depth, random: &generator)
            let b = PaddedMatrix(rows: depth, columns: columns, random: &generator)
            let bias = PaddedMatrix(rows: 1, columns: columns, random: &generator)
            let (panels, panelStride) = Self.packed(b, width: kernels.tile_columns)
            for start in ["nothing", "a bias", "the output"] {
                let from = { (row: Int, column: Int) in
                    start == "a bias" ? bias[0, column] : Float(row - 2 * column) / 8
                }
                let expected = PaddedMatrix(rows: rows, columns: columns, padding: 7, value: from)
                let out = PaddedMatrix(rows: rows, columns: columns, padding: 7) { row, column in
                    start == "the output" ? from(row, column) : .nan
                }
                let kernel = try #require(start == "nothing" ? kernels.product : kernels.product_add)
                kernel(
                    expected.pointer, expected.stride, a.pointer, a.stride, b.pointer, b.stride, rows, columns, depth)
                let begin = UnsafePointer(start == "nothing" ? nil : start == "a bias" ? bias.pointer : out.pointer)
                kernels.product_packed(
                    out.pointer, out.stride, begin, start == "the output" ? out.stride : 0, a.pointer, a.stride, panels,
                    panelStride, rows, columns, depth)
                #expect(out.bitPatterns == expected.bitPatterns, "\(rows) × \(columns) × \(depth), begun with \(start)")
                #expect(out.isPaddingIntact)
            }
        }
    }

    @Test(arguments: kernelTableNames)
    func `transposition moves every element and writes no other`(table: String) throws {
        let kernels = try kernelTable(table)
        for (rows, columns) in [
            (1, 1), (3, 5), (4, 4), (7, 17), (8, 8), (16, 16), (17, 33), (31, 15), (64, 37), (0, 3), (3, 0),
        ] {
            let x = PaddedMatrix(rows: rows, columns: columns, padding: .nan) { Float($0 * 1000 + $1) }
            let out = PaddedMatrix(rows: columns, columns: rows, padding: 7) { _, _ in .nan }
            kernels.transpose(out.pointer, out.stride, x.pointer, x.stride, rows, columns)
            let isRight = (0..<columns).allSatisfy { column in
                (0..<rows).allSatisfy { out[column, $0] == Float($0 * 1000 + column) }
            }
            #expect(isRight && out.isPaddingIntact, "\(rows) × \(columns)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `column sums run down the rows in order`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 33)
        for (rows, columns) in [(1, 1), (5, 3), (7, 16), (3, 64), (11, 67), (2, 131), (0, 9)] {
            let x = PaddedMatrix(rows: rows, columns: columns, random: &generator)
            let sum = PaddedMatrix(rows: 1, columns: columns, padding: 7) { _, column in Float(column) }
            kernels.column_sums(sum.pointer, x.pointer, x.stride, rows, columns)
            for column in 0..<columns {
                #expect(sum[0, column] == (0..<rows).reduce(Float(column)) { $0 + x[$1, column] })
            }
            #expect(sum.isPaddingIntact)
        }
    }
}
