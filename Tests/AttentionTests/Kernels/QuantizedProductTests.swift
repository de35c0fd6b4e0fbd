import CAttentionKernels
import TestSupport
import Testing

@Suite struct `Products with quantised weights` {
    private static let types = [SATTN_Q8_0, SATTN_Q4_0, SATTN_Q4_1]
    private static let productTableNames = kernelTableNames.filter {
        sattn_kernels_named($0)?.pointee.quantized_product != nil
    }

    /// Quantises rows with memory around what is written left as it was.
    private static func quantized(
        _ x: [Float], _ kernels: sattn_kernels
    ) -> (quants: [Int8], scales: [Float], sums: [Float]) {
        var quants = [Int8](repeating: 99, count: x.count + 1)
        var scales = [Float](repeating: guardValue, count: x.count / SATTN_ACTIVATION_BLOCK + 1)
        var sums = scales
        kernels.quantize(&quants, &scales, &sums, x, x.count)
        #expect(quants.last == 99 && scales.last == guardValue && sums.last == guardValue)
        return (quants.dropLast(), scales.dropLast(), sums.dropLast())
    }

    /// The bytes of a matrix: numbers of all sizes, and scales from 0 on.
    private static func bytes(
        _ type: sattn_weight_type, blockCount: Int, using generator: inout SeededGenerator
    ) -> [UInt8] {
        func half(_ value: Float) -> [UInt8] {
            let pattern = Float16(value).bitPattern
            return [UInt8(truncatingIfNeeded: pattern), UInt8(pattern >> 8)]
        }
        return (0..<blockCount).flatMap { block -> [UInt8] in
            let scale = block % 5 == 0 ? 0 : Float.random(in: -0.1...0.1, using: &generator)
            // Whole blocks of the largest and of the smallest numbers are what sums overflow with first.
            let numbers = (0..<(type == SATTN_Q8_0 ? 32 : 16)).map { _ -> UInt8 in
                switch block % 7 {
                case 1: 0xFF
                case 2: 0
                case 3: 0x7F
                case 4: 0x80
                default: UInt8.random(in: 0...255, using: &generator)
                }
            }
            return half(scale) + (type == SATTN_Q4_1 ? half(.random(in: -1...1, using: &generator)) : []) + numbers
        }
    }

    private static func panels(_ bytes: [UInt8], _ type: sattn_weight_type, rows: Int, depth: Int) -> [UInt8] {
        let panelByteCount = sattn_panel_byte_count(type, depth)
        let rowByteCount = panelByteCount / 16
        // An odd address.
        var panels = [UInt8](repeating: 0xEE, count: 1 + (rows + 15) / 16 * panelByteCount)
        panels.withUnsafeMutableBytes { panels in
            bytes.withUnsafeBytes { bytes in
                for first in stride(from: 0, to: rows, by: 16) {
                    guard let panel = panels.baseAddress, let source = bytes.baseAddress else { continue }
                    sattn_pack_panel(
                        panel + 1 + first / 16 * panelByteCount, source + first * rowByteCount, type,
                        min(16, rows - first), depth)
                }
            }
        }
        return panels
    }

    @Test(arguments: kernelTableNames)
    func `activations have the same bits with every instruction set`(table: String) throws {
        let (kernels, scalar) = (try kernelTable(table), try kernelTable("scalar"))
        var generator = SeededGenerator(seed: 1)
        for exponent in [-149, -127, -101, -99, -60, -1, 0, 5, 60, 125] {
            let size =
                exponent < -126 ? Float.leastNonzeroMagnitude : Float(sign: .plus, exponent: exponent, significand: 1)
            // Multiples of half a step are ties.
            var x =
                (0..<32).map { Float($0 - 16) / 254 * 2 * size }
                + (0..<64).map { _ in Float.random(in: -1...1, using: &generator) * size }
            x[31] = size
            let (found, expected) = (Self.quantized(x, kernels), Self.quantized(x, scalar))
            #expect(found.quants == expected.quants, "2^\(exponent)")
            #expect(found.scales.map(\.bitPattern) == expected.scales.map(\.bitPattern), "2^\(exponent)")
            #expect(found.sums.map(\.bitPattern) == expected.sums.map(\.bitPattern), "2^\(exponent)")
        }
    }

    @Test(arguments: kernelTableNames)
    func `an activation is off by half a step at most`(table: String) throws {
        var generator = SeededGenerator(seed: 2)
        let x = (0..<32 * 50).map { _ in Float.random(in: -3...3, using: &generator) }
        let (quants, scales, sums) = Self.quantized(x, try kernelTable(table))
        for block in 0..<x.count / SATTN_ACTIVATION_BLOCK {
            let range = block * SATTN_ACTIVATION_BLOCK..<(block + 1) * SATTN_ACTIVATION_BLOCK
            let largest = try #require(x[range].map(\.magnitude).max())
            #expect(scales[block] == largest / 127)
            for index in range {
                #expect(abs(x[index] - scales[block] * Float(quants[index])) <= scales[block] * 0.50001)
            }
            #expect(sums[block] == scales[block] * Float(quants[range].reduce(0) { $0 + Int($1) }))
        }
    }

    @Test(arguments: kernelTableNames)
    func `zeros, and numbers next to them, are zeros, and what is not finite is NaN`(table: String) throws {
        let kernels = try kernelTable(table)
        for value in [0, -0.0, 0x1p-101, -.leastNonzeroMagnitude] as [Float] {
            let (quants, scales, sums) = Self.quantized(
                [Float](repeating: value, count: SATTN_ACTIVATION_BLOCK), kernels)
            #expect(quants == [Int8](repeating: 0, count: SATTN_ACTIVATION_BLOCK) && scales == [0] && sums == [0])
        }
        for value in [Float.infinity, -.infinity, .nan, -.nan, Float(nan: 1, signaling: true)] {
            for place in [0, 3, 4, 7, 8, 15] {
                let length = SATTN_ACTIVATION_BLOCK
                var x = [Float](repeating: 1, count: 3 * length)
                x[length + place] = value
                let (quants, scales, sums) = Self.quantized(x, kernels)
                #expect(scales.map(\.isNaN) == [false, true, false] && sums.map(\.isNaN) == [false, true, false])
                #expect(quants[length..<2 * length].allSatisfy { $0 == 0 } && quants[0] == 127)
            }
        }
    }

    // 49 columns are a panel more than the kernels take at once, and one column; rows come by fours.
    @Test(arguments: productTableNames, [1, 2, 3, 4, 5, 7, 9])
    func `products agree with Double`(table: String, rows: Int) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: UInt64(rows))
        for type in Self.types {
            for (columns, depth) in [
                (1, 32), (7, 64), (8, 96), (16, 32), (31, 160), (48, 96), (49, 64), (97, 32), (5, 0),
            ] {
                let bytes = Self.bytes(type, blockCount: columns * depth / 32, using: &generator)
                let panels = Self.panels(bytes, type, rows: columns, depth: depth)
                var x = (0..<rows * depth).map { _ in Float.random(in: -1...1, using: &generator) }
                // Blocks whose quants are all ±127, and next to large activations small ones, whose scale is another.
                for index in x.indices where index / SATTN_ACTIVATION_BLOCK % 3 == 2 { x[index] /= 1000 }
                for index in x.indices.prefix(32) { x[index] = index % 2 == 0 && rows > 1 ? -1 : 1 }
                let (quants, scales, sums) = Self.quantized(x, kernels)
                let out = PaddedMatrix(rows: rows, columns: columns, padding: guardValue) { _, _ in guardValue }
                panels.withUnsafeBytes {
                    kernels.quantized_product(
                        out.pointer, out.stride, quants, scales, sums, $0.baseAddress.map { $0 + 1 }, type, rows,
                        columns, depth)
                }
                #expect(out.isPaddingIntact)
                var weights = [Float](repeating: 0, count: columns * depth)
                try kernelTable("scalar").decode(&weights, bytes, type, weights.count)
                for row in 0..<rows {
                    for column in 0..<columns {
                        var (sum, size) = (0.0, 0.0)
                        for k in 0..<depth {
                            let place = row * depth + k
                            let activation = Double(scales[place / SATTN_ACTIVATION_BLOCK]) * Double(quants[place])
                            sum += activation * Double(weights[column * depth + k])
                            // What is subtracted at most, from the largest number that it may be subtracted from.
                            size += Double(scales[place / SATTN_ACTIVATION_BLOCK]) * abs(Double(quants[place])) * 25
                        }
                        #expect(abs(Double(out[row, column]) - sum) <= 1e-6 * size, "\(type) \(columns) \(depth)")
                    }
                }
            }
        }
    }

    @Test(arguments: productTableNames)
    func `a sum has the same bits whatever rows and columns stand beside it`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 3)
        let (rows, columns, depth) = (11, 67, 96)
        for type in Self.types {
            let bytes = Self.bytes(type, blockCount: columns * depth / 32, using: &generator)
            let panels = Self.panels(bytes, type, rows: columns, depth: depth)
            let x = (0..<rows * depth).map { _ in Float.random(in: -1...1, using: &generator) }
            let (quants, scales, sums) = Self.quantized(x, kernels)
            func product(rows: Range<Int>, panel: Int, columns count: Int) -> [[UInt32]] {
                let out = PaddedMatrix(rows: rows.count, columns: count, padding: guardValue) { _, _ in 0 }
                let firstBlock = rows.lowerBound * depth / SATTN_ACTIVATION_BLOCK
                panels.withUnsafeBytes {
                    kernels.quantized_product(
                        out.pointer, out.stride, Array(quants[(rows.lowerBound * depth)...]),
                        Array(scales[firstBlock...]), Array(sums[firstBlock...]),
                        $0.baseAddress.map { $0 + 1 + panel * sattn_panel_byte_count(type, depth) }, type, rows.count,
                        count, depth)
                }
                return out.bitPatterns
            }
            let whole = product(rows: 0..<rows, panel: 0, columns: columns)
            for row in 0..<rows {
                #expect(product(rows: row..<row + 1, panel: 0, columns: columns) == [whole[row]])
            }
            for (panel, count) in [(1, 16), (2, 9), (3, 19)] {
                let range = panel * 16..<panel * 16 + count
                #expect(product(rows: 2..<8, panel: panel, columns: count) == whole[2..<8].map { Array($0[range]) })
            }
        }
    }

    @Test(arguments: productTableNames)
    func `NaN reaches all outputs of its row and no others`(table: String) throws {
        let kernels = try kernelTable(table)
        var generator = SeededGenerator(seed: 4)
        for type in Self.types {
            let bytes = Self.bytes(type, blockCount: 20 * 3, using: &generator)
            let panels = Self.panels(bytes, type, rows: 20, depth: 96)
            var x = [Float](repeating: 1, count: 5 * 96)
            x[2 * 96 + 40] = .infinity
            let (quants, scales, sums) = Self.quantized(x, kernels)
            let out = PaddedMatrix(rows: 5, columns: 20, padding: guardValue) { _, _ in 0 }
            panels.withUnsafeBytes {
                kernels.quantized_product(
                    out.pointer, out.stride, quants, scales, sums, $0.baseAddress.map { $0 + 1 }, type, 5, 20, 96)
            }
            for row in 0..<5 {
                for column in 0..<20 { #expect(out[row, column].isNaN == (row == 2)) }
            }
        }
    }
}
